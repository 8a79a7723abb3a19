"""Registered devices in a daemon: added, profiled alone, gone, lost, stale."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from searchd.devices.desk import ATTEMPTS, CLAIM_S, Devices
from searchd.dispatch import MemoryDispatcher
from searchd.errors import NotFound, Refused
from searchd.store import open_store
from searchd.store.base import JobRow, Store
from searchd.transport.memory import MemoryBroker, MemoryTransport
from searchd.wire import Begun, Dispatch, Ended, JobSpec, WorkerInfo
from spaces.study import Study
from tests.support.devices import FACTS, IDENTITY, NET, WORKER, result_of
from tests.support.stores import job_row, study_row, trial_row

LEASE_S = 15.0


class Desk:
    """The devices of a store with a clock of its own and scripted workers."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.sent: list[tuple[Dispatch, str]] = []
        self.tick = 100.0
        self.workers: tuple[WorkerInfo, ...] = (WORKER,)
        self.jobs: list[JobRow] = []
        self.restart()

    def restart(self) -> None:
        transport = MemoryTransport(MemoryBroker(clock=lambda: 0.0))
        dispatcher = MemoryDispatcher(lambda dispatch, at: self.sent.append((dispatch, at)))
        self.devices = Devices(self.store, transport, dispatcher, "root", LEASE_S)
        self.look()

    def look(self, seconds: float = 0.0) -> None:
        self.tick += seconds
        self.devices.look(self.workers, self.jobs, self.tick, self.tick)

    def add(self, runtime: str | None = None) -> dict[str, Any]:
        return self.devices.add("cpu", runtime, self.tick)

    def profile(self, **more: Any) -> dict[str, Any]:
        return self.devices.profile("cpu", Study.parse(NET).dump(), more.get("architectures", 12), self.tick)

    def shown(self) -> dict[str, Any]:
        from searchd.devices.shown import shown

        with self.store.reading() as reader:
            row = reader.device("cpu")
        assert row is not None
        return shown(row)

    @property
    def job(self) -> JobSpec:
        return self.sent[-1][0].jobs[0]

    def say(self, kind: type[Begun] | type[Ended], job: JobSpec | None = None, **more: Any) -> None:
        job = job or self.job
        message = kind(study=job.study, job=job.id, trial=0, attempt=job.attempt, worker="w-0", **more)
        self.devices.heard([message], self.jobs, self.tick, self.tick)

    def finish(self) -> None:
        with self.store.reading() as reader:
            request = (reader.device("cpu").profiling or {})["request"]  # type: ignore[union-attr]
        self.say(Ended, outcome="finished", result=result_of(request))


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    store = open_store(f"sqlite:///{tmp_path / 'searchd.db'}")
    yield Desk(store)
    store.close()


def test_a_device_is_what_its_worker_says(desk: Desk) -> None:
    """Identity, runtime and facts come from a live worker of that class; adding it again changes nothing."""
    found = desk.add()
    assert (found["identity"], found["runtime"], found["workers"]) == (IDENTITY, "onnxruntime", 1)
    assert found["facts"] == {k: FACTS[k] for k in ("runtime", "driver", "clocks", "threads")}
    assert desk.add() == found
    assert desk.add("torch")["identity"] == "cpu · made up · torch 2.13 · 1 thread"


def test_what_cannot_be_added(desk: Desk) -> None:
    """No worker, a worker without that runtime, a runtime that there is not: each says what to do."""
    with pytest.raises(Refused, match=r"no live worker serves 'rig'.*--device rig"):
        desk.devices.add("rig", None, 1.0)
    with pytest.raises(Refused, match="onnxruntime, torch, torch-cuda"):
        desk.add("tensorflow")
    desk.workers = (WORKER.model_copy(update={"facts": {**FACTS, "torch": "no torch"}}),)
    desk.look()
    with pytest.raises(Refused, match="has no torch"):
        desk.add("torch")


def test_a_profile_from_the_wish_to_the_table(desk: Desk) -> None:
    """The job goes to the device's queue as a measure job; its result is fitted, judged and stored, with the facts."""
    desk.add()
    assert desk.profile()["profiling"]["status"] == "waiting"
    desk.look()
    dispatch, at = desk.sent[0]
    assert (at, desk.job.kind, desk.job.runtime, len(desk.sent)) == ("searchd.cpu", "measure", "onnxruntime", 1)
    assert "counts" not in desk.job.profile["architectures"][0]  # type: ignore[index]
    assert Dispatch.model_validate_json(dispatch.model_dump_json()) == dispatch
    desk.say(Begun, device=IDENTITY)
    assert desk.shown()["profiling"]["status"] == "running"
    desk.finish()
    found = desk.shown()
    assert found["profiling"]["status"] == "done"
    assert found["profile"]["quality"]["good"]
    assert found["profile"]["quality"]["error"] < 1e-6
    assert (found["profile"]["study"], found["profile"]["stale"], found["profile"]["alone"]) == ("net", None, True)
    assert found["profile"]["architectures"] == len(desk.job.profile["architectures"])  # type: ignore[index]
    desk.look(1000.0)
    assert len(desk.sent) == 1


