"""The order of a rung that is kept while trials enter is the order that is computed at once."""

from __future__ import annotations

from math import nan
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from searchd.schedulers.events import Losses
from searchd.schedulers.order import ranking
from searchd.schedulers.orders import ORDERS, Order, Single
from searchd.schedulers.standings import Standings


def drawn(rng: Random, m: int, grid: int) -> tuple[Losses, ...]:
    """One to four points, often equal to others; some diverged, some violating (a few of them alike), some huge."""
    what = rng.random()
    if what < 0.08:
        return (Losses((nan,) * m),)
    violation = rng.choice([0.0, 0.0, 0.0, 0.5, rng.random()])
    scale = 1e300 if what > 0.97 else 1.0
    points = [tuple(scale * rng.randint(0, grid) / grid for _ in range(m)) for _ in range(rng.randint(1, 4))]
    return tuple(Losses(point, violation) for point in points)


@pytest.mark.parametrize("order", [*ORDERS, Single(1)], ids=str)
@given(seed=st.integers(0, 10**9), m=st.integers(2, 3), grid=st.sampled_from([2, 5, 1000]), count=st.integers(1, 40))
@settings(deadline=None, max_examples=25)
def test_kept_is_computed(order: Order, seed: int, m: int, grid: int, count: int) -> None:
    """After every entry, offer, promotion and failure: ranks, also within any quota, and the best candidate within it,
    are those of the ranking computed from nothing."""
    rng = Random(seed)
    rung = Standings(1, order)
    trials = rng.sample(range(100), count)
    for trial in trials:
        rung.enter(trial, drawn(rng, m, grid))
        inside = rung.trials()
        for _ in range(rng.randint(0, 2)):
            rung.offer(rng.choice(inside))
        if rng.random() < 0.15:
            rung.sink(rng.choice(inside))
        if rng.random() < 0.2 and (head := rung.best()) is not None:
            rung.take(head[0])
        ranked = list(ranking(rung._entries, order))
        open_ = [(rank, t) for rank, t in enumerate(ranked) if t in rung._offered]
        quota = rng.randint(0, len(ranked))
        other = rng.choice(ranked)
        assert rung.among(other, quota) == (ranked.index(other) if ranked.index(other) < quota else None)
        first = open_[0] if open_ else None
        if rung._several:
            assert rung.best() == (None if first is None else first[::-1])
            assert rung.best(quota) == (first[::-1] if first is not None and first[0] < quota else None)
            asked = rng.sample(ranked, min(3, len(ranked)))
            assert [rung.rank(t) for t in asked] == [ranked.index(t) for t in asked]
    if rung._several:
        assert sorted(inside, key=rung.rank) == list(ranking(rung._entries, order))
