"""What each message does, and what it does not do when it is late, double, strange or stale."""

from __future__ import annotations

import math
from typing import Any

import pytest

from searchd.wire import Begun, Ended, Report
from tests.support.world import World, spec


def begin(world: World, **changes: Any) -> tuple[str, Any]:
    """A study with one running job; its id and the job."""
    world.fleet.workers = world.fleet.workers[:1]
    study = world.submit(spec(**changes))
    world.tick(1.0)
    world.round()
    world.fleet.workers[0].work()
    world.round()
    return study, world.fleet.workers[0].job


def say(world: World, kind: Any, job: Any, attempt: int | None = None, **more: Any) -> None:
    """Send one message of the job and let the daemon take it."""
    world.broker.push(
        kind(study=job.study, job=job.id, trial=job.trial, attempt=attempt or job.attempt, worker="w0", **more)
    )
    world.round()


def counts(world: World, study: str) -> Any:
    with world.store.reading() as reader:
        return reader.counts(study)


def row(world: World, job: Any) -> Any:
    with world.store.reading() as reader:
        return reader.job(job.id)


def trial(world: World, job: Any) -> Any:
    with world.store.reading() as reader:
        return reader.trial(job.study, job.trial)


def test_a_message_that_comes_twice_counts_once(world: World) -> None:
    """Every message sent twice leaves the decisions and reports of a run that got each once; the rest is counted."""
    study = world.submit(spec())
    original = world.fleet.send

    def twice(message: Any) -> None:
        original(message)
        if message.kind != "beat":
            world.broker.push(message)

    world.fleet.send = twice  # type: ignore[method-assign]
    assert world.run(study) == "done"
    world.check(study)
    sent = [m for m in world.fleet.sent if m.kind != "beat"]
    assert counts(world, study)["duplicates"] == len(sent)


def test_a_message_of_an_older_attempt_changes_nothing(world: World) -> None:
    """Once a job was given up as lost, the reports and ends of its former worker are ignored and counted."""
    study, job = begin(world)
    say(world, Ended, job, outcome="lost", reason="worker shut down")
    assert row(world, job).attempt == 2
    before = counts(world, study)
    say(world, Report, job, step=1, metrics={"loss": 0.5})
    say(world, Ended, job, outcome="finished", step=1)
    after = counts(world, study)
    assert after["reports"] == before["reports"] == 0
    assert after["duplicates"] == before["duplicates"] + 2
    assert row(world, job).status in ("outbox", "queued")


def test_a_message_of_a_newer_attempt_than_any_sent_changes_nothing(world: World) -> None:
    """An attempt that the daemon never sent is none of its jobs'."""
    study, job = begin(world)
    say(world, Report, job, attempt=7, step=1, metrics={"loss": 0.5})
    assert counts(world, study)["reports"] == 0


def test_messages_of_unknown_jobs_and_studies_are_dropped(world: World) -> None:
    """A job or study that is not in the database changes nothing and breaks nothing."""
    study, job = begin(world)
    say(world, Report, job.model_copy(update={"id": "nobody"}), step=1, metrics={"loss": 0.5})
    say(world, Report, job.model_copy(update={"study": "nothing"}), step=1, metrics={"loss": 0.5})
    say(world, Report, job.model_copy(update={"trial": 5}), step=1, metrics={"loss": 0.5})
    assert counts(world, study)["reports"] == 0
    assert world.broker.entries == {}
    assert world.run(study) == "done"


@pytest.mark.parametrize("step", [0, 2, 100])
def test_a_report_outside_of_its_job_is_ignored(world: World, step: int) -> None:
    """A report at a step that the job was not asked for is not recorded: that step belongs to a later job."""
    study, job = begin(world)
    assert job.until == 1
    say(world, Report, job, step=step, metrics={"loss": 0.5})
    assert counts(world, study)["reports"] == 0


def test_a_report_of_a_job_that_has_not_said_begun_begins_it(world: World) -> None:
    """When `Begun` is lost, the first report does its work."""
    world.fleet.workers = world.fleet.workers[:1]
    world.submit(spec())
    world.tick(1.0)
    world.round()
    job = world.fleet.queue.pop()
    say(world, Report, job, step=1, metrics={"loss": 0.5})
    assert row(world, job).status == "running"
    say(world, Begun, job, device="late")
    assert row(world, job).status == "running"