def test_a_profile_has_the_device_to_itself(desk: Desk) -> None:
    """It waits for what runs there, and holds everything else back from then on; other devices are not its business."""
    with desk.store.transaction() as tx:
        tx.add_study(study_row(spec={**NET, "device": "cpu"}))
        tx.put_trial(trial_row())
    desk.add()
    desk.jobs = [job_row(status="queued", worker="")]
    assert not desk.devices.holds("cpu")
    desk.profile()
    assert desk.devices.holds("cpu")
    assert not desk.devices.holds("cuda")
    desk.look(5.0)
    assert not desk.sent
    desk.workers = (WORKER, WORKER.model_copy(update={"name": "g-0", "device_class": "cuda"}))
    desk.jobs = [job_row(status="running", worker="g-0")]
    desk.look(5.0)
    assert len(desk.sent) == 1
    desk.finish()
    assert not desk.devices.holds("cpu")
    assert desk.shown()["profile"]["alone"] is False  # the other device is on some machine, perhaps on this one


def test_a_lost_profile_is_sent_again(desk: Desk) -> None:
    """Silence, or the slot's own word, sends it anew with a new attempt; what the old one still says is ignored."""
    desk.add()
    desk.profile()
    desk.look()
    first = desk.job
    desk.say(Begun)
    desk.look(LEASE_S)
    desk.look()
    assert [d.jobs[0].attempt for d, _ in desk.sent] == [1, 2]
    desk.say(Ended, first, outcome="finished", result={"rows": {}, "architectures": []})
    assert desk.shown()["profile"] is None
    for attempt in range(2, ATTEMPTS + 1):
        assert desk.job.attempt == attempt
        desk.say(Ended, outcome="lost", reason="worker process killed (SIGKILL)")
        desk.look()
    assert desk.shown()["profiling"]["status"] == "failed"
    assert "lost 3 times, at last: worker process killed" in desk.shown()["profiling"]["error"]
    desk.profile()  # and may be asked for again


def test_a_daemon_that_comes_back_goes_on(desk: Desk) -> None:
    """What was sent before a restart is still waited for, and its result is taken."""
    desk.add()
    desk.profile()
    desk.look()
    desk.restart()
    assert desk.devices.holds("cpu")
    desk.finish()
    assert desk.shown()["profiling"]["status"] == "done"


def test_a_device_that_is_gone(desk: Desk) -> None:
    """Without a live worker a profile is refused, and one that waits fails after a while, with the reason."""
    desk.add()
    desk.profile()
    desk.workers = ()
    desk.devices._transport = MemoryTransport(MemoryBroker(clock=lambda: 0.0))
    desk.look()
    desk.look(CLAIM_S)
    assert desk.shown()["profiling"]["error"] == "no live worker serves it any more"
    with pytest.raises(Refused, match=r"'cpu' is gone: no live worker"):
        desk.profile()


def test_what_fails_and_what_an_old_worker_says(desk: Desk) -> None:
    """A job that fails keeps its error; a result without a table is an older worker's, and says so."""
    desk.add()
    desk.profile()
    desk.look()
    desk.say(Ended, outcome="failed", reason="refused", error="task mine has no operators")
    assert desk.shown()["profiling"]["error"] == "refused: task mine has no operators"
    desk.tick += 1.0
    desk.profile()
    desk.look()
    desk.say(Ended, outcome="finished", result={"cumulative_ms": [1.0], "signature": None})
    assert "older release" in desk.shown()["profiling"]["error"]
    assert desk.shown()["profile"] is None


def test_other_facts_make_a_table_stale(desk: Desk) -> None:
    """When a worker comes back with another driver, the device says so, and what was measured no longer holds."""
    desk.add()
    desk.profile()
    desk.look()
    desk.finish()
    desk.workers = (WORKER.model_copy(update={"facts": {**FACTS, "driver": "kernel 7"}}),)
    desk.look()
    assert desk.shown()["profile"]["stale"] == "driver was 'kernel 6', is 'kernel 7'"
    desk.look()
    desk.workers = (WORKER,)
    desk.look()
    assert desk.shown()["profile"]["stale"] is None


def test_removing(desk: Desk) -> None:
    """A device that is being profiled stays; then it goes with its profile, and is not known any more."""
    desk.add()
    desk.profile()
    with pytest.raises(Refused, match="being profiled"):
        desk.devices.remove("cpu")
    with pytest.raises(Refused, match="already"):
        desk.profile()
    desk.look()
    desk.finish()
    desk.devices.remove("cpu")
    with pytest.raises(NotFound, match=r"no device 'cpu'; there are: none yet; `searchd device add cpu`"):
        desk.devices.remove("cpu")
    with desk.store.reading() as reader:
        assert reader.devices() == []


def test_a_study_that_cannot_be_profiled(desk: Desk) -> None:
    """A task without operators, and a number of networks that nobody measures, are refused at once."""
    desk.add()
    mine = Study.parse({**NET, "task": "mine:train"}).dump()
    with pytest.raises(Refused, match="built-in tasks have"):
        desk.devices.profile("cpu", mine, None, 1.0)
    with pytest.raises(Refused, match="give 1 to 100"):
        desk.profile(architectures=101)
