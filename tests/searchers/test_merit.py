"""Merit: the order of a rung, the deepest rung that knows enough, one quantile over all rungs."""

from __future__ import annotations

from math import inf, nan

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from searchd.schedulers.events import Losses
from searchd.searchers.base import History, Record
from searchd.searchers.merit import deepest, entries, finite, merits, ordered
from spaces.space import Space

LINE = Space.parse({"x": {"float": [0, 1]}})


def history(curves: list[dict[int, float]], heard: list[dict[int, int]] | None = None, objectives: int = 1) -> History:
    records = tuple(
        Record(i, LINE.complete({"x": 0.5}), "paused", max(c, default=0), max(c, default=1),
               losses={s: (Losses((v,) * objectives),) for s, v in c.items()}, heard={} if heard is None else heard[i])
        for i, c in enumerate(curves)
    )  # fmt: skip
    return History(LINE, records, objectives, ((1, 3, 9),))


def test_survivors_come_before_the_others() -> None:
    """Nine trials at rung 1, three of them at rung 3: the last survivor is where the last of three ninths is."""
    curves = [{1: float(i)} for i in range(9)]
    for i in range(3):
        curves[i][3] = float(-i)
    found = merits(history(curves))
    assert found[2] == 1.0, "the best at rung 3"
    assert found[:3].tolist() == [1 - 1 / 3, 1 - 1 / 6, 1.0]
    assert found[3:].tolist() == (1 - np.arange(3, 9) / 8).tolist()


def test_unknown_diverged_and_failed() -> None:
    """Without a report there is no merit; who diverged or failed has none left."""
    past = history([{1: 0.5}, {1: nan}, {1: 0.1}, {}])
    failed = Record(4, LINE.complete({"x": 0.5}), "failed", 0, 1)
    found = merits(History(LINE, (*past.records, failed), 1, past.ladders))
    assert np.isnan(found[3])
    assert found[[1, 4]].tolist() == [0.0, 0.0]
    assert found[2] == 1.0
    assert finite(past.table, 0).tolist() == [True, False, True, False]


def test_the_deepest_rung_that_knows_enough() -> None:
    """`startup` trials, or one more than there are parameters, one of them finite, make a rung count."""
    curves = [{1: 0.1, 3: 0.2} if i < 4 else {1: 0.1} for i in range(8)]
    steps = [None if (rung := deepest(history(curves), n)) is None else rung.step for n in (1, 4, 5, 8, 9)]
    assert steps == [3, 3, 1, 1, None]
    assert deepest(history([{1: nan}] * 8), 4) is None


def test_entries_are_in_the_order_of_hearing() -> None:
    """A rung's rows come in the order in which they entered it, not in that of the trials."""
    past = history([{1: 0.1}, {1: 0.2}, {1: 0.3}], heard=[{1: 5}, {1: 0}, {1: 3}])
    assert entries(past.table, 0).tolist() == [1, 2, 0]


@given(st.lists(st.one_of(st.floats(-9, 9), st.just(inf), st.just(nan)), min_size=1, max_size=20))
def test_one_or_several_objectives_order_alike(values: list[float]) -> None:
    """Objectives that are copies of one another order the trials of a rung as the one does."""
    curves = [{1: v} for v in values]
    rows = np.arange(len(values))
    one, two = (ordered(history(curves, objectives=k), 0, rows).tolist() for k in (1, 2))
    assert one == two
    found = merits(history(curves))
    assert ((found >= 0) & (found <= 1)).all()
