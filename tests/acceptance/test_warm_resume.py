"""Real workers, a real broker, the daemon's loop: a trial goes on in the process that holds its checkpoint."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from searchd import wire
from searchd.dispatch import CeleryDispatcher
from searchd.loop import Loop
from searchd.replay import replay
from searchd.store import open_store
from searchd.transport import open_transport
from searchd.wire import Begun, Dispatch, held
from tests.support.broker import Broker
from tests.support.fleet import Fleet, until
from tests.support.tasks_for_workers import train_net
from workers.rehearse import rehearse

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(150)]


class Daemon:
    """The daemon's loop in this process, over one folder."""

    def __init__(self, broker: Broker, folder: Path) -> None:
        self.folder = folder
        self.store = open_store(f"sqlite:///{folder / 'study.db'}")
        self.transport = open_transport(broker.url)
        self.dispatcher = CeleryDispatcher(broker.url)
        self.loop = Loop(self.store, self.transport, self.dispatcher, root=str(folder))

    def submit(self, *, trials: int, parallel: int, pause: float) -> str:
        return self.loop.submit({
            "study": "warm", "space": {"x": {"float": [0, 1]}, "pause": {"const": pause}},
            "objectives": {"error": "minimize"}, "seed": 5, "device": "cpu",
            "search": {"scheduler": "asha", "searcher": "random", "r": 1, "R": 9, "eta": 3},
            "budget": {"trials": trials, "parallel": parallel}, "task": {"function": "tasks_for_workers:train_net"},
        }, "art")  # fmt: skip

    def until(self, question: Any, what: str) -> Any:
        """Rounds of the loop until the question has an answer."""

        def look() -> Any:
            self.loop.round(block_s=0.05)
            return question()

        return until(look, what, 60.0)

    def ended(self, study: str) -> bool:
        return self.loop.status(study) in ("done", "stopped", "faulted")

    def begun(self, study: str) -> list[dict[str, Any]]:
        """The jobs that went on from a checkpoint, as they began."""
        with self.store.reading() as reader:
            found = [dict(e.payload) for e in reader.events(study, kinds=("begun",))]
        return [b for b in found if b["since"] > 0]

    def check(self, study: str) -> None:
        """The study is done, its log replays, and each trial reported bit for bit what it does in one stretch."""
        with self.store.reading() as reader:
            assert self.loop.status(study) == "done"
            report = replay(reader, study)
            assert report.equal, str(report.differences)
            for trial in reader.trials(study):
                said = [(r.step, r.metrics["error"]) for r in reader.reports(study, trial.trial)]
                assert [step for step, _ in said] == list(range(1, trial.step + 1))
                (spec,) = {j.spec["seed"] for j in reader.jobs(study) if j.trial == trial.trial}
                whole = rehearse(train_net, {}, until=trial.step, seed=spec)
                assert said == [(r.step, r.metrics["error"]) for r in whole.reports]


@pytest.fixture
def daemon(clean_broker: Broker, tmp_path: Path) -> Iterator[Daemon]:
    made = Daemon(clean_broker, tmp_path)
    yield made
    made.dispatcher.close()
    made.transport.close()
    made.store.close()


def test_a_resume_at_the_holder_reads_no_file(clean_broker: Broker, tmp_path: Path) -> None:
    """A job says at its end what is in memory; the next one goes on from there though the file is gone, says that it
    began warm, and reports what a training in one stretch reports. A fresh child holds nothing."""
    with Fleet(clean_broker, tmp_path) as fleet:
        fleet.ready()
        first = fleet.send(fleet.job("train_net", seed=7))
        ended = fleet.ended(first)
        assert ended.checkpoint is not None
        assert ended.holds == (held(ended.checkpoint.sha256),)
        until(lambda: (info := fleet.info()) and info.state == "idle" and info.holds == ended.holds, "held while idle")
        (tmp_path / "art" / ended.checkpoint.path).unlink()
        again = {"trial": first.trial, "seed": 7, "since": 3, "checkpoint": ended.checkpoint, "until": 6}
        second = fleet.send(fleet.job("train_net", **again))
        assert fleet.ended(second).outcome == "finished"
        assert [m.warm for m in fleet.messages(second.id) if isinstance(m, Begun)] == [True]
        whole = rehearse(train_net, {}, until=6, seed=7)
        said = [r.metrics["error"] for spec in (first, second) for r in fleet.reports(spec.id)]
        assert said == [r.metrics["error"] for r in whole.reports]
        info = fleet.ready()
        assert info.holds
        assert info.child_pid
        os.kill(info.child_pid, signal.SIGKILL)
        until(lambda: (now := fleet.info()) is not None and not now.holds, "a dead child holds nothing")
        newest = fleet.ended(second).checkpoint
        third = fleet.send(fleet.job("train_net", **again | {"since": 6, "checkpoint": newest, "until": 8}))
        fresh = fleet.ended(third)
        assert [m.warm for m in fleet.messages(third.id) if isinstance(m, Begun)] == [False]
        assert fresh.checkpoint is not None
        assert fresh.holds == (held(fresh.checkpoint.sha256),), "not what the dead one held"


