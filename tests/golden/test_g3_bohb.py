"""G3: BOHB's split sizes and the rule for its first model (ALGORITHMS 3.1)."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from searchd.schedulers.events import Losses
from searchd.searchers.base import History, Record, generator
from searchd.searchers.bohb import BohbSearcher, Density, has_model, impute, split_sizes
from searchd.searchers.columns import columns_of
from spaces.space import Space

SPACE = Space.parse({"a": {"float": [0, 1]}, "b": {"float": [0, 1]}, "c": {"int": [1, 9]}, "k": {"choice": ["x", "y"]}})


@pytest.mark.parametrize(("n", "good", "bad"), [(9, 5, 4), (10, 5, 5), (34, 5, 28), (40, 6, 34), (100, 15, 85)])
def test_split_sizes(n: int, good: int, bad: int) -> None:
    """With four columns, so many observations are split as the paper's code splits them."""
    assert split_sizes(n, 4) == (good, bad)
    assert has_model(n, 4) == (n >= 10)


def test_the_first_model() -> None:
    """In general the first model needs 2 (d + 1) observations on one rung."""
    for d in range(1, 12):
        assert next(n for n in range(100) if has_model(n, d)) == 2 * (d + 1)


def past(n: int, deep: int = 0) -> History:
    """`n` trials at rung 1 with the best near a = 0.2, the first `deep` of them at rung 3 with the best near 0.8."""
    records = []
    for i in range(n):
        config = SPACE.sample(generator(7, i))
        losses = {1: (Losses((abs(config["a"] - 0.2),)),)}
        if i < deep:
            losses[3] = (Losses((abs(config["a"] - 0.8),)),)
        records.append(Record(i, config, "paused", 1, 1, losses=losses))
    return History(SPACE, tuple(records), 1, ((1, 3, 9),))


def suggestions(history: History, n: int = 40) -> list[float]:
    model = BohbSearcher(random_fraction=0.0)
    return [model.suggest(t, history, generator(0, t))["a"] for t in range(500, 500 + n)]


def test_the_deepest_rung_with_a_model_decides() -> None:
    """Ten observations on rung 3 overrule forty on rung 1, nine do not; without a model all is random."""
    assert np.median(np.abs(np.array(suggestions(past(40, 9))) - 0.2)) < 0.15
    assert np.median(np.abs(np.array(suggestions(past(40, 10))) - 0.8)) < 0.2
    early = past(9)
    found = BohbSearcher(random_fraction=0.0).suggest(9, early, generator(0, 9))
    assert found == SPACE.sample(generator(0, 9))


def test_a_third_is_random() -> None:
    """About a third of the suggestions are the space's own samples."""
    history = past(40)
    searcher, n = BohbSearcher(), 150
    hits = 0
    for trial in range(500, 500 + n):
        rng = generator(0, trial)
        rng.random()
        hits += searcher.suggest(trial, history, generator(0, trial)) == SPACE.sample(rng)
    assert 30 <= hits <= 72  # 50 ± 3.8 standard deviations


def test_the_density_is_the_product_of_kernels() -> None:
    """The matrix product gives what the kernels give one by one."""
    columns = columns_of(SPACE)
    rng = np.random.default_rng(0)
    points, x = (np.array([SPACE.encode(SPACE.sample(rng)) for _ in range(n)]) for n in (12, 5))
    density = Density.of(columns, points)
    numbers = points[:, :3]
    assert np.allclose(density.bandwidth[:3], 1.06 * numbers.std(axis=0) * 12 ** (-1 / 8))
    expected = np.ones((5, 12))
    for i in range(3):
        expected *= norm.pdf(x[:, [i]], points[:, i], density.bandwidth[i])
    h = density.bandwidth[3]
    expected *= np.where(x[:, [3]] == points[:, 3], 1 - h, h)
    assert np.allclose(density.log_density(x), np.log(expected.mean(axis=1)))


def test_missing_values_are_copied() -> None:
    """A parameter that a trial has not is copied from one that has it, and drawn when none has."""
    columns = columns_of(SPACE)
    points = np.array([[0.1, np.nan, np.nan, 0.25], [0.2, 0.5, np.nan, 0.75]])
    full = impute(columns, points, generator(0, 0))
    assert full[0, 1] == 0.5
    assert set(full[:, 2]) <= {(k + 0.5) / 9 for k in range(9)}
    assert (full[:, [0, 3]] == points[:, [0, 3]]).all()
