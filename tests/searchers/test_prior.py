"""User priors: the density, and searchers that start from it and can leave it."""

from __future__ import annotations

import numpy as np
import pytest

from searchd.schedulers.events import Losses
from searchd.searchers.base import History, Record, generator
from searchd.searchers.columns import columns_of
from searchd.searchers.prior import BETA, Prior, weight
from searchd.searchers.priorband import PriorBandSearcher, shares
from searchd.searchers.table import Table
from searchd.searchers.tpe import TpeSearcher
from spaces.space import Space

SPACE = Space.parse(
    {
        "a": {"float": [-2, 6], "prior": {"mean": 0, "sd": 0.8}},
        "b": {"float": [1e-5, 1], "log": True, "prior": {"mean": 1e-3, "sd": 0.5}},
        "c": {"int": [1, 9], "prior": {"mean": 3, "sd": 1}},
        "d": {"int": [1, 1000], "log": True, "prior": {"mean": 30, "sd": 0.4}},
        "e": {"choice": ["x", "y", "z"], "prior": {"weights": [6, 1, 1]}},
        "f": {"float": [0, 1]},
    }
)
COLUMNS = columns_of(SPACE)


def test_it_is_a_density() -> None:
    """Its mean over uniform points of the cube is 1 in each column, and the column without a prior counts nothing."""
    prior = Prior(SPACE)
    for i, column in enumerate(COLUMNS):
        u = np.full((20_000, len(COLUMNS)), np.nan)
        grid = (np.arange(20_000) + 0.5) / 20_000
        u[:, i] = column.snap(grid) if column.count else grid
        assert np.exp(prior.log(COLUMNS, u)).mean() == pytest.approx(1.0, rel=0.02), column.name


def test_it_samples_as_the_space_does() -> None:
    """Its draws and the space's own have the same means and spreads in each column."""
    rng = generator(0, 0)
    drawn = Prior(SPACE).sample(COLUMNS, 4000, rng)
    own = np.array([SPACE.encode(SPACE.sample(rng)) for _ in range(4000)])[:, [c.at for c in COLUMNS]]
    np.testing.assert_allclose(drawn.mean(axis=0), own.mean(axis=0), atol=0.03)
    np.testing.assert_allclose(drawn.std(axis=0), own.std(axis=0), atol=0.03)


def test_it_fades() -> None:
    """The weight is β at first and β / n after n observations; a space without priors has none."""
    assert [weight(n) for n in (0, 1, 10, 100)] == [BETA, BETA, 1.0, 0.1]
    assert not Prior(Space.parse({"x": {"float": [0, 1]}}))


def past(n: int, best: float, top: bool = True) -> History:
    space = Space.parse({"x": {"float": [0, 1], "prior": {"mean": 0.3, "sd": 0.05}}})
    records = []
    for i in range(n):
        config = space.complete({"x": float(np.random.default_rng(i).random())})
        losses = {s: (Losses((abs(config["x"] - best),)),) for s in ((1, 3, 9) if top and i % 3 == 0 else (1,))}
        records.append(Record(i, config, "paused", 1, 1, losses=losses))
    return History(space, tuple(records), 1, ((1, 3, 9),))


def test_tpe_follows_a_good_prior_and_leaves_a_bad_one() -> None:
    """With few trials suggestions are near the prior's mean; with many they are where the trials are good."""
    for n, near in ((12, 0.3), (400, 0.8)):
        history = past(n, 0.8, top=False)
        found = [TpeSearcher().suggest(t, history, generator(0, t))["x"] for t in range(500, 530)]
        assert np.median(np.abs(np.array(found) - near)) < 0.1


def test_shares_of_priorband() -> None:
    """Half is random at the lowest rung, a quarter one above; the best trial joins when one reached the top, and takes
    most of the prior's share when the prior leads nowhere."""
    empty = Table(SPACE, 1, ((1, 3, 9), (3, 9)))
    assert shares(empty, ((1, 3, 9), (3, 9)), 0) == (0.5, 0.5, None)
    assert shares(empty, ((1, 3, 9), (3, 9)), 1) == (0.25, 0.75, None)
    right, wrong = past(60, 0.3), past(60, 0.9)
    random, prior, best = shares(right.table, right.ladders, 0)
    assert random == 0.5
    assert prior > 0.25
    assert best is not None
    assert shares(wrong.table, wrong.ladders, 0)[1] < 0.02


def test_priorband_draws_from_all_three() -> None:
    """Some suggestions are everywhere, most near the prior; when the prior is wrong, near the best instead."""
    for best, near in ((0.3, 0.3), (0.9, 0.9)):
        history = past(60, best)
        found = np.array([PriorBandSearcher().suggest(t, history, generator(0, t))["x"] for t in range(60, 260)])
        assert (np.abs(found - near) < 0.15).mean() > 0.4
        assert (np.abs(found - near) > 0.35).mean() > 0.15
