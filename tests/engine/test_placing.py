"""A trial that goes on goes to the worker that holds its checkpoint, if that one is free; and never waits for it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from searchd.dispatch import MemoryDispatcher
from searchd.engine import publish
from searchd.placing import PATIENCE_S, Places
from searchd.store import open_store
from searchd.store.base import JobRow
from searchd.transport.memory import MemoryTransport
from searchd.wire import CheckpointRef, Ended, JobSpec, WorkerInfo, held, own_queue, queue
from tests.support.stores import checkpoint_row, job_row, study_row, trial_row
from tests.support.world import World, spec

SHA = "ab" * 32
REF = CheckpointRef(step=3, path="trials/0/ckpt-3-a1.safetensors", sha256=SHA, bytes=9)
ROW = JobRow("s-1-train1", "s", 1, "train", 0, 3, 1, "running", "w9", "", "", None, {}, 0.0, 0.0, None)


def info(name: str, *holds: str, **more: Any) -> WorkerInfo:
    fields: dict[str, Any] = {"name": name, "device_class": "cpu", "device": "cpu x", "host": "h", "pid": 1}
    return WorkerInfo(**(fields | {"holds": tuple(map(held, holds))} | more))


def job(**more: Any) -> JobSpec:
    fields: dict[str, Any] = {"id": "s-0-train2", "study": "s", "trial": 0, "attempt": 1, "kind": "train", "since": 3,
                              "until": 9, "config": {}, "task": {}, "artifacts": ".", "checkpoint": REF}  # fmt: skip
    return JobSpec(**(fields | more))


def ended(worker: str, *holds: str, **more: Any) -> Ended:
    fields: dict[str, Any] = {"study": "s", "job": "s-0-train1", "trial": 0, "attempt": 1, "worker": worker}
    return Ended(**(fields | {"outcome": "finished", "step": 3, "holds": tuple(map(held, holds))} | more))


def places(*workers: WorkerInfo) -> Places:
    made = Places(MemoryTransport())
    made.looked(workers)
    return made


def test_the_free_worker_that_holds_it() -> None:
    """Of several workers the one that holds the job's checkpoint, which may have it in its own queue."""
    assert places(info("a", "00" * 32), info("b", SHA)).choose(job(), "cpu", []) == "b"


@pytest.mark.parametrize(("workers", "changes", "rows"), [
    ([info("a"), info("b", "00" * 32)], {}, []),  # nobody holds it
    ([info("a", SHA, device_class="cuda")], {}, []),
    ([info("a", SHA, state="busy", job="another")], {}, []),
    ([info("a", SHA, state="stopping")], {}, []),
    ([info("a", SHA)], {"checkpoint": None}, []),
    ([info("a", SHA)], {"kind": "export"}, []),
    ([info("a", SHA)], {}, [dataclasses.replace(ROW, worker="a")]),  # runs a job: its sign of life is older
    ([info("a", SHA)], {}, [dataclasses.replace(ROW, worker="a", status="queued")]),  # has one in its own queue
    ([info("a", SHA)], {}, [dataclasses.replace(ROW, worker="", status="queued")]),  # is about to take that one
])  # fmt: skip
def test_else_whoever_comes(workers: list[WorkerInfo], changes: dict[str, Any], rows: list[JobRow]) -> None:
    """Nobody is waited for: a worker that is busy, leaving, spoken for, of another class, or holds something else."""
    assert places(*workers).choose(job(**changes), "cpu", [("cpu", row) for row in rows]) is None


def test_jobs_of_another_class_change_nothing() -> None:
    """A job that waits for another device class takes no worker of this one."""
    waits = dataclasses.replace(ROW, worker="", status="queued")
    assert places(info("a", SHA)).choose(job(), "cpu", [("cuda", waits)]) == "a"


def test_the_end_of_a_job_is_newer_than_the_sign_of_life() -> None:
    """A worker that said the end of its job is free and holds what it said then, though it was last seen busy."""
    busy = info("a", state="busy", job="s-0-train1")
    known = places(busy)
    assert known.choose(job(), "cpu", []) is None
    known.heard([ended("a", SHA)])
    assert known.choose(job(), "cpu", []) == "a"
    known.looked([busy])
    assert known.choose(job(), "cpu", []) == "a"
    known.looked([info("a", state="idle")])  # a fresh process holds nothing
    assert known.choose(job(), "cpu", []) is None


def test_a_job_that_is_not_claimed_goes_to_everybody() -> None:
    """After PATIENCE_S without a claim the job is overdue, until it was sent again; and its worker gets no more so."""
    known = places(info("a", SHA))
    assert known.choose(job(), "cpu", []) == "a"
    assert known.overdue(10.0) == []
    assert known.overdue(10.0 + PATIENCE_S - 0.01) == []
    assert known.overdue(10.0 + PATIENCE_S) == [job().id]
    assert known.overdue(10.1 + PATIENCE_S) == [job().id], "sending it may have failed"
    known.opened(job().id)
    assert known.overdue(99.0) == []
    known.looked([info("a", SHA)])
    assert known.choose(job(), "cpu", []) is None
    known.looked([info("a", SHA, since=5.0)])
    assert known.choose(job(), "cpu", []) == "a"


