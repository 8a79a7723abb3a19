"""CMA-ES as values, and as a searcher; NSGA-II by generations."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.random import Generator

from searchd.schedulers.events import Losses
from searchd.search.search import Search
from searchd.searchers import cma
from searchd.searchers.base import History, Record, Searcher, generator
from searchd.searchers.evolution_strategy import CmaEsSearcher, coordinates
from searchd.searchers.optuna_nsga2 import OptunaNsga2
from spaces.config import Config
from spaces.space import Space
from tests.contracts.test_searchers import SPACES
from tests.support.studies import FUNCTION, NETS, run, study, toy_loss

PLANE = Space.parse({"x": {"float": [0, 1]}, "y": {"float": [0, 1]}})


def past(points: list[tuple[float, float, tuple[float, ...]]]) -> History:
    records = tuple(
        Record(i, PLANE.complete({"x": x, "y": y}), "paused", 1, 1, losses={1: (Losses(values),)}, heard={1: i})
        for i, (x, y, values) in enumerate(points)
    )
    return History(PLANE, records, len(points[0][2]), ((1,),))


@pytest.mark.parametrize("d", [2, 6])
def test_it_solves_a_turned_ellipsoid(d: int) -> None:
    """Axes of 1 to 1000, turned at random: the mean comes to the least within 200 generations."""
    rng = np.random.default_rng(d)
    turn = np.linalg.qr(rng.normal(size=(d, d)))[0]
    matrix = turn @ np.diag(10.0 ** np.linspace(0, 3, d)) @ turn.T
    best = rng.uniform(0.3, 0.7, d)
    state, n = cma.begin(d), cma.population(d)
    for _ in range(200):
        points = np.array([cma.draw(state, rng) for _ in range(n)])
        losses = np.einsum("ij,jk,ik->i", points - best, matrix, points - best)
        state = cma.told(state, points[np.argsort(losses)])
    assert np.abs(state.mean - best).max() < 1e-3
    assert state.generation == 200


@given(st.integers(0, 1000), st.integers(1, 5), st.integers(2, 12))
@settings(max_examples=50)
def test_any_points_may_be_told(seed: int, d: int, n: int) -> None:
    """Generations of points that nobody drew leave a state that draws: finite, in the cube, symmetric, positive."""
    rng = np.random.default_rng(seed)
    state = cma.begin(d)
    for _ in range(30):
        state = cma.told(state, rng.integers(0, 2, (n, d)).astype(float))
    assert np.allclose(state.covariance, state.covariance.T)
    assert np.linalg.eigvalsh(state.covariance).min() > 0
    drawn = cma.draw(state, rng)
    assert ((drawn >= 0) & (drawn <= 1)).all()


def test_rotation_changes_nothing() -> None:
    """Turned points move the distribution as the distribution turned: no axis is special."""
    rng = np.random.default_rng(0)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    plain, turned = cma.begin(3), cma.begin(3)
    for _ in range(5):
        steps = 0.05 * rng.normal(size=(8, 3))
        plain, turned = cma.told(plain, 0.5 + steps), cma.told(turned, 0.5 + steps @ turn.T)
    assert np.allclose((plain.mean - 0.5) @ turn.T, turned.mean - 0.5)
    assert np.allclose(turn @ plain.covariance @ turn.T, turned.covariance)
    assert plain.sigma == pytest.approx(turned.sigma)


def test_suggestions_follow_the_generations() -> None:
    """Forty trials around a slope: the suggestions are further down it than the trials were."""
    rng = np.random.default_rng(1)
    trials = [(float(x), float(y), (float(x + y),)) for x, y in rng.uniform(0.4, 0.6, (40, 2))]
    found = [CmaEsSearcher().suggest(t, past(trials), generator(0, t)) for t in range(50, 80)]
    assert median(c["x"] + c["y"] for c in found) < 0.95


def test_coordinates_are_what_every_config_has() -> None:
    """Conditional and repeated parameters, unordered choices, subsets and constants are no coordinates."""
    assert coordinates(SPACES["conditional"]) == ["x", "lr"]
    assert coordinates(SPACES["repeated"]) == ["depth", "width"]
    assert coordinates(SPACES["every domain"]) == ["a", "b", "c", "e", "k"]
    assert coordinates(SPACES["constants"]) == []


class _Compared:
    """A searcher that goes along with a search, compared with a fresh one at every suggestion."""

    def __init__(self, make: Callable[[], Searcher]) -> None:
        self.make, self.warm, self.compared = make, make(), 0

    def suggest(self, trial: int, history: History, rng: Generator) -> Config:
        again = generator(0, 0)
        again.bit_generator.state = rng.bit_generator.state
        said = self.warm.suggest(trial, history, rng)
        cold = History(history.space, tuple(history.records), history.objectives, history.ladders, history.rejected)
        assert self.make().suggest(trial, cold, again) == said
        self.compared += 1
        return said


@pytest.mark.parametrize("base", [FUNCTION, NETS])
@pytest.mark.parametrize("make", [lambda: CmaEsSearcher(startup=4), lambda: OptunaNsga2(population=5)])
def test_a_restart_changes_no_suggestion(make: Callable[[], Searcher], base: dict[str, Any]) -> None:
    """A searcher that went along from trial to trial says what a fresh one says, with one and three objectives."""
    compared = _Compared(make)
    run(Search(study(base, budget={"trials": 40}), 3, searcher=compared), 3)
    assert compared.compared >= 40


def test_nsga2_crosses_the_front() -> None:
    """Parents are the non-dominated of all generations: children lie near the front, the dominated have none."""
    front = [(x / 10, 0.1, (x / 10, 1 - x / 10)) for x in range(11)]
    rest = [(x / 10, 0.9, (1 + x / 10, 2 - x / 10)) for x in range(11)]
    history = past((front + rest) * 3)
    found = [OptunaNsga2(population=11).suggest(t, history, generator(0, t)) for t in range(70, 100)]
    assert sum(c["y"] < 0.5 for c in found) > 20
    assert OptunaNsga2(population=80).suggest(70, history, generator(0, 70)) == PLANE.sample(generator(0, 70))


def test_cma_es_beats_random() -> None:
    """On a smooth conditional toy, over seven seeds, the median of the best loss is lower than random's."""
    best = {}
    for name in ("random", "cma-es"):
        searches = [Search(study(search={"searcher": name}, budget={"trials": 80}), seed=seed) for seed in range(7)]
        for search in searches:
            run(search, 2)
        best[name] = median(min(toy_loss(r.config, 9) for r in s.trials.values()) for s in searches)
    assert best["cma-es"] < best["random"]
