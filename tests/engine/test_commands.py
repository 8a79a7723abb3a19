"""What a person asks of a study: pause, resume, stop, stop a trial, inject, extend."""

from __future__ import annotations

from typing import Any

import pytest

from searchd.errors import NotFound, Refused, SearchdError, StudyError
from tests.support.world import World, spec

FIFO = {"scheduler": "fifo", "searcher": "random", "r": 1, "R": 9, "eta": 3}


def running(world: World, **changes: Any) -> str:
    """A study with both workers in the middle of a job."""
    study = world.submit(spec(**{"search": FIFO, **changes}))
    for _ in range(4):
        turn(world)
    assert all(worker.job is not None for worker in world.fleet.workers)
    return study


def turn(world: World) -> None:
    world.tick(1.0)
    world.round()
    for worker in world.fleet.workers:
        worker.work()


def test_a_paused_study_asks_for_nothing_and_its_jobs_go_on(world: World) -> None:
    """Pausing lets running jobs end and starts none; resuming goes on to the same end; the log replays."""
    study = running(world)
    asked = len(world.asked(study))
    world.loop.pause(study)
    for _ in range(30):
        turn(world)
    assert len(world.asked(study)) == asked
    with world.store.reading() as reader:
        assert not reader.jobs(study, ("queued", "running"))
        assert reader.study(study).status == "paused"
    world.restart()
    for _ in range(3):
        turn(world)
    assert len(world.asked(study)) == asked
    world.loop.resume(study)
    assert world.run(study) == "done"
    world.check(study)


def test_stopping_a_study_stops_its_jobs_and_ends_it(world: World) -> None:
    """`stop` ends running jobs at their next report, starts nothing, and the study ends `stopped`."""
    study = running(world)
    world.loop.stop(study)
    assert world.run(study, limit=20) == "stopped"
    world.check(study)
    with world.store.reading() as reader:
        assert {j.status for j in reader.jobs(study)} == {"stopped"}
        assert {t.status for t in reader.trials(study)} == {"stopped"}
        assert reader.study(study).status_reason == "stopped by the user"
    assert world.broker.stops == {}


def test_unclaimed_jobs_of_a_stopped_study_are_cancelled(world: World) -> None:
    """A job that no worker has claimed is cancelled at once; a worker that takes it all the same changes nothing."""
    study = world.submit(spec(search=FIFO))
    world.tick(1.0)
    world.round()
    queued = list(world.fleet.queue)
    assert queued
    world.loop.stop(study)
    world.round()
    assert world.loop.status(study) == "stopped"
    with world.store.reading() as reader:
        assert {j.status for j in reader.jobs(study)} == {"cancelled"}
    for _ in range(5):
        turn(world)
    world.check(study)


def test_a_stopped_study_resumes(world: World) -> None:
    """`resume` after `stop` goes on with the search: the stopped trials stay stopped, the rest of the budget runs."""
    study = running(world)
    world.loop.stop(study)
    world.run(study, limit=20)
    world.loop.resume(study)
    assert world.run(study) == "done"
    world.check(study)
    with world.store.reading() as reader:
        states = [t.status for t in reader.trials(study)]
    assert states.count("stopped") == 2
    assert states.count("done") == 7


def test_stopping_a_trial_leaves_the_others(world: World) -> None:
    """A stopped trial ends at its next report and never runs again."""
    study = running(world)
    job = world.fleet.workers[0].job
    assert job is not None
    world.loop.stop_trial(study, job.trial)
    assert world.run(study) == "done"
    world.check(study)
    with world.store.reading() as reader:
        stopped = [t for t in reader.trials(study) if t.status == "stopped"]
    assert [(t.trial, t.reason) for t in stopped] == [(job.trial, "stopped by the user")]


def test_a_stopped_job_that_is_lost_is_not_run_again(world: World) -> None:
    """A job that was asked to stop and then lost its worker is over."""
    study = running(world)
    worker = world.fleet.workers[0]
    assert worker.job is not None
    job = worker.job
    world.loop.stop_trial(study, job.trial)
    world.round()
    worker.die()
    for _ in range(20):
        world.tick(1.0)
        world.round()
    with world.store.reading() as reader:
        assert (reader.job(job.id).status, reader.job(job.id).attempt) == ("stopped", 1)
        assert reader.trial(study, job.trial).status == "stopped"
    assert world.run(study) == "done"
    world.check(study)


