"""What a searcher says of a study: logged once, shown, known after a restart, and no part of a replay."""

from __future__ import annotations

from typing import Any

from searchd.views.overview import summary
from tests.support.world import World, spec


def told(world: World, study: str) -> list[dict[str, Any]]:
    with world.store.reading() as reader:
        return [dict(event.payload) for event in reader.events(study, kinds=("remarked",))]


def test_an_infeasible_study_says_so_once(world: World) -> None:
    """A loss is never below 0: `config` declares the bound infeasible, in the log and at a glance, once in spite of a
    restart; the log replays."""
    study = world.submit(spec(
        objectives={"loss": {"goal": "minimize", "at_most": -1}}, budget={"trials": 40},
        search={"searcher": "config", "scheduler": "fifo", "R": 1},
    ))  # fmt: skip
    while not told(world, study):
        world.tick(1.0)
        world.round()
        for worker in world.fleet.workers:
            worker.work()
    world.restart()
    world.run(study)
    (said,) = told(world, study)
    assert said["text"].startswith("probably no config of this space keeps the bounds on loss")
    assert 10 <= said["trial"] < 38, "some trials are suggested after the restart"
    with world.store.reading() as reader:
        assert summary(reader, study, 0.0)["remark"] == said["text"]
    world.check(study)
