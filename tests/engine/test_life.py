"""A study from its submission to its end."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.support.world import DEVICE, World, spec

CLASSIFY = {
    "study": "net",
    "space": {"width": {"int": [8, 16]}, "depth": {"int": [1, 2]}, "exits": {"subset": [0]}},
    "objectives": {"val_error": "minimize", "latency_ms": "minimize", "bytes": "minimize"},
    "search": {"scheduler": "asha", "searcher": "random", "r": 1, "R": 3, "eta": 3},
    "budget": {"trials": 5},
    "task": "classify",
}

SCHEDULERS = ["fifo", "asha", "stopping", "hyperband", "async-hyperband"]


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_a_study_runs_to_its_end_and_replays(world: World, scheduler: str) -> None:
    """Under every scheduler a study ends done, each report is stored once, and its log decides the same again."""
    study = world.submit(spec(search={"scheduler": scheduler, "searcher": "random", "r": 1, "R": 9, "eta": 3}))
    assert world.run(study) == "done"
    world.check(study)
    with world.store.reading() as reader:
        trials = reader.trials(study)
        assert {t.status for t in trials} <= {"done", "paused", "stopped"}
        assert any(t.status == "done" and t.step == 9 for t in trials)
        assert reader.study(study).ended_at is not None
        assert reader.counts(study)["duplicates"] == 0


def test_every_job_and_event_names_what_it_should(world: World) -> None:
    """Ids of jobs are unique, the log begins with `submitted`, and seq counts without gaps."""
    study = world.submit(spec())
    world.run(study)
    events = world.events(study)
    assert [e.seq for e in events] == list(range(1, len(events) + 1))
    assert events[0].kind == "submitted"
    assert [e.payload["status"] for e in events if e.kind == "status"] == ["running", "verifying", "done"]
    asked = [e.payload["job"] for e in world.events(study, "asked") if e.payload["answer"] == "job"]
    assert len(asked) == len(set(asked)) > 9
    with world.store.reading() as reader:
        assert {j.id for j in reader.jobs(study)} == set(asked)
        assert all(j.begun_at is not None and j.ended_at is not None for j in reader.jobs(study))


def test_a_resumed_job_carries_the_newest_checkpoint(world: World) -> None:
    """A job that resumes a trial goes down with the checkpoint that the trial ended at, and begins there."""
    study = world.submit(spec())
    world.run(study)
    resumed = [e.payload for e in world.events(study, "asked") if e.payload.get("since", 0) > 0]
    sent = {job.id: job for job in world.fleet.dispatched}
    assert resumed
    for payload in resumed:
        job = sent[payload["job"]]
        assert job.checkpoint is not None
        assert (job.since, job.checkpoint.step) == (payload["since"], payload["since"])
    assert all(count == 1 for count in world.fleet.trained.values())


def test_capacity_is_the_live_slots_and_never_more_than_parallel(world: World) -> None:
    """Jobs in flight never exceed the live slots, nor the study's `parallel`."""
    study = world.submit(spec(budget={"trials": 4, "parallel": 1}))
    for _ in range(30):
        world.tick(1.0)
        world.round()
        with world.store.reading() as reader:
            assert len(reader.jobs(study, ("outbox", "queued", "running"))) <= 1
        for worker in world.fleet.workers:
            worker.work()


def test_nothing_is_asked_while_no_worker_lives(world: World) -> None:
    """Without a live slot a study stays queued; when slots come and go, the log says so."""
    study = world.submit(spec())
    for _ in range(3):
        world.tick(1.0, beat=False)
        world.round()
    assert world.asked(study) == []
    assert world.loop.status(study) == "queued"
    world.tick(1.0)
    world.round()
    assert len(world.asked(study)) == 2
    assert [e.payload["slots"] for e in world.events(study, "capacity")] == [2]


def test_two_studies_share_the_slots(world: World) -> None:
    """Slots go to the study with the fewest jobs in flight: two studies on two slots run side by side."""
    first, second = world.loop.submit(spec(study="a")), world.loop.submit(spec(study="b"))
    world.tick(1.0)
    world.round()
    assert (len(world.asked(first)), len(world.asked(second))) == (1, 1)
    assert world.run(first) == "done"
    assert world.run(second) == "done"
    world.check(first)
    world.check(second)