@pytest.mark.parametrize(("attempt", "claimed", "overdue"), [(1, 0, False), (2, 0, True), (2, 1, False), (2, 2, True)])
def test_a_job_that_is_claimed_is_not_overdue(attempt: int, claimed: int, overdue: bool) -> None:
    """A message of that attempt, or its claim, is the worker's word; those of another attempt say nothing."""
    transport = MemoryTransport()
    known = Places(transport)
    known.looked([info("a", SHA)])
    assert known.choose(job(), "cpu", []) == "a"
    assert known.overdue(0.0) == []
    if claimed:
        transport.broker.claim(job().id, claimed)
    known.heard([ended("a", job=job().id, attempt=attempt, outcome="lost")])
    assert bool(known.overdue(60.0)) is overdue


def test_what_is_for_one_worker_goes_first_and_once(tmp_path: Path) -> None:
    """Of three jobs in the outbox, two of which go on from what one worker holds, the first of these two is for it,
    and is sent before the others, which are for whoever comes."""
    store = open_store(f"sqlite:///{tmp_path / 'study.db'}")
    with store.transaction() as t:
        t.add_study(study_row(spec={"device": "cpu"}))
        for n in range(3):
            t.put_trial(trial_row(n))
            t.put_job(job_row(f"j{n}", n, created_at=float(n), until=9, spec=job().model_dump(exclude={"attempt"}) | {
                "id": f"j{n}", "trial": n, "checkpoint": None}))  # fmt: skip
            if n:
                t.put_checkpoint(checkpoint_row(3, n, sha256=SHA))
    sent: list[tuple[str, str]] = []
    dispatcher = MemoryDispatcher(lambda dispatch, at: sent.append((dispatch.jobs[0].id, at)))
    assert publish(store, dispatcher, places(info("a", SHA)).choose) == 3
    assert sent == [("j1", own_queue("a")), ("j0", queue("cpu")), ("j2", queue("cpu"))]
    with store.reading() as reader:
        assert [(j.status, j.worker) for j in reader.jobs()] == [("queued", ""), ("queued", "a"), ("queued", "")]
    store.close()


# ---------------------------------------------------------------- in the daemon's loop
def warm(world: World, study: str) -> list[tuple[int, str, bool]]:
    """(trial, worker, warm) of every job that went on from a checkpoint."""
    begun = [e.payload for e in world.events(study, "begun")]
    return [(p["trial"], p["worker"], p["warm"]) for p in begun if p["kind"] == "train" and p["since"] > 0]


def test_trials_go_on_where_they_are_warm(world: World) -> None:
    """In a whole run most resumes land on the worker that holds the trial, and are said so; the log replays."""
    study = world.submit(spec(budget={"trials": 9, "parallel": 2}))
    assert world.run(study) == "done"
    world.check(study)
    found = warm(world, study)
    assert found
    assert sum(is_warm for _, _, is_warm in found) >= len(found) / 2
    assert sum(len(worker.warm) for worker in world.fleet.workers) == sum(is_warm for _, _, is_warm in found)


def resumed(world: World) -> tuple[str, JobSpec, Any]:
    """A study whose only job in flight is a resume that waits in the queue of the worker that holds its trial."""
    study = world.submit(spec(budget={"trials": 3, "parallel": 1}))
    for _ in range(60):
        world.tick(1.0)
        world.round()
        for worker in world.fleet.workers:
            if worker.own:
                return study, worker.own[0], worker
        world.fleet.workers[0].work()
    raise AssertionError(world.describe(study))


def queued(world: World, job: str) -> JobRow:
    with world.store.reading() as reader:
        row = reader.job(job)
    assert row is not None
    return row


def test_a_worker_that_is_gone_strands_nothing(world: World) -> None:
    """The job waits for PATIENCE_S in the queue of a dead worker; then any other runs it, as the same attempt, and
    what is left in that queue is dropped when the worker comes back."""
    study, resume, holder = resumed(world)
    assert queued(world, resume.id).worker == holder.name
    other = world.fleet.workers[1]
    assert not other.work()
    world.tick(PATIENCE_S / 2, beat=False)
    world.round()
    assert world.fleet.queue == []
    world.tick(PATIENCE_S, beat=False)
    world.round()
    assert [j.id for j in world.fleet.queue] == [resume.id]
    assert queued(world, resume.id).worker == ""
    assert other.work()
    assert other.job == resume
    world.round()
    holder.die()
    assert not holder.work(), "the claim is taken"
    assert world.run(study) == "done"
    world.check(study)
    assert all(count == 1 for count in world.fleet.trained.values())


def test_a_daemon_that_comes_back_strands_nothing(world: World) -> None:
    """The next daemon knows from the store which job waits for one worker alone, and gives it to all in time."""
    study, resume, _ = resumed(world)
    world.restart()
    world.round()
    assert world.fleet.queue == []
    world.tick(PATIENCE_S)
    world.round()
    assert [j.id for j in world.fleet.queue] == [resume.id]
    assert world.run(study) == "done"
    world.check(study)


def test_a_job_for_one_worker_can_be_stopped(world: World) -> None:
    """A trial that is stopped while its job waits for one worker never runs there again."""
    study, resume, holder = resumed(world)
    world.loop.stop_trial(study, resume.trial)
    world.round()
    assert holder.work()
    assert world.run(study) == "done"
    world.check(study)
    assert (resume.trial, resume.since + 1) not in world.fleet.trained
