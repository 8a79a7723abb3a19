"""A worker that will not do a study's jobs: it gets no more of them, no trial fails for it, and whoever can goes on."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchd.engine import ATTEMPTS, recording
from searchd.errors import SearchdError
from searchd.refusals import Refusals
from searchd.seats import Need, Seats
from searchd.waiting import Asking, why
from searchd.wire import LEASE_S, Ended, WorkerInfo
from tests.support.world import Worker, World, spec

WHY = "module toys of task toys.train:train is not found by this worker"
FIFO = {"scheduler": "fifo", "searcher": "random", "r": 1, "R": 9, "eta": 3}


def info(name: str, **more: Any) -> WorkerInfo:
    fields: dict[str, Any] = {"name": name, "device_class": "cpu", "device": "cpu x", "host": "h", "pid": 1}
    return WorkerInfo(**(fields | more))


def refusal(worker: str, study: str = "s", **more: Any) -> Ended:
    fields: dict[str, Any] = {"study": study, "job": f"{study}-0-train1", "trial": 0, "attempt": 1, "worker": worker}
    return Ended(**(fields | {"outcome": "failed", "reason": "refused", "error": WHY} | more))


def work(world: World, rounds: int, *, quick: Worker | None = None) -> None:
    """Rounds in which everybody does one thing, and `quick` as much as it finds."""
    for _ in range(rounds):
        world.tick(1.0)
        world.round()
        for worker in world.fleet.workers:
            if worker is quick:
                while worker.work():
                    pass
            else:
                worker.work()


def refused(world: World, study: str) -> list[str]:
    """Who refused, in order."""
    begun = {(e.payload["job"], e.payload["attempt"]): e.payload["worker"] for e in world.events(study, "begun")}
    return [begun[e.payload["job"], e.payload["attempt"]] for e in world.events(study, "lost")
            if e.payload["cause"] == "refused"]  # fmt: skip


def statuses(world: World, study: str) -> set[str]:
    with world.store.reading() as reader:
        return {trial.status for trial in reader.trials(study)}


# ---------------------------------------------------------------- what is remembered
def test_it_is_remembered_while_the_process_lives() -> None:
    """Another state or job of the same process changes nothing; a new process, a slot that is gone, a study that
    ended: each forgets."""
    known = Refusals()
    known.looked([info("a"), info("b")])
    known.heard([refusal("a"), refusal("a", "t"), refusal("b", outcome="finished", reason="")], "cpu")
    assert (dict(known.of("s")), known.devices) == ({"a": WHY}, {"cpu"})
    known.looked([info("a", state="busy", job="j", since=9.0), info("b")])
    assert set(known.of("s")) == set(known.of("t")) == {"a"}
    known.only({"t"})
    assert (set(known.of("s")), set(known.of("t"))) == (set(), {"a"})
    known.looked([info("a", began=5.0)])
    assert not known.of("t")
    assert not known.devices
    known.heard([refusal("a"), refusal("new")], "cpu")
    known.looked([info("new", began=7.0)])
    assert set(known.of("s")) == {"new"}, "it was heard before it was seen"


def test_what_was_said_before_the_first_look_is_asked_again() -> None:
    """Between a daemon and the next a worker may have been started again: nobody knows whose process spoke."""
    known = Refusals()
    known.heard([refusal("a")], "cpu")
    known.looked([info("a", began=5.0)])
    assert not known.of("s")
    known.heard([refusal("a")], "cpu")
    assert set(known.of("s")) == {"a"}


@given(st.sets(st.sampled_from("abcd")), st.sets(st.sampled_from("abcd")), st.integers(1, 5))
def test_no_seat_for_who_refuses(live: set[str], refuse: set[str], jobs: int) -> None:
    """As many jobs find a slot as there are slots that do not refuse, and none finds another."""
    need = Need("cpu", refused=frozenset(refuse))
    seats = Seats([info(name) for name in live], {})
    found = [seats.take(need) for _ in range(jobs)]
    assert len([name for name in found if name is not None]) == min(jobs, len(live - refuse))
    assert {name for name in found if name is not None} <= live - refuse
    assert {i.name for i in seats.suited(need)} == live - refuse


def test_what_is_said_when_all_refuse() -> None:
    """The workers' words with how many say so, the most frequent first; while one is willing nothing of it is said."""
    workers = [info("a"), info("b"), info("c"), info("d", state="stopping"), info("e", device_class="cuda")]
    asking = Asking("running", "cpu", refused={"a": "no toy", "b": "no toy", "c": "no paint"})
    assert why(asking, workers) == "every worker refuses it: no toy (2 workers); no paint (1 worker)"
    assert why(asking, [*workers, info("f")]) == ""
    assert why(asking, workers[3:]) == "device cpu: the last worker that serves it is leaving; served: cuda (1)"


