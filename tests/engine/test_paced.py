"""EI per second in the service: the seconds are facts of the log, so that a restart and a replay decide the same."""

from __future__ import annotations

from typing import Any

import pytest

from searchd.engine.mind import remember
from tests.support.world import World, spec

GP = {"scheduler": "asha", "searcher": "gp", "r": 1, "R": 9, "eta": 3, "options": {"startup": 3, "cost": 1}}


@pytest.fixture
def timed(world: World) -> World:
    """Training with k = 4 takes eight times as long as with k = 1."""
    usual = world.fleet.metrics

    def metrics(job: Any, step: int) -> Any:
        world.fleet.step_s = 2.0 ** job.config["k"]
        return usual(job, step)

    world.fleet.metrics = metrics  # type: ignore[method-assign]
    return world


def test_a_restart_changes_nothing(timed: World) -> None:
    """A daemon that ends in the middle: the next one reads the seconds from the log, the whole replays, and the search
    knows what a step takes."""
    name = timed.submit(spec(search=GP, budget={"trials": 14}))
    for n in range(60):
        timed.tick(1.0)
        timed.round()
        for worker in timed.fleet.workers:
            worker.work()
        if n % 20 == 10:
            timed.restart()
    timed.run(name)
    timed.check(name)
    with timed.store.reading() as reader:
        trials = remember(reader.study(name), reader).search.trials
    assert len(trials) == 14
    assert all(trial.pace == 2.0 ** trial.config["k"] for trial in trials.values())


def test_without_it_nothing_is_counted(timed: World) -> None:
    """A study without `cost` has the reports that its workers sent."""
    name = timed.submit(spec(search={**GP, "options": {"startup": 3}}))
    timed.run(name)
    reported = [e.payload["metrics"] for e in timed.events(name, "told") if e.payload["event"] == "reported"]
    assert {tuple(metrics) for metrics in reported} == {("loss",)}
