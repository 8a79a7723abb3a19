"""Slots that differ, studies that share them, workers that leave, and why somebody waits."""

from __future__ import annotations

from typing import Any

import pytest

from searchd.engine import ATTEMPTS
from searchd.errors import NotFound, Refused, StudyError
from searchd.wire import SHUT_DOWN
from tests.support.world import World, spec

FIFO = {"scheduler": "fifo", "searcher": "random", "r": 1, "R": 3, "eta": 3}
MIB = 1 << 20


def toy(name: str, trials: int = 6, **more: Any) -> dict[str, Any]:
    return spec(study=name, search=FIFO, budget={"trials": trials}, **more)


def work(world: World, rounds: int = 1) -> None:
    for _ in range(rounds):
        world.tick(1.0)
        world.round()
        for worker in world.fleet.workers:
            worker.work()


def ran(world: World, study: str) -> set[str]:
    with world.store.reading() as reader:
        return {job.worker for job in reader.jobs(study) if job.worker}


def waits(world: World, study: str) -> list[str]:
    return [event.payload["text"] for event in world.events(study, "waits")]


# ---------------------------------------------------------------- labels
def test_jobs_go_where_the_labels_fit(world: World) -> None:
    """A study that needs a label runs on the slot that has it, beside one that takes any: both slots are busy."""
    world.fleet.workers[1].says = {"labels": {"rack": "3"}}
    picky, any_ = world.submit(toy("picky", needs={"rack": 3})), world.submit(toy("any"))
    busy = 0
    for _ in range(14):
        work(world)
        busy += sum(worker.job is not None for worker in world.fleet.workers)
    assert busy >= 22, "no slot idles while somebody wants it"
    for study in (picky, any_):
        assert world.run(study) == "done"
        world.check(study)
    assert ran(world, picky) == {"w1"}
    assert "w0" in ran(world, any_)


def test_a_slot_that_does_not_come_is_no_dead_end(world: World) -> None:
    """A job that its slot does not take goes to another that suits it, and to no other."""
    extra = [{"labels": {"rack": "3"}}, {"labels": {"rack": "3"}}]
    for worker, says in zip(world.fleet.workers, extra, strict=True):
        worker.says = says
    study = world.submit(toy("picky", trials=2, needs={"rack": 3}))
    stuck, fine = world.fleet.workers
    for _ in range(60):
        world.tick(1.0)
        world.round()
        fine.work()
    assert stuck.own, "it was tried"
    assert not world.fleet.queue, "nothing went to whoever comes"
    with world.store.reading() as reader:
        assert reader.study(study).status == "done"
    world.check(study)
    assert ran(world, study) == {fine.name}


# ---------------------------------------------------------------- shares
def test_one_slot_is_shared_by_priority(world: World) -> None:
    """Of two studies on one slot the one of twice the priority trains twice as many steps; a change on the way is an
    event of the log, holds after a restart, and the log replays."""
    world.fleet.workers = world.fleet.workers[:1]
    a, b = world.submit(toy("a", trials=200)), world.submit(toy("b", trials=200, priority=2))

    def steps() -> list[int]:
        with world.store.reading() as reader:
            return [reader.counts(study)["steps"] for study in (a, b)]

    work(world, 240)
    first = steps()
    assert first[1] / first[0] == pytest.approx(2, rel=0.25)
    world.loop.prioritize(a, 4)
    world.restart()
    work(world, 240)
    second = steps()
    assert (second[0] - first[0]) / (second[1] - first[1]) == pytest.approx(2, rel=0.25)
    assert [e.payload for e in world.events(a, "prioritized")] == [{"priority": 4.0}]
    assert world.replay(a).equal


def test_a_priority_that_cannot_be(world: World) -> None:
    """No weight of 0, none of a study that is not there or has ended."""
    study = world.submit(toy("a", trials=1))
    with pytest.raises(StudyError, match="priority"):
        world.loop.prioritize(study, 0)
    with pytest.raises(NotFound):
        world.loop.prioritize("nobody", 1)
    assert world.run(study) == "done"
    with pytest.raises(Refused, match="done"):
        world.loop.prioritize(study, 2)
    assert not world.events(study, "prioritized")


# ---------------------------------------------------------------- workers that leave
def test_a_job_that_is_handed_back_is_no_attempt(world: World) -> None:
    """However often workers leave, the trial is not given up, and each time the job goes out again in the same round;
    losses count as before."""
    world.fleet.workers = world.fleet.workers[:1]
    (worker,) = world.fleet.workers
    study = world.submit(toy("a", trials=1))
    for _ in range(3 * ATTEMPTS):
        work(world, 2)
        assert worker.job is not None
        worker._end("lost", reason=SHUT_DOWN)
        world.round()
        assert world.fleet.queue, "it waits for no lease"
    assert {e.payload["cause"] for e in world.events(study, "lost")} == {"preempted"}
    for _ in range(ATTEMPTS - 1):
        work(world, 2)
        worker._end("lost", reason="no sign of life")
    work(world, 2)
    world.restart()  # what was handed back is known from the log
    assert world.run(study) == "done"
    world.check(study)
    with world.store.reading() as reader:
        assert [t.status for t in reader.trials(study)] == ["done"]


