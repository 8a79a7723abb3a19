"""Lost jobs: leases, attempts, checkpoints, the cap."""

from __future__ import annotations

import pytest

from searchd.engine import ATTEMPTS
from searchd.errors import Unreachable
from searchd.loop import BATCH
from searchd.wire import LEASE_S, Beat, CheckpointRef, Ended
from tests.support.world import World, spec

FIFO = {"scheduler": "fifo", "searcher": "random", "r": 1, "R": 9, "eta": 3}


def one(world: World) -> str:
    """A study on one worker whose jobs are nine steps long."""
    world.fleet.workers = world.fleet.workers[:1]
    return world.submit(spec(search=FIFO, budget={"trials": 2}))


def until_step(world: World, step: int) -> None:
    worker = world.fleet.workers[0]
    for _ in range(100):
        world.tick(1.0)
        world.round()
        if worker.step == step and worker.job is not None:
            world.round()
            return
        worker.work()


def test_a_silent_job_runs_again_from_its_newest_checkpoint(world: World) -> None:
    """When a worker is gone for a lease, the same job goes out as attempt 2 from the newest durable checkpoint."""
    study = one(world)
    until_step(world, 5)
    worker = world.fleet.workers[0]
    job = worker.job
    assert job is not None
    worker.die()
    world.tick(LEASE_S - 1)
    world.round()
    with world.store.reading() as reader:
        assert reader.job(job.id).status == "running"
    world.tick(2.0)
    world.round()
    (lost,) = world.events(study, "lost")
    assert (lost.payload["job"], lost.payload["attempt"], lost.payload["from"]) == (job.id, 1, 4)
    again = world.fleet.queue[-1]
    assert (again.id, again.attempt, again.since) == (job.id, 2, 4)
    assert again.checkpoint is not None
    assert again.checkpoint.step == 4
    assert world.run(study) == "done"
    world.check(study)
    assert world.fleet.trained[job.trial, 5] == 2
    with world.store.reading() as reader:
        assert reader.counts(study)["duplicates"] == 1  # step 5, computed twice, recorded once


def test_a_search_that_stands_still_for_a_lease_says_so(world: World) -> None:
    """While the only job that may run is a dead worker's, the study says whose, and for how long; then it goes on."""
    study = world.submit(spec(search=FIFO, budget={"trials": 2, "parallel": 1}))
    while not any(worker.job is not None and worker.step == 3 for worker in world.fleet.workers):
        world.tick(1.0)
        world.round()
        for worker in world.fleet.workers:
            worker.work()
    dead = next(worker for worker in world.fleet.workers if worker.job is not None)
    world.round()
    dead.die()
    said = f"no sign of life from worker {dead.name}: when the lease ends its job runs again from the last checkpoint"
    told = []
    for _ in range(int(LEASE_S) - 1):
        world.tick(1.0)
        world.round()
        told.append(world.loop.waits[study])
    assert set(told[:4]) == {"its limit of 1 slot is reached (budget.parallel)"}
    assert set(told[5:]) == {said}
    assert [e.payload["text"] for e in world.events(study, "waits")] == [said]
    assert world.run(study) == "done"
    texts = [e.payload["text"] for e in world.events(study, "waits")]
    assert (texts.count(said), texts[-1]) == (1, "")
    assert [e.payload["attempt"] for e in world.events(study, "lost")] == [1]
    world.check(study)


def test_a_beat_renews_the_lease(world: World) -> None:
    """A job that beats is never given up, however long a step takes."""
    study = one(world)
    until_step(world, 3)
    for _ in range(20):
        world.tick(LEASE_S / 2)
        world.round()
    assert world.events(study, "lost") == []


def test_a_job_that_loses_every_worker_fails(world: World) -> None:
    """After the cap of attempts the job ends as lost, its trial fails, and the study goes on."""
    study = one(world)
    worker = world.fleet.workers[0]
    for _ in range(ATTEMPTS):
        until_step(world, 1)
        worker.die()
        world.tick(LEASE_S + 1)
        world.round()
    with world.store.reading() as reader:
        (job,) = [j for j in reader.jobs(study) if j.trial == 0]
        trial = reader.trial(study, 0)
    assert (job.status, job.attempt) == ("lost", ATTEMPTS)
    assert (trial.status, trial.reason) == ("failed", f"lost {ATTEMPTS} times")
    assert world.run(study) == "done"
    assert world.replay(study).equal


def test_only_the_word_finished_was_lost(world: World) -> None:
    """When the report and the checkpoint at `until` are durable, a lost job counts as finished: nothing runs again."""
    study = one(world)
    until_step(world, 9)
    world.fleet.workers[0].die()
    world.tick(LEASE_S + 1)
    world.round()
    assert world.events(study, "lost") == []
    assert world.run(study) == "done"
    world.check(study)
    assert all(count == 1 for count in world.fleet.trained.values())


def test_a_daemon_that_was_away_does_not_blame_the_workers(world: World) -> None:
    """After a restart every job has a whole lease, and what waits in the stream is heard before any lease is judged."""
    study = one(world)
    until_step(world, 3)
    for _ in range(3):  # the worker goes on while no daemon lives
        world.fleet.workers[0].work()
        world.tick(60.0)
    world.restart()
    world.round()
    assert world.events(study, "lost") == []
    assert world.run(study) == "done"
    world.check(study)


