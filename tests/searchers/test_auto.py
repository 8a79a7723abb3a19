"""`auto` in whole searches: warm equals cold at every suggestion, and it finds what random search does not."""

from __future__ import annotations

from math import nan
from typing import Any

import numpy as np
import pytest

from searchd.schedulers.events import TrialId
from searchd.search.search import Search
from searchd.searchers.auto import AutoSearcher
from searchd.searchers.base import History, generator
from searchd.searchers.batches import _born
from searchd.searchers.table import Table
from searchd.searchers.tpe import TpeSearcher
from searchd.simulator.run import simulate
from searchd.simulator.trace import Run
from searchd.simulator.world import Step, TrialFailed
from spaces.config import Config
from spaces.study import Study

TREE = {
    "x": {"float": [0, 1]},
    "kind": {"choice": {"a": {"y": {"float": [0, 1]}}, "b": {"z": {"int": [1, 9]}, "w": {"float": [0, 1]}}}},
}  # fmt: skip
FLAT = {"x": {"float": [0, 1]}, "y": {"float": [0, 1]}, "z": {"float": [0.01, 1], "log": True}}


def study(space: dict[str, Any], objectives: dict[str, Any] | None = None, **search: Any) -> Study:
    said = {"scheduler": "auto", "searcher": "auto", "R": 27, **search}
    goals = objectives or {"loss": "minimize"}
    return Study.parse({"study": "s", "space": space, "objectives": goals, "search": said, "task": {"function": "a:b"}})


class Valley:
    """A bowl in x and y (or w), learned with the steps; every 13th trial fails, every 7th diverges in some corner."""

    def __init__(self, trouble: bool = False) -> None:
        self.trouble = trouble

    def train(self, trial: TrialId, config: Config, since: int, until: int) -> Any:
        y = config.get("y", config.get("kind.a.y", config.get("kind.b.w", 0.5)))
        bowl = (config["x"] - 0.3) ** 2 + (y - 0.8) ** 2 + 0.1 * (config.get("kind") == "a")
        for step in range(since + 1, until + 1):
            if self.trouble and trial % 13 == 12:
                raise TrialFailed("out of memory", 0.5)
            loss = nan if self.trouble and trial % 7 == 6 else bowl + 0.5 / step
            yield Step(step, 1.0, {"loss": loss, "cost": config["x"], "good": 1 - bowl})


class Twins:
    """A searcher that asks another one, made anew each time and knowing the records only, and compares."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.warm = AutoSearcher(seed)
        self.asked = 0

    def suggest(self, trial: TrialId, history: History, rng: Any) -> Config:
        cold = History(history.space, history.records, history.objectives, history.ladders, history.rejected)
        said = self.warm.suggest(trial, history, rng)
        if not history.rejected and trial % 5 == 2:
            assert AutoSearcher(self.seed).suggest(trial, cold, generator(self.seed, trial)) == said
            self.asked += 1
        return said


@pytest.mark.parametrize("objectives", [None, {"loss": "minimize", "cost": "minimize"}])
@pytest.mark.parametrize("space", [FLAT, TREE])
def test_warm_equals_cold_in_the_middle_of_a_search(space: dict[str, Any], objectives: dict[str, Any] | None) -> None:
    """A searcher that a restart made anew, which knows the records only, suggests what the old one would have: with
    trials of batches half told, with reports that came out of order, with failures and NaN."""
    twins = Twins(5)
    simulate(study(space, objectives), Valley(trouble=True), workers=5, seconds=90, seed=5, searcher=twins)
    assert twins.asked >= 5


def best(run: Run) -> float:
    return min(float(seen.metrics["loss"]) for seen in run.trace if seen.step == 27)


def test_it_finds_the_bowl() -> None:
    """After 11 full trainings' time on 4 workers it is within .001 of the best, in a flat and in a conditional space,
    where random search is ten times as far off."""
    for space in (FLAT, TREE):
        runs = [simulate(study(space), Valley(), workers=4, seconds=300, seed=s) for s in range(2)]
        others = [simulate(study(space, searcher="random"), Valley(), workers=4, seconds=300, seed=s) for s in range(2)]
        floor = 0.5 / 27
        found, drawn = (np.mean([best(run) - floor for run in rs]) for rs in (runs, others))
        assert found < 1e-3
        assert found < 0.3 * drawn


def test_every_fourth_trial_is_a_matter_of_densities() -> None:
    """Trials 9, 13, 17, … are what `tpe` would have suggested with the same history, all but those that explore; the
    others are not."""
    seen: dict[TrialId, bool] = {}

    class Beside:
        def __init__(self) -> None:
            self.auto, self.tpe = AutoSearcher(0), TpeSearcher()

        def suggest(self, trial: TrialId, history: History, rng: Any) -> Config:
            said = self.auto.suggest(trial, history, rng)
            seen[trial] = self.tpe.suggest(trial, history, generator(3, trial)) == said
            return said

    simulate(study(FLAT), Valley(), workers=2, seconds=250, seed=3, searcher=Beside())
    assert max(seen) > 40
    assert [t for t in seen if t > 8 and seen[t]] == [t for t in seen if t > 8 and t % 4 == 1 and t % 10]


class Mosaic:
    """Each of 40 × 40 tiles has a loss of its own, which its neighbours say nothing of."""

    def train(self, _trial: TrialId, config: Config, since: int, until: int) -> Any:
        tile = int(config["x"] * 40) * 40 + int(config["y"] * 40)
        loss = float(np.random.default_rng(tile).random())
        for step in range(since + 1, until + 1):
            yield Step(step, 1.0, {"loss": loss})


@pytest.mark.parametrize(("world", "least", "most"), [(Mosaic(), 0.3, 0.5), (Valley(), 0.0, 0.0)])
def test_a_model_that_predicts_nothing_gives_trials_away(world: Any, least: float, most: float) -> None:
    """On a mosaic a third of the model's trials are drawn at random and a third are `tpe`'s, and a bowl's model keeps
    all of its own."""
    seen: dict[TrialId, str] = {}

    class Beside:
        def __init__(self) -> None:
            self.auto, self.tpe = AutoSearcher(0), TpeSearcher()

        def suggest(self, trial: TrialId, history: History, rng: Any) -> Config:
            said = self.auto.suggest(trial, history, rng)
            others = {"tpe": self.tpe.suggest(trial, history, generator(3, trial)),
                      "random": history.space.sample(generator(3, trial))}  # fmt: skip
            seen[trial] = next((name for name, config in others.items() if config == said), "model")
            return said

    space = {"x": {"float": [0, 0.999]}, "y": {"float": [0, 0.999]}}
    simulate(study(space), world, workers=2, seconds=600, seed=3, searcher=Beside())
    asked = [seen[t] for t in seen if t > 40 and t % 4 != 1 and t % 10]
    assert len(asked) > 30
    assert all(least <= asked.count(name) / len(asked) <= most for name in ("tpe", "random"))


def test_a_great_fleet_gets_different_configs() -> None:
    """256 workers ask at once: no config twice, and models are few."""
    run = simulate(study(FLAT), Valley(), workers=256, seconds=20, seed=0)
    configs = [record.config for record in run.search.trials.values()]
    assert len(configs) > 256
    assert len(set(configs)) == len(configs)


def test_batches_are_cut_by_what_was_known() -> None:
    """A trial that started has the tally of its start, one that is to come has none."""
    search = Search(study(FLAT), seed=0)
    search.ask()
    table: Table = search.history.table
    assert _born(table, 0) == 0
    assert _born(table, 1) is None
