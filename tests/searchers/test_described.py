"""Losses that descriptions say: the first design spans them, candidates are asked for them, a restart changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.random import Generator

from searchd.schedulers.events import TrialId
from searchd.schedulers.front import hypervolume
from searchd.searchers.auto import AutoSearcher
from searchd.searchers.base import History
from searchd.searchers.candidates import Ground
from searchd.searchers.described import DESIGN, SAMPLE, Described
from searchd.searchers.judges import Front
from searchd.simulator.run import simulate
from searchd.simulator.world import Step
from spaces.config import Config
from spaces.describe import Description
from spaces.errors import SpaceError
from spaces.space import Space
from spaces.study import Study

OPS = {f"op{i}": {"choice": ["none", "skip", "conv1", "conv3"]} for i in range(5)}
COSTS = {"none": 0.0, "skip": 0.1, "conv1": 1.0, "conv3": 3.0}
STUDY = Study.parse({
    "study": "s", "space": {**OPS, "x": {"float": [0, 1]}}, "task": {"function": "a:b"}, "budget": {"trials": 45},
    "objectives": {"error": "minimize", "speed": "maximize"},
    "search": {"scheduler": "auto", "searcher": "auto", "R": 3},
})  # fmt: skip


def cost(config: Any) -> float:
    return sum(COSTS[config[name]] * (i + 1) for i, name in enumerate(OPS))


class World:
    def train(self, trial: TrialId, config: Config, since: int, until: int) -> Iterator[Step]:  # noqa: ARG002
        for step in range(since + 1, until + 1):
            yield Step(step, 1.0, {"error": 1 / (1 + cost(config)) + config["x"] ** 2 / step, "speed": -cost(config)})


class Foretold:
    """A searcher whose history describes; `asked` counts the configs. Each suggestion is made a second time, cold."""

    def __init__(self) -> None:
        self.warm, self.asked = AutoSearcher(0), 0

    def suggest(self, trial: TrialId, history: History, rng: Generator) -> Any:
        history = replace(history, describer=self.describe)
        state = rng.bit_generator.state
        said = self.warm.suggest(trial, history, rng)
        if trial in (25, 40):
            rng.bit_generator.state = state
            asked = self.asked
            assert AutoSearcher(0).suggest(trial, history, rng) == said
            self.asked = asked
        return said

    def describe(self, config: Config) -> Description:
        self.asked += 1
        if config["op0"] == "none" and config["op1"] == "none":
            raise SpaceError("this cell has no input")
        return Description({"speed": -cost(config), "bytes": 1.0})


def described(describer: Any, goals: tuple[tuple[str, float], ...], objectives: int = 2) -> Described:
    history = History(STUDY.space, (), objectives, ((3,),), describer=describer, goals=goals)
    return Described(history, Ground(STUDY.space), 0)


GOALS = (("error", 1.0), ("speed", -1.0))


def test_the_design_spans_what_is_known() -> None:
    """One config from each of equal shares of the sample by the known loss, none that cannot be built; models tell
    small from large."""
    found = described(Foretold().describe, GOALS)
    assert found.at == (1,)
    assert len(found.design) == DESIGN
    assert all((c["op0"], c["op1"]) != ("none", "none") for c in found.design)
    sample = np.array(sorted(cost(STUDY.space.sample(np.random.default_rng(i))) for i in range(200)))
    ranks = np.sort(np.searchsorted(sample, [cost(c) for c in found.design]) / 200)
    assert np.abs(ranks - (np.arange(DESIGN) + 0.5) / DESIGN).max() < 0.12
    units = Ground(STUDY.space).draw(60, np.random.default_rng(5))
    exact = found.losses(units)
    sound = np.isfinite(exact[:, 0])
    guessed = found.guess(Ground(STUDY.space).rows(units))
    assert np.corrcoef(exact[sound, 0], guessed[sound, 0])[0, 1] > 0.95
    assert not sound.all()


def test_nobody_who_knows_nothing_is_asked_again() -> None:
    """Without a described objective, with one objective, or for a history that does not name them: no design."""
    asked = []

    def say(config: Config) -> Description:
        asked.append(config)
        return Description({"bytes": 1.0})

    assert described(say, GOALS).at == ()
    assert len(asked) == 1
    assert described(Foretold().describe, (), 2).at == ()
    assert described(Foretold().describe, (("speed", -1.0),), 1).at == ()
    everything_breaks = described(lambda _: Description({}), GOALS)
    assert everything_breaks.design == []


def test_a_look_replaces_the_guess() -> None:
    """Where both losses are described, what a point promises after a look is the area that it adds; a config that
    cannot be built promises nothing."""
    found = described(lambda c: Description({"speed": -cost(c), "error": c["x"]} if c["op0"] != "none" else {}), GOALS)
    ground = Ground(STUDY.space)
    reached = np.array([[0.5, 20.0], [0.9, 5.0]])
    scale = (np.zeros(2), np.array([1.0, 40.0]))
    nothing = np.zeros((0, 6))
    judge = Front([None, None], found, np.arange(2), reached, scale, nothing, nothing)
    units = ground.draw(40, np.random.default_rng(3))
    guessed = judge.predict(ground.rows(units))
    seen = judge.look(units, guessed)
    exact = found.losses(units)
    assert np.array_equal(seen[0], exact.T)
    assert not np.allclose(guessed[0], seen[0])
    assert np.isinf(exact).any()
    before = hypervolume(reached.tolist(), scale[1].tolist())
    gains = [hypervolume([*reached.tolist(), e], scale[1].tolist()) - before for e in np.minimum(exact, 99).tolist()]
    assert np.allclose(np.exp(judge.rate(seen, 0.5)), gains, atol=1e-9)


def test_a_search_asks_for_few_and_starts_none_that_cannot_be_built() -> None:
    """In a whole search: the first trials are the design, no suggestion of the model is impossible, descriptions are a
    sample and some dozens a model, and a cold searcher suggests the same."""
    searcher = Foretold()
    run = simulate(STUDY, World(), workers=2, seed=0, searcher=searcher)
    configs = [record.config for record in run.search.trials.values()]
    assert configs[:DESIGN] == searcher.warm._described.design
    modelled = [c for trial, c in enumerate(configs) if trial >= DESIGN and trial % 4 != 1]
    assert all((c["op0"], c["op1"]) != ("none", "none") for c in modelled)
    assert SAMPLE < searcher.asked < SAMPLE + 130 * len(modelled)


@pytest.mark.parametrize("space", [Space.parse({"x": {"float": [0, 1]}})])
def test_a_space_without_vocabularies_works_alike(space: Space) -> None:
    """A number alone can be described, too."""
    history = History(space, (), 2, ((3,),), describer=lambda c: Description({"speed": c["x"]}), goals=GOALS)
    found = Described(history, Ground(space), 0)
    units = np.array([[0.25], [0.75]])
    assert found.losses(units)[:, 0].tolist() == [-0.25, -0.75]
    assert np.allclose(found.guess(units)[:, 0], [-0.25, -0.75], atol=0.02)