def test_nan_is_stored_and_ranks_last(world: World) -> None:
    """A NaN is stored as NaN, the study goes on, and the trial is never promoted."""
    study, job = begin(world)
    say(world, Report, job, step=1, metrics={"loss": math.nan})
    say(world, Ended, job, outcome="failed", step=1, reason="diverged")
    world.fleet.workers[0].die()
    with world.store.reading() as reader:
        (report,) = reader.reports(study)
        assert math.isnan(report.metrics["loss"])
    assert (trial(world, job).status, trial(world, job).reason) == ("failed", "diverged")
    assert world.run(study) == "done"
    assert world.replay(study).equal
    assert [a for a in world.asked(study) if a[0] == job.trial] == [(job.trial, "train", 0, 1)]


def test_a_failure_is_the_trials_own_and_final(world: World) -> None:
    """A job that failed is not run again: its trial is failed, with reason and traceback, and the study goes on."""
    study, job = begin(world)
    say(world, Ended, job, outcome="failed", reason="exception", error="Traceback: boom")
    world.fleet.workers[0].die()
    assert row(world, job).status == "failed"
    assert trial(world, job).error == "Traceback: boom"
    assert world.run(study) == "done"
    assert world.replay(study).equal
    assert max(j.attempt for j in world.fleet.dispatched if j.trial == job.trial) == 1


def test_a_report_without_the_objective_fails_its_trial_with_a_remedy(world: World) -> None:
    """A training function that does not report an objective fails with both names as the reason and is stopped."""
    study, job = begin(world)
    say(world, Report, job, step=1, metrics={"accuracy": 0.5})
    failed = trial(world, job)
    assert failed.status == "failed"
    assert "loss" in failed.reason
    assert "accuracy" in failed.reason
    assert world.broker.stop_reason(job.id) is not None
    assert world.replay(study).equal


def test_a_function_that_returns_early_fails_with_a_remedy(world: World) -> None:
    """`finished` before `until` is the training function's fault, and said so."""
    _, job = begin(world, search={"scheduler": "fifo", "searcher": "random", "r": 1, "R": 9, "eta": 3})
    say(world, Report, job, step=1, metrics={"loss": 0.5})
    say(world, Ended, job, outcome="finished", step=1)
    assert trial(world, job).status == "failed"
    assert "before step 9" in trial(world, job).error


def test_finished_without_its_last_report_runs_again(world: World) -> None:
    """A job that says `finished` but whose report at `until` never came is run again, not believed."""
    study, job = begin(world)
    say(world, Ended, job, outcome="finished", step=1)
    assert (row(world, job).attempt, row(world, job).status) == (2, "queued")
    world.fleet.workers[0].die()
    assert world.run(study) == "done"
    world.check(study)


def test_a_stop_that_nobody_asked_for_is_a_loss(world: World) -> None:
    """A worker that ends a job as stopped without being asked (an old key) costs an attempt, not the trial."""
    study, job = begin(world)
    say(world, Ended, job, outcome="stopped")
    assert row(world, job).attempt == 2
    world.fleet.workers[0].die()
    assert world.run(study) == "done"
    world.check(study)


def test_unreadable_entries_are_set_aside(world: World) -> None:
    """Text that is no message never reaches the engine; the study goes on."""
    study, _ = begin(world)
    world.broker.push("{not json")
    world.broker.push('{"kind": "beat"}')
    world.round()
    assert len(world.broker.poison) == 2
    assert world.run(study) == "done"


def test_one_transaction_records_the_end_and_asks_for_the_next(world: World) -> None:
    """Where one study has its device to itself, the messages of a round and the next job are one commit; the job's mark
    as sent is another."""
    study, job = begin(world)
    commits = world.faults.passed["after commit"]
    done = {"study": job.study, "job": job.id, "trial": job.trial, "attempt": job.attempt, "worker": "w0"}
    world.broker.push(Report(**done, step=job.until, metrics={"loss": 0.5}))
    world.broker.push(Ended(**done, outcome="finished", step=job.until))
    world.round()
    assert world.faults.passed["after commit"] == commits + 2
    with world.store.reading() as reader:
        assert [row.status for row in reader.jobs(study)] == ["finished", "queued"]


def test_two_studies_share_what_is_free(world: World) -> None:
    """Where another study wants the device too, it has a say in who gets the slot that the messages set free."""
    study, job = begin(world)
    other = world.submit(spec())
    world.round()
    world.broker.push(Ended(study=job.study, job=job.id, trial=job.trial, attempt=job.attempt, worker="w0",
                            outcome="failed", reason="exception"))  # fmt: skip
    world.tick(1.0)
    world.round()
    with world.store.reading() as reader:
        assert [row.status for row in reader.jobs(other)] == ["queued"]
        assert [row.status for row in reader.jobs(study)] == ["failed"]