def test_a_queued_job_that_an_idle_worker_could_take_is_sent_again(world: World) -> None:
    """When the broker forgot a dispatch, it is sent again after a while, and runs once."""
    study = one(world)
    world.tick(1.0)
    world.round()
    assert len(world.fleet.queue) == 1
    world.fleet.queue.clear()
    for _ in range(35):
        world.tick(1.0)
        world.round()
    assert len(world.fleet.queue) == 1
    assert world.run(study) == "done"
    world.check(study)


def test_a_queued_job_behind_a_busy_worker_is_left_alone(world: World) -> None:
    """Waiting for a slot is no loss: with no idle worker nothing is sent twice."""
    world.fleet.workers = world.fleet.workers[:1]
    study = world.submit(spec(search=FIFO))
    until_step(world, 1)
    extra = world.fleet.workers[0]
    assert extra.job is not None
    with world.store.transaction() as tx:
        job = tx.job(extra.job.id)
        assert job is not None
    for _ in range(60):
        world.tick(1.0)
        world.round()
    assert world.fleet.queue == []
    assert len(world.asked(study)) == 1


def test_claimed_and_never_heard_of_is_lost(world: World) -> None:
    """A worker that claimed a job and died before its first word loses the job after one lease."""
    study = one(world)
    world.tick(1.0)
    world.round()
    job = world.fleet.queue.pop()
    assert world.broker.claim(job.id, job.attempt)
    for _ in range(int(LEASE_S) + 2):
        world.tick(1.0)
        world.round()
    (lost,) = world.events(study, "lost")
    assert "claimed" in lost.payload["reason"]
    assert world.run(study) == "done"
    world.check(study)


def test_a_duplicate_dispatch_runs_once(world: World) -> None:
    """A dispatch that arrives twice is claimed once; the second is dropped by its worker."""
    study = world.submit(spec())
    original = world.fleet.take

    def twice(dispatch: object, device: str) -> None:
        original(dispatch, device)  # type: ignore[arg-type]
        original(dispatch, device)  # type: ignore[arg-type]

    world.fleet.take = twice  # type: ignore[method-assign,assignment]
    assert world.run(study) == "done"
    world.check(study)
    assert all(count == 1 for count in world.fleet.trained.values())


def test_a_worker_that_gives_up_a_job_hands_over_its_checkpoint(world: World) -> None:
    """A job that its worker ends as lost goes on from the checkpoint that came with that word."""
    study = one(world)
    until_step(world, 5)
    worker = world.fleet.workers[0]
    job = worker.job
    assert job is not None
    kept = CheckpointRef(step=5, path="trials/0/ckpt-5-a1.safetensors", sha256="0" * 64, bytes=10)
    worker._up(Ended, outcome="lost", step=5, reason="worker shut down", checkpoint=kept)
    worker.die()
    world.round()
    again = world.fleet.queue[-1]
    assert (again.attempt, again.since, again.checkpoint) == (2, 5, kept)
    assert world.run(study) == "done"
    world.check(study)
    assert all(count == 1 for count in world.fleet.trained.values())


def test_a_checkpoint_without_its_last_report_is_not_trusted(world: World) -> None:
    """A checkpoint at `until` whose report never came is not gone on from: the report would be missing for good."""
    study = one(world)
    until_step(world, 8)
    worker = world.fleet.workers[0]
    job = worker.job
    assert job is not None
    kept = CheckpointRef(step=9, path="trials/0/ckpt-9-a1.safetensors", sha256="0" * 64, bytes=10)
    worker._up(Ended, outcome="finished", step=9, checkpoint=kept)
    worker.die()
    world.round()
    again = world.fleet.queue[-1]
    assert (again.attempt, again.since) == (2, 8)
    assert world.run(study) == "done"
    world.check(study)


def test_a_task_without_checkpoints_says_where_its_reports_go_on(world: World) -> None:
    """Without any checkpoint a resumed job goes down with `since` and none: the worker trains from 1, silently."""
    world.fleet.workers = world.fleet.workers[:1]
    world.fleet.checkpoints = False
    study = world.submit(spec(budget={"trials": 4}))
    assert world.run(study) == "done"
    world.check(study)
    resumed = [job for job in world.fleet.dispatched if job.since > 0]
    assert resumed
    assert all(job.checkpoint is None for job in resumed)


def test_nobody_is_judged_while_messages_wait(world: World) -> None:
    """A daemon that was stopped for a minute hears everything that waits before it calls a job silent."""
    study = one(world)
    until_step(world, 3)
    worker = world.fleet.workers[0]
    assert worker.job is not None
    for _ in range(BATCH):
        world.broker.push(Beat(study=study, job="nobody", trial=0, attempt=1))
    worker._up(Beat)
    world.tick(60.0, beat=False)
    world.round()
    world.tick(2.0, beat=False)
    world.round()
    assert world.events(study, "lost") == []
    assert world.run(study) == "done"
    world.check(study)


def test_an_outage_of_the_broker_is_nobodys_silence(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the broker is away no worker can beat: after it every job has a whole lease."""
    study = one(world)
    until_step(world, 3)
    transport = world.loop._transport

    def away(*_: object, **__: object) -> list[tuple[str, object]]:
        raise Unreachable("the broker does not answer")

    with monkeypatch.context() as patch:
        patch.setattr(transport, "receive", away)
        for _ in range(60):
            world.tick(1.0, beat=False)
            assert world.loop.round(0.0) is None
    world.tick(1.0, beat=False)
    world.round()
    assert world.events(study, "lost") == []
    assert world.run(study) == "done"
    world.check(study)