@pytest.mark.parametrize(("more", "told"), [
    ({"limit": 1}, True), ({"wants": False}, True), ({"free": 1}, False), ({}, True), ({"others": {"b": 1}}, False),
    ({"running": 1, "limit": 1}, False),
])  # fmt: skip
def test_silence_is_told_where_nothing_else_goes_on(more: dict[str, Any], told: bool) -> None:
    """With a free slot or a job that is heard of the study goes on, and others that are busy are told first."""
    asking = Asking("running", "cpu", **({"jobs": 1, "silent": ["w"]} | more))
    assert why(asking, [info("w")]).startswith("no sign of life from worker w: ") is told


# ---------------------------------------------------------------- in the daemon's loop
@pytest.mark.parametrize("search", [FIFO, {"scheduler": "asha", "searcher": "random", "r": 1, "R": 9, "eta": 3}])
def test_the_quick_one_that_refuses_gets_no_more(world: World, search: dict[str, Any]) -> None:
    """A slot that refuses and is free at once takes no more jobs than were on their way; no trial fails, every step
    is trained once, and the log replays."""
    study = world.submit(spec(search=search, budget={"trials": 9}))
    refusing, good = world.fleet.workers
    refusing.refuses = WHY
    work(world, 30, quick=refusing)
    assert world.run(study) == "done"
    world.check(study)
    assert 1 <= len(refused(world, study)) <= 2
    assert set(refused(world, study)) == {refusing.name}
    assert "failed" not in statuses(world, study)
    assert all(count == 1 for count in world.fleet.trained.values())
    with world.store.reading() as reader:
        assert {job.worker for job in reader.jobs(study) if job.status == "finished"} == {good.name}


def test_it_does_the_jobs_of_another_study(world: World) -> None:
    """Who refuses one study serves another beside it, and the willing one serves both."""
    toy, other = world.submit(spec(study="toy", search=FIFO)), world.submit(spec(study="other", search=FIFO))
    refusing = world.fleet.workers[0]
    refusing.refuses, refusing.whose = WHY, toy
    for study in (toy, other):
        assert world.run(study) == "done"
        world.check(study)
    with world.store.reading() as reader:
        assert "w0" in {job.worker for job in reader.jobs(other) if job.status == "finished"}
        assert {job.worker for job in reader.jobs(toy) if job.status == "finished"} == {"w1"}


def test_a_refusal_is_no_attempt(world: World) -> None:
    """A job that was refused as often as it may be lost is still lost ATTEMPTS times before its trial fails."""
    world.fleet.workers = world.fleet.workers[:1]
    study = world.submit(spec(search=FIFO, budget={"trials": 1}))
    worker = world.fleet.workers[0]
    worker.refuses = WHY
    for began in range(ATTEMPTS):
        worker.says = {"began": float(began)}
        work(world, 3)
    assert len(refused(world, study)) == ATTEMPTS
    worker.refuses, worker.says = "", {"began": 99.0}
    for died in range(1, ATTEMPTS + 1):
        assert statuses(world, study) == {"running"}, died
        while worker.job is None:
            work(world, 1)
        worker.die()
        while len(world.events(study, "lost")) < ATTEMPTS + died:
            world.tick(LEASE_S)
            world.round()
    assert statuses(world, study) == {"failed"}
    assert world.replay(study).equal


def test_a_study_that_all_refuse_waits_and_says_so(world: World) -> None:
    """Each worker is asked once, nothing burns, the study says why, here and in its log, and goes on with the first
    worker that can."""
    study = world.submit(spec(search=FIFO, budget={"trials": 9}))
    for worker in world.fleet.workers:
        worker.refuses = WHY
    work(world, 40)
    said = f"every worker refuses it: {WHY} (2 workers)"
    assert world.loop.waits[study] == said
    assert [e.payload["text"] for e in world.events(study, "waits")] == [said]
    assert sorted(refused(world, study)) == ["w0", "w1"]
    assert len(world.asked(study)) == 2
    assert statuses(world, study) == {"running"}
    assert world.loop.status(study) == "running"
    assert world.fleet.queue == []
    world.fleet.workers.append(Worker(world.fleet, "new"))
    assert world.run(study) == "done"
    world.check(study)
    assert sorted(refused(world, study)) == ["w0", "w1"]
    assert world.events(study, "waits")[-1].payload["text"] == ""


