"""Bounds on what is known before training are kept before a device is given away, whatever the searcher proposes."""

from __future__ import annotations

from typing import Any

import pytest

from spaces.describe import describe
from spaces.study import Study
from tests.support.world import World, spec

NETS: dict[str, Any] = spec(
    study="nets",
    space={"width": {"int": [4, 40]}, "depth": {"int": [1, 2]}, "exits": {"subset": [0]}},
    objectives={"val_error": "minimize", "latency_ms": "minimize", "bytes": {"goal": "minimize", "at_most": 6000}},
    task="classify", budget={"trials": 14},
)  # fmt: skip
OWN: dict[str, Any] = spec(
    task={"function": "toys.train:train", "describe": "toys.train:describe"}, budget={"trials": 14},
    objectives={"loss": "minimize", "size": {"goal": "minimize", "at_most": 25}},
)  # fmt: skip


@pytest.mark.parametrize("searcher", ["config", "scbo", "random"])
def test_a_bound_on_exact_figures_costs_no_job_at_all(world: World, searcher: str) -> None:
    """Arithmetic says what a config weighs: one that breaks the bound is in no job, not even one that measures; most of
    the space breaks it, and the log replays."""
    said = {**NETS, "search": {**NETS["search"], "searcher": searcher, "options": {}}}
    study = world.submit(said)
    assert world.run(study) == "done"
    world.check(study)
    task = Study.parse(said)

    def size(config: dict[str, Any]) -> float:
        found = describe(task.task, task.space, config)
        assert found is not None
        return found.metrics["bytes"]

    kinds = {job.kind for job in world.fleet.dispatched}
    assert {"measure", "train"} <= kinds
    assert all(size(job.config) <= 6000 for job in world.fleet.dispatched)
    with world.store.reading() as reader:
        assert len({t.trial for t in reader.trials(study)}) == 14
    widest = {"width": 40, "depth": 2, "exits": ()}
    assert size(widest) > 6000


@pytest.mark.parametrize("searcher", ["config", "random"])
def test_a_bound_on_a_described_figure_costs_no_training(world: World, searcher: str) -> None:
    """A user's task says it by a job: that job is all that such a config gets, and once a config."""
    said = {**OWN, "search": {**OWN["search"], "searcher": searcher, "options": {}}}
    study = world.submit(said)
    assert world.run(study) == "done"
    world.check(study)
    broken = [job for job in world.fleet.dispatched if job.config["k"] > 2]
    assert {job.kind for job in broken} == {"describe"}
    configs = [tuple(sorted(job.config.items())) for job in broken]
    assert len(set(configs)) == len(configs)
    assert any(job.kind == "train" for job in world.fleet.dispatched)
