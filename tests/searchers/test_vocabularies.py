"""Choices that share their options are counted, wherever they are; a kernel in two parts sees both."""

from __future__ import annotations

import numpy as np

from searchd.searchers import gp
from searchd.searchers.candidates import Ground
from searchd.searchers.vocabularies import UNIT, Vocabularies
from spaces.space import Space

OPS = ["none", "skip", "conv"]
CELL = Space.parse({
    **{f"op{i}": {"choice": OPS} for i in range(4)}, "x": {"float": [0, 1]}, "flag": {"choice": ["a", "b"]},
})  # fmt: skip


def test_counts_do_not_know_the_places() -> None:
    """Two cells with the same operations elsewhere have equal counts; one operation less is one more of another."""
    counts = Vocabularies(CELL)
    rest = {"x": 0.5, "flag": "a"}
    cells = [["conv", "skip", "none", "none"], ["none", "none", "conv", "skip"], ["conv", "conv", "none", "none"]]
    units = np.array([
        CELL.encode({**{f"op{i}": op for i, op in enumerate(ops)}, **rest}) for ops in cells
    ])  # fmt: skip
    assert np.allclose(counts(units) * UNIT, [[2, 1, 1], [2, 1, 1], [2, 0, 2]])
    assert counts.groups.tolist() == [0, 0, 0]


def test_what_is_not_active_is_not_counted() -> None:
    """Inactive choices are NaN in the unit cube; two choices alone are no vocabulary, nor are ordered ones."""
    counts = Vocabularies(CELL)
    units = CELL.encode(CELL.sample(np.random.default_rng(0)))
    units = np.array([units])
    units[0, 0] = np.nan
    assert np.isclose(counts(units).sum() * UNIT, 3)
    few = Space.parse({"a": {"choice": OPS}, "b": {"choice": OPS}, "x": {"float": [0, 1]}})
    assert Vocabularies(few).d == 0
    assert Ground(few).hyper().cut is None


def test_a_model_learns_counts_from_few_trials() -> None:
    """A loss that only counts is predicted better with them than without: after 12 cells, half the error or less."""
    ground = Ground(CELL)
    rng = np.random.default_rng(1)
    units, asked = ground.draw(12, rng), ground.draw(100, rng)

    def loss(u: np.ndarray) -> np.ndarray:
        return (np.floor(u[:, [CELL[f"op{i}"].start for i in range(4)]] * 3) == 2).sum(axis=1) ** 2.0

    def error(x: np.ndarray, at: np.ndarray, hyper: gp.Hyper, groups: np.ndarray) -> float:
        y = loss(units)
        center, spread = y.mean(), y.std()
        hyper = gp.climb(hyper, x, (y - center) / spread, np.zeros(12), groups, 25)
        model = gp.Posterior(hyper, x, (y - center) / spread, np.zeros(12), groups)
        return float(np.abs(center + spread * model.mean(model.covariances(at)) - loss(asked)).mean())

    plain = ground.features
    without = error(plain(units), plain(asked), gp.start(len(plain.names), plain.active), plain.groups)
    assert error(ground.rows(units), ground.rows(asked), ground.hyper(), ground.groups) < 0.5 * without
