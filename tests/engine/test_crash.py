"""The daemon crashes at every point of its step; a new one goes on as if nothing had been."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.world import POINTS, World, spec

SMALL = spec(budget={"trials": 4}, search={"scheduler": "asha", "searcher": "random", "r": 1, "R": 3, "eta": 3})


def undisturbed(folder: Path) -> tuple[list[tuple[object, ...]], dict[str, int]]:
    """What one worker is asked for when nothing goes wrong, and how often each point is passed."""
    world = World(folder, slots=1)
    study = world.submit(SMALL)
    world.faults.passed.clear()
    assert world.run(study) == "done"
    asked = world.asked(study)
    world.close()
    return asked, dict(world.faults.passed)


@pytest.mark.parametrize("point", POINTS)
def test_a_crash_at_any_moment_changes_no_decision(tmp_path: Path, point: str) -> None:
    """Crashed at the n-th passing of a point, for every n, the study ends with the very decisions of a quiet run."""
    (tmp_path / "quiet").mkdir()
    expected, passed = undisturbed(tmp_path / "quiet")
    assert passed[point] > 3
    for n in range(0, passed[point], 1 + passed[point] // 12):
        folder = tmp_path / f"crash-{n}"
        folder.mkdir()
        world = World(folder, slots=1)
        study = world.submit(SMALL)
        world.faults.arm(point, after=n)
        assert world.run(study) == "done", (point, n)
        assert world.crashes == 1, (point, n)
        world.check(study)
        assert world.asked(study) == expected, (point, n)
        assert all(count == 1 for count in world.fleet.trained.values()), (point, n)
        world.close()


def test_crashes_in_every_round_still_end(tmp_path: Path) -> None:
    """A daemon that crashes at every second passing of a point, each in turn, still brings the study to its end."""
    world = World(tmp_path, slots=2)
    study = world.submit(spec(budget={"trials": 9}))
    for _ in range(400):
        if world.faults.point == "":
            world.faults.arm(POINTS[world.crashes % len(POINTS)], after=1)
        world.tick(1.0)
        world.round()
        for worker in world.fleet.workers:
            worker.work()
        with world.store.inner.reading() as reader:
            if reader.study(study).status == "done":
                break
    world.faults.arm("")
    assert world.crashes > 10
    world.check(study)
    world.close()


def test_stop_keys_are_set_again_after_a_restart(tmp_path: Path) -> None:
    """A stop that was committed but never sent is sent by the next daemon."""
    world = World(tmp_path, slots=1)
    study = world.submit(spec(search={"scheduler": "fifo", "searcher": "random", "r": 1, "R": 9, "eta": 3}))
    world.tick(1.0)
    world.round()
    world.fleet.workers[0].work()
    world.round()
    job = world.fleet.workers[0].job
    assert job is not None
    world.loop.stop_trial(study, job.trial)  # committed; the round that would send it never comes
    assert world.broker.stop_reason(job.id) is None
    world.restart()
    world.round()
    assert world.broker.stop_reason(job.id) is not None
    world.close()


def test_what_was_not_sent_is_sent_at_once_by_the_next_daemon(tmp_path: Path) -> None:
    """A job that was committed when the daemon crashed waits in the outbox, not for a lease: the restart sends it."""
    world = World(tmp_path, slots=1)
    study = world.submit(SMALL)
    world.tick(1.0)
    world.faults.arm("before publish")
    world.round()
    assert world.crashes == 1
    assert len(world.asked(study)) == 1
    assert world.fleet.queue == []
    world.round()
    assert [job.id for job in world.fleet.queue] == [world.events(study, "asked")[0].payload["job"]]
    world.close()