def test_the_own_queue_comes_first(clean_broker: Broker, tmp_path: Path) -> None:
    """Of two jobs that wait for a busy slot, the one in its own queue begins first, though it was sent last."""
    with Fleet(clean_broker, tmp_path) as fleet:
        fleet.ready()
        first = fleet.send(fleet.job(until=10_000, nested={"pause": 0.05}))
        fleet.report(first)
        anybodys, own = fleet.send(fleet.job()), fleet.job()
        fleet.dispatcher.publish(Dispatch(id="own", jobs=(own,)), "cpu", f"{fleet.name}-0")
        fleet.redis.set(wire.stop_key(first.id), "both wait")
        fleet.ended(anybodys)
        begun = [m.job for m in fleet.seen if isinstance(m, Begun)]
        assert begun == [first.id, own.id, anybodys.id]


def test_resumes_land_warm(
    daemon: Daemon, clean_broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two slots: a resume whose holder was free begins warm, where the trial ran last; none begins warm elsewhere."""
    monkeypatch.setattr("searchd.placing.PATIENCE_S", 30.0)  # a loaded machine may be slow to claim
    with Fleet(clean_broker, tmp_path, slots=2) as fleet:
        fleet.ready(0), fleet.ready(1)
        study = daemon.submit(trials=12, parallel=2, pause=0.02)
        daemon.until(lambda: daemon.ended(study), "the study's end")
        daemon.check(study)
        found = daemon.begun(study)
        with daemon.store.reading() as reader:
            jobs = reader.jobs(study)
        for begun in found:
            earlier = [j for j in jobs if j.trial == begun["trial"] and j.until == begun["since"]]
            assert not begun["warm"] or begun["worker"] == earlier[0].worker
        assert any(b["warm"] for b in found), found
        until(lambda: all((i := fleet.info(n)) and i.state == "idle" for n in (0, 1)), "both idle")


def test_a_holder_that_hangs_or_dies_strands_nothing(daemon: Daemon, clean_broker: Broker, tmp_path: Path) -> None:
    """The slot that holds every trial is frozen: its trial goes on elsewhere, cold, the same attempt. Killed and
    replaced, it drops what it finds in its own queue; and a fleet that leaves takes its queues with it."""
    with Fleet(clean_broker, tmp_path) as first:
        first.ready()
        study = daemon.submit(trials=3, parallel=1, pause=0.2)

        def third() -> bool:
            with daemon.store.reading() as reader:
                return any(e.payload["trial"] == 2 for e in reader.events(study, kinds=("begun",)))

        daemon.until(third, "the third trial")
        daemon.loop.pause(study)
        daemon.until(lambda: (i := first.info()) is not None and i.state == "idle" and len(i.holds) == 3, "all held")
        holder = first.info()
        assert holder is not None
        first.remember()
        with Fleet(clean_broker, tmp_path) as second:
            second.ready()
            os.kill(holder.pid, signal.SIGSTOP)
            daemon.loop.resume(study)
            daemon.until(lambda: daemon.ended(study), "the study's end")
            daemon.check(study)
            (begun,) = daemon.begun(study)
            assert (begun["worker"], begun["attempt"], begun["warm"]) == (f"{second.name}-0", 1, False)
            os.kill(holder.pid, signal.SIGKILL)
            until(lambda: not psutil.pid_exists(holder.pid), "the slot gone")
            until(lambda: (i := first.info()) is not None and i.pid != holder.pid, "a new slot")
            stale = first.job("train_net", trial=0, checkpoint=None)
            first.redis.set(wire.claim_key(stale.id), 1)
            first.dispatcher.publish(Dispatch(id="stale", jobs=(stale,)), "cpu", holder.name)
            until(lambda: f"dropped: job {stale.id}" in first.log.read_text(), "the stale message dropped")
    with clean_broker.client() as client:
        assert [key for key in client.scan_iter() if "searchd:slot:" in str(key)] == []