def test_finishing_before_the_stop_arrives_is_still_stopped(world: World) -> None:
    """A job that reaches its end before it reads the stop key ends its trial as the user wished."""
    study = running(world)
    worker = world.fleet.workers[0]
    assert worker.job is not None
    job = worker.job
    while worker.job is not None:
        worker.work()
    world.loop.stop_trial(study, job.trial)
    world.round()
    with world.store.reading() as reader:
        assert reader.job(job.id).status == "finished"
        assert reader.trial(study, job.trial).status == "stopped"
    assert world.run(study) == "done"
    world.check(study)


def test_an_injected_config_is_the_next_trial(world: World) -> None:
    """`inject` answers the trial's number; its config runs next and reaches the largest step."""
    study = running(world, budget={"trials": 5})
    trial = world.loop.inject(study, {"x": 0.3, "k": 2})
    assert trial == 2
    assert [e.payload["trial"] for e in world.events(study, "injected")] == [2]
    assert world.run(study) == "done"
    world.check(study)
    with world.store.reading() as reader:
        row = reader.trial(study, trial)
    assert dict(row.config) == {"x": 0.3, "k": 2}
    assert (row.status, row.step) == ("done", 9)
    with pytest.raises(SearchdError, match="kk"):
        world.loop.inject(study, {"x": 0.3, "kk": 2})


def test_a_study_that_is_done_takes_an_injected_config(world: World) -> None:
    """An ended study runs again for a config that the user brings."""
    study = world.submit(spec(search=FIFO, budget={"trials": 2}))
    assert world.run(study) == "done"
    trial = world.loop.inject(study, {"x": 0.5, "k": 1})
    assert world.run(study) == "done"
    world.check(study)
    with world.store.reading() as reader:
        assert reader.trial(study, trial).step == 9


def test_more_trials_after_the_end(world: World) -> None:
    """`extend` after `done` goes on: more trials run, the old ones are not repeated, and all of it replays."""
    study = world.submit(spec(budget={"trials": 4}))
    assert world.run(study) == "done"
    before = world.asked(study)
    world.loop.extend(study, {"trials": 8})
    assert world.run(study) == "done"
    world.check(study)
    after = world.asked(study)
    assert after[: len(before)] == before
    assert {trial for trial, *_ in after} == set(range(8))
    assert all(count == 1 for count in world.fleet.trained.values())


def test_an_extended_study_comes_back_after_a_restart(world: World) -> None:
    """The new budget is in the study's row and in the log: a new daemon knows it."""
    study = running(world, budget={"trials": 3})
    world.loop.extend(study, {"trials": 5, "parallel": 1})
    world.restart()
    assert world.run(study) == "done"
    world.check(study)
    with world.store.reading() as reader:
        assert len(reader.trials(study)) == 5
        assert reader.study(study).spec["budget"]["parallel"] == 1


def test_more_steps_and_hours_go_on_too(world: World) -> None:
    """A study that ended for its steps or hours goes on with more of them."""
    study = world.submit(spec(budget={"steps": 6}))
    world.run(study)
    world.loop.extend(study, {"steps": 20})
    assert world.run(study) == "done"
    world.check(study)
    with world.store.reading() as reader:
        assert reader.counts(study)["steps"] >= 20


@pytest.mark.parametrize("command", ["pause", "resume", "stop"])
def test_unknown_studies_are_not_found(world: World, command: str) -> None:
    """A command to a study that is not there says so."""
    with pytest.raises(NotFound, match="nobody"):
        getattr(world.loop, command)("nobody")


def test_commands_in_the_wrong_state_are_refused(world: World) -> None:
    """Each refusal names the state."""
    study = running(world)
    with pytest.raises(Refused, match="running"):
        world.loop.resume(study)
    with pytest.raises(NotFound, match="77"):
        world.loop.stop_trial(study, 77)
    with pytest.raises(StudyError, match="unknown key 'trails': did you mean 'trials'"):
        world.loop.extend(study, {"trails": 3})
    with pytest.raises(SearchdError):
        world.loop.extend(study, {"trials": -3})
    assert world.run(study) == "done"
    for command in ("pause", "stop", "resume"):
        with pytest.raises(Refused, match="done"):
            getattr(world.loop, command)(study)
    with pytest.raises(Refused, match="done"):
        world.loop.stop_trial(study, 0)
    world.check(study)


def test_a_bad_study_never_enters_the_store(world: World) -> None:
    """A study with mistakes is refused at the door; so is a folder outside of the root."""
    with pytest.raises(SearchdError, match="schedular"):
        world.submit(spec(search={"schedular": "asha"}))
    with pytest.raises(Refused, match="root"):
        world.loop.submit(spec(), "../elsewhere")
    with world.store.reading() as reader:
        assert reader.studies() == []