def test_the_built_in_task_is_measured_first_and_verified_last(world: World) -> None:
    """A signature is measured once before training, and the front is taken again at the end, one export at a time."""
    study = world.submit(CLASSIFY)
    assert world.run(study) == "done"
    world.check(study)
    with world.store.reading() as reader:
        jobs = reader.jobs(study)
        points = reader.points(study)
        signatures = {t.signature for t in reader.trials(study)}
        assert all(reader.measurement(DEVICE, s) for s in signatures if s)
    measures = [j for j in jobs if j.kind == "measure"]
    assert len(measures) == len({j.spec["signature"] for j in measures}) > 0
    for job in measures:
        trains = [j for j in jobs if j.kind == "train" and j.trial == job.trial]
        assert all(t.created_at >= (job.ended_at or 0) for t in trains)
    for sent in (j for j in world.fleet.dispatched if j.kind == "train"):
        exits = 1 + int(sent.config["depth"] == 2 and 0 in sent.config["exits"])
        assert sent.costs == (1.0, 2.0)[-exits:], "training knows what was measured up to each exit"
    exports = sorted((j for j in jobs if j.kind == "export"), key=lambda j: j.begun_at or 0)
    assert exports
    assert all(a.ended_at <= b.created_at for a, b in pairwise(exports))  # type: ignore[operator]
    verified = [p for p in points if p.verified]
    assert {p.trial for p in verified} == {j.trial for j in exports}
    assert all(p.metrics["test_error"] == 5.0 and p.metrics["latency_ms"] == 1.25 for p in verified)
    assert all(e.payload["ok"] and e.payload["alone"] for e in world.events(study, "verified"))


def test_a_measurement_serves_the_next_study_too(world: World) -> None:
    """What was measured on a device is not measured again: the second study has no measure job, and replays."""
    first = world.submit(CLASSIFY)
    world.run(first)
    second = world.loop.submit({**CLASSIFY, "study": "again"}, "again")
    assert world.run(second) == "done"
    with world.store.reading() as reader:
        assert [j for j in reader.jobs(second) if j.kind == "measure"] == []
    assert any(e.payload.get("cached") for e in world.events(second, "asked"))
    world.check(second)


def test_an_export_that_fails_keeps_the_numbers_and_says_so(world: World) -> None:
    """When an export fails, the study still ends done, its points stay unverified, and the log has the reason."""
    study = world.submit(CLASSIFY)
    for _ in range(2000):
        world.tick(1.0)
        world.round()
        for worker in world.fleet.workers:
            if worker.job is not None and worker.job.kind == "export":
                worker._end("failed", reason="exception", error="no disk")
            else:
                worker.work()
        if world.loop.status(study) == "done":
            break
    assert world.loop.status(study) == "done"
    verified = world.events(study, "verified")
    assert verified
    assert not any(e.payload["ok"] for e in verified)
    assert {e.payload["reason"] for e in verified} == {"exception"}
    with world.store.reading() as reader:
        assert not any(p.verified for p in reader.points(study))


def test_a_budget_of_steps_ends_the_search(world: World) -> None:
    """No job is asked for once the steps done and under way reach the budget; the study then ends done."""
    study = world.submit(spec(budget={"steps": 12}))
    assert world.run(study) == "done"
    world.check(study)
    with world.store.reading() as reader:
        done = reader.counts(study)["steps"]
        assert "12 steps" in reader.study(study).status_reason or done >= 12
    assert 12 <= done < 12 + 9


def test_a_budget_of_hours_ends_the_search(world: World) -> None:
    """After the given hours nothing new is asked for, running jobs finish, and the log holds the time that passed."""
    study = world.submit(spec(budget={"hours": 0.01}))
    assert world.run(study) == "done"
    world.check(study)
    spent = world.events(study, "budget")
    assert spent[-1].payload == {"spent": "hours", "seconds": pytest.approx(36.0, abs=3.0)}


def test_steps_under_way_count_against_the_budget(world: World) -> None:
    """A budget that the first job will spend whole is spent when that job is asked for: the second slot stays free."""
    fifo = {"scheduler": "fifo", "searcher": "random", "r": 1, "R": 9, "eta": 3}
    study = world.submit(spec(search=fifo, budget={"steps": 9}))
    assert world.run(study) == "done"
    assert world.asked(study) == [(0, "train", 0, 9)]
    with world.store.reading() as reader:
        assert reader.study(study).status_reason == "the budget of 9 steps is spent"