@pytest.mark.parametrize("how", ["restart", "resume"])
def test_whoever_mended_it_is_asked_again(world: World, how: str) -> None:
    """A worker that was started again, and after `resume` every one, gets the study's jobs again."""
    study = world.submit(spec(search=FIFO, budget={"trials": 3}))
    for worker in world.fleet.workers:
        worker.refuses = WHY
    work(world, 6)
    world.fleet.workers[0].refuses = ""
    work(world, 6)
    assert statuses(world, study) == {"running"}
    assert not world.fleet.trained
    if how == "restart":
        world.fleet.workers[0].says = {"began": 5.0}
    else:
        world.loop.pause(study)
        world.loop.resume(study)
    assert world.run(study) == "done"
    world.check(study)


def test_a_daemon_that_comes_back_learns_it_again(world: World) -> None:
    """Its memory of refusals is gone with it: the worker is asked once more, and nothing else is different."""
    study = world.submit(spec(search=FIFO, budget={"trials": 6}))
    refusing = world.fleet.workers[0]
    refusing.refuses = WHY
    for _ in range(4):
        work(world, 7, quick=refusing)
        world.restart()
    assert world.run(study) == "done"
    world.check(study)
    assert len(refused(world, study)) <= 2 * 5
    assert statuses(world, study) == {"done"}


def test_a_worker_that_was_mended_while_no_daemon_lived_is_asked_again(world: World) -> None:
    """It refused what lay in its queue, and was started again before the next daemon heard of it."""
    world.fleet.workers = world.fleet.workers[:1]
    study = world.submit(spec(search=FIFO, budget={"trials": 2}))
    worker = world.fleet.workers[0]
    while not world.fleet.queue:
        world.tick(1.0)
        world.round()
    worker.refuses = WHY
    while world.fleet.queue or worker.job is not None:
        worker.work()
    worker.refuses, worker.says = "", {"began": 5.0}
    world.restart()
    assert world.run(study) == "done"
    world.check(study)
    assert len(refused(world, study)) == 1


def test_a_command_that_does_not_fit_asks_nobody_again(world: World) -> None:
    """`resume` of a study that runs is refused, and the workers that refused it are left in peace."""
    study = world.submit(spec(search=FIFO, budget={"trials": 2}))
    for worker in world.fleet.workers:
        worker.refuses = WHY
    work(world, 6)
    before = len(refused(world, study))
    with pytest.raises(SearchdError):
        world.loop.resume(study)
    work(world, 6)
    assert len(refused(world, study)) == before > 0


def gone_round(world: World, monkeypatch: pytest.MonkeyPatch) -> str:
    """A study whose jobs went round among two slots that refuse them, of which nothing was learned, until it ended."""
    monkeypatch.setattr(recording, "REFUSALS", 5)
    study = world.submit(spec(search=FIFO, budget={"trials": 2}))
    for worker in world.fleet.workers:
        worker.refuses = WHY
    with monkeypatch.context() as patched:
        patched.setattr(Refusals, "heard", lambda *_: None)
        work(world, 40)
    with world.store.reading() as reader:
        row = reader.study(study)
    assert row is not None
    assert (row.status, row.status_reason) == ("faulted", f"no worker takes its jobs: {WHY}")
    assert statuses(world, study) == {"running"}
    jobs = Counter(e.payload["job"] for e in world.events(study, "lost"))
    assert max(jobs.values()) == 5 + 2 * 2, "so often a job, and twice for each slot"
    return study


def test_what_cannot_be_learned_ends_too(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a job goes round among refusals all the same, the study is faulted with the workers' words in the end, no
    trial has failed, and `resume` loses nothing."""
    study = gone_round(world, monkeypatch)
    for worker in world.fleet.workers:
        worker.refuses = ""
    world.loop.resume(study)
    assert world.run(study) == "done"
    world.check(study)


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("mended", [0, 1])
def test_resume_counts_refusals_anew(
    world: World, monkeypatch: pytest.MonkeyPatch, mended: int, restart: bool
) -> None:
    """A study that was faulted by them goes on with the one worker of two that was mended, whichever is asked first."""
    study = gone_round(world, monkeypatch)
    if restart:
        world.restart()
    world.fleet.workers[mended].refuses = ""
    world.loop.resume(study)
    assert world.run(study) == "done"
    world.check(study)
