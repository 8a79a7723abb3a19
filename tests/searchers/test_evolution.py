"""Mutation, crossover, and the two evolutions beyond the searchers' contract."""

from __future__ import annotations

from statistics import median

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from searchd.schedulers.events import Losses
from searchd.search.search import Search
from searchd.searchers.base import History, Record, generator
from searchd.searchers.evolution import EvolutionSearcher, MoEvolutionSearcher
from searchd.searchers.mutation import child, cross, mutate
from spaces.space import Space
from tests.contracts.test_searchers import SPACES
from tests.support.studies import run, study, toy_loss

LINE = Space.parse({"x": {"float": [0, 1]}, "y": {"float": [0, 1]}})


def past(points: list[tuple[float, tuple[float, ...]]]) -> History:
    """Trials at x (y is 0.5) with these values at rung 1, told in this order."""
    records = tuple(
        Record(i, LINE.complete({"x": x, "y": 0.5}), "paused", 1, 1, losses={1: (Losses(values),)}, heard={1: i})
        for i, (x, values) in enumerate(points)
    )
    return History(LINE, records, len(points[0][1]))


@given(st.integers(0, 10_000), st.sampled_from(["conditional", "repeated", "every domain"]))
@settings(max_examples=60)
def test_a_mutant_is_another_config(seed: int, name: str) -> None:
    """A mutant is a config of the space, and differs from its parent in a parameter that can differ."""
    space, rng = SPACES[name], generator(1, seed)
    parent = space.sample(rng)
    mutant = mutate(space, parent, rng)
    assert mutant != parent
    made = child(space, (parent,), rng)
    space.check(made)
    assert made != parent


@given(st.integers(0, 10_000))
@settings(max_examples=40)
def test_a_crossing_takes_from_its_parents(seed: int) -> None:
    """Each value of a crossing is one of its parents', where either has that parameter."""
    space, rng = SPACES["repeated"], generator(2, seed)
    one, other = space.sample(rng), space.sample(rng)
    mixed = cross(space, one, other, rng)
    for name, value in mixed.items():
        assert value in [parent[name] for parent in (one, other) if name in parent]


def test_only_one_config_exists() -> None:
    """Where nothing can differ, the child is the parent."""
    space = SPACES["constants"]
    parent = space.sample(generator(0, 0))
    assert child(space, (parent,), generator(0, 1)) == parent


def test_the_oldest_die() -> None:
    """Regularised evolution forgets: a good trial that is older than the population has no children."""
    history = past([(0.1, (0.0,))] + [(0.9, (1.0,))] * 20)
    young = [EvolutionSearcher(population=20, tournament=20).suggest(t, history, generator(0, t)) for t in range(30)]
    whole = [EvolutionSearcher(population=21, tournament=21).suggest(t, history, generator(0, t)) for t in range(30)]
    assert median(c["x"] for c in young) > 0.7
    assert median(c["x"] for c in whole) < 0.3


def test_the_elite_lives() -> None:
    """The elitist one forgets nothing: the best trials are parents however old they are."""
    history = past([(0.1, (0.0,))] * 5 + [(0.9, (1.0,))] * 45)
    found = [MoEvolutionSearcher(population=5).suggest(t, history, generator(0, t))["x"] for t in range(30)]
    assert median(found) < 0.3


def test_parents_lie_on_the_front() -> None:
    """With two objectives the parents are spread over the front: what is dominated has no children."""
    front = [(0.1, (0.0, 4.0)), (0.3, (2.0, 2.0)), (0.5, (4.0, 0.0))]
    history = past(front * 4 + [(0.9, (5.0, 5.0))] * 28)
    found = [MoEvolutionSearcher(population=12).suggest(t, history, generator(0, t))["x"] for t in range(60)]
    assert sum(x < 0.7 for x in found) > 50
    assert {0.1, 0.3, 0.5} <= {round(x, 1) for x in found}


@pytest.mark.parametrize("searcher", [EvolutionSearcher, MoEvolutionSearcher])
def test_all_diverged_is_random(searcher: type) -> None:
    """When nobody is finite, the suggestion is the space's own sample."""
    history = past([(x / 20, (float("nan"),)) for x in range(20)])
    assert searcher().suggest(20, history, generator(0, 20)) == LINE.sample(generator(0, 20))


@pytest.mark.parametrize("searcher", ["evolution", "mo-evolution", "mcts"])
def test_it_beats_random(searcher: str) -> None:
    """On a smooth conditional toy, over seven seeds, the median of the best loss is lower than random's."""
    best = {}
    for name in ("random", searcher):
        found = []
        for seed in range(7):
            search = Search(study(search={"searcher": name}, budget={"trials": 80}), seed=seed)
            run(search, 2)
            found.append(min(toy_loss(r.config, 9) for r in search.trials.values()))
        best[name] = median(found)
    assert best[searcher] < best["random"]