# ---------------------------------------------------------------- out of memory
def test_what_ran_out_of_memory_runs_again_alone_then_fails(world: World) -> None:
    """A job that ran out of memory runs again once nothing else holds memory on its host, and no new job begins beside
    it; out of memory once more, its trial fails as that, and the other goes on."""
    for worker in world.fleet.workers:
        worker.says = {"domain": "host"}
    hog, other = world.fleet.workers
    study = world.submit(toy("a", trials=6))
    work(world, 2)
    assert hog.job is not None
    assert other.job is not None
    job, step = hog.job.id, other.step
    hog._end("failed", reason="out of memory", cause="out_of_memory", error="MemoryError")
    seen = 0
    for _ in range(20):
        world.tick(1.0)
        world.round()
        holder = next((w for w in world.fleet.workers if w.job is not None and w.job.id == job), None)
        if holder is not None:
            (beside,) = [w for w in world.fleet.workers if w is not holder]
            assert beside.job is None
            seen += 1
            if seen == 3:
                holder._end("failed", reason="out of memory", cause="out_of_memory", error="MemoryError: again")
                continue
        for worker in world.fleet.workers:
            worker.work()
    assert seen == 3
    assert step < 3, "the other was in the middle, and was let end"
    assert world.run(study) == "done"
    world.check(study)
    (lost,) = world.events(study, "lost")
    assert (lost.payload["cause"], lost.payload["alone"]) == ("out_of_memory", True)
    (failed,) = [e for e in world.events(study, "told") if e.payload["event"] == "failed"]
    assert failed.payload["cause"] == "out_of_memory"
    with world.store.reading() as reader:
        row = reader.trial(study, failed.payload["trial"])
        assert (row.status, row.reason, row.error) == ("failed", "out of memory", "MemoryError: again")
        from searchd import views

        assert views.summary(reader, study, world.time)["ends"] == {"out_of_memory": 2}


def test_jobs_share_a_memory_where_they_fit(world: World) -> None:
    """On a shared device nothing runs beside a job of which nothing is known; once a trial's peak is, as many run as
    fit with a margin, and never more; out of memory takes more margin."""
    world.fleet.workers += [type(world.fleet.workers[0])(world.fleet, f"w{n}") for n in (2, 3)]
    for worker in world.fleet.workers:
        worker.says = {"domain": "cuda:0", "shared": True, "memory_bytes": 1000 * MIB}
    study = world.submit(toy("a", trials=16))
    send = world.fleet.send

    def weighed(message: Any) -> None:
        train = message.kind in ("report", "ended")
        send(message.model_copy(update={"peak_bytes": 300 * MIB} if train else {}))

    world.fleet.send = weighed  # type: ignore[method-assign]
    counts = []
    for _ in range(16):
        work(world)
        counts.append(sum(worker.job is not None for worker in world.fleet.workers))
    known = next(i for i, n in enumerate(counts) if n > 1)
    assert set(counts[1:known]) == {1}
    assert max(counts) == 2, "300 MiB and a fifth more: two fit into 1000"
    world.restart()
    after = []
    for _ in range(6):
        work(world)
        after.append(sum(worker.job is not None for worker in world.fleet.workers))
    assert max(after) == 2, "what was learned is in the log"
    hog = next(w for w in world.fleet.workers if w.job is not None)
    hog._end("failed", reason="out of memory", cause="out_of_memory")
    assert world.run(study) == "done"
    world.check(study)
    assert world.loop._engines[study].memory() == int(300 * MIB * 1.2 * 1.5)


# ---------------------------------------------------------------- why it waits
def test_why_a_study_waits_is_noted_and_taken_back(world: World) -> None:
    """A device that nobody serves is in the log after a moment, once, with what is served; and that it is over."""
    for worker in world.fleet.workers:
        worker.says = {"device_class": "gpu"}
    study = world.submit(toy("a", trials=2))
    work(world, 6)
    assert waits(world, study) == ["device cpu: no worker serves it; served: gpu (2)"]
    with world.store.reading() as reader:
        from searchd import views

        assert views.summary(reader, study, world.time)["waits"] == waits(world, study)[0]
    for worker in world.fleet.workers:
        worker.says = {}
    assert world.run(study) == "done"
    assert waits(world, study)[1:] == [""]
    world.check(study)


def test_each_reason_has_its_words(world: World) -> None:
    """Labels, a limit, slots that are busy with others, a bracket that waits, a pause: each is told as what it is."""
    world.fleet.workers[0].says = {"labels": {"rack": "1"}}
    world.fleet.workers[1].says = {"labels": {"rack": "1"}}
    racks = world.submit(toy("racks", needs={"rack": 3}))
    work(world, 3)
    assert world.loop.waits[racks] == (
        "no worker of cpu has the labels that it needs, rack=3; they have: rack=1 (2)"
    )  # fmt: skip
    world.loop.stop(racks)
    limited = world.submit({**toy("limited"), "budget": {"trials": 9, "parallel": 1}})
    work(world, 3)
    assert world.loop.waits[limited] == "its limit of 1 slot is reached (budget.parallel)"
    world.loop.pause(limited)
    world.round()
    assert "paused" in world.loop.waits[limited]
    assert waits(world, limited) == [], "its status says that"
    hyperband = {"scheduler": "hyperband", "searcher": "random", "r": 1, "R": 9, "eta": 3, "brackets": 1}
    bracket = world.submit({**toy("bracket"), "search": hyperband, "budget": {"trials": 9}})
    for _ in range(300):
        work(world)
        if "waits for results" in world.loop.waits.get(bracket, ""):
            break
    assert world.loop.waits[bracket].startswith("the search waits for results of trial")


def test_who_has_the_slots_is_said(world: World) -> None:
    """A study that finds all slots taken says by whom."""
    long = {**FIFO, "R": 500}
    for name in ("a", "b"):
        world.submit(spec(study=name, search=long, budget={"trials": 1}))
    work(world, 3)
    late = world.submit(toy("late"))
    work(world, 4)
    assert waits(world, late) == ["all 2 slots of cpu are busy with studies a, b"]
