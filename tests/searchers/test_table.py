"""The table of a history made by hand."""

from __future__ import annotations

from math import inf, nan

import numpy as np
import pytest

from searchd.schedulers.events import Losses
from searchd.searchers.base import History, Record
from searchd.searchers.table import FAILED, PAUSED, Table
from spaces.config import Config
from spaces.space import Space

SPACE = Space.parse({"x": {"float": [0, 1]}, "kind": {"choice": {"a": {"y": {"float": [0, 2]}}, "b": {}}}})
DEEP = SPACE.complete({"x": 0.5, "kind": "a", "kind.a.y": 1.5})
FLAT = SPACE.complete({"x": 0.25, "kind": "b"})


def rows(*records: Record, objectives: int = 1) -> Table:
    return History(SPACE, records, objectives, ((1, 3, 9),)).table


def test_columns() -> None:
    """A row holds the config in the unit cube and, for each rung, the best point by violation and then value."""
    points = (Losses((0.1,), 2.0), Losses((0.4,)), Losses((0.3,)))
    table = rows(Record(0, DEEP, "paused", 3, 3, losses={1: points, 3: (Losses((nan,)),)}), Record(1, FLAT, "running"))
    np.testing.assert_array_equal(table.units, [[0.5, 0.25, 0.75], [0.25, 0.75, nan]])
    np.testing.assert_array_equal(table.loss, [[0.3, inf, nan], [nan, nan, nan]])
    np.testing.assert_array_equal(table.violation, [[0.0, inf, nan], [nan, nan, nan]])
    np.testing.assert_array_equal(table.entered, [[True, True, False], [False, False, False]])
    assert table.depth.tolist() == [1, -1]
    assert table.state[0] == PAUSED
    assert (table.column(3), table.steps, table.row(1)) == (1, (1, 3, 9), 1)
    with pytest.raises(KeyError, match="2 is no rung step: there are 1, 3, 9"):
        table.column(2)


def test_failed_on_the_way() -> None:
    """A trial that failed on its way to a rung is +inf there; one that had reported there keeps its loss."""
    on_the_way = Record(0, DEEP, "failed", 1, 3, losses={1: (Losses((0.5,)),)}, heard={1: 0, 3: 2})
    reported = Record(1, FLAT, "failed", 0, 1, losses={1: (Losses((0.2,)),)}, heard={1: 1})
    table = rows(on_the_way, reported)
    np.testing.assert_array_equal(table.loss, [[0.5, inf, nan], [0.2, nan, nan]])
    np.testing.assert_array_equal(table.heard, [[0, 2, -1], [1, -1, -1]])
    assert table.depth.tolist() == [0, 0]
    assert (table.tally, table.state.tolist()) == (3, [FAILED, FAILED])


def test_several_objectives() -> None:
    """With several objectives the least violation is in a column, and best points are asked for."""
    one = Record(0, DEEP, "paused", 1, 1, losses={1: (Losses((1.0, 2.0), 0.5), Losses((3.0, 0.0), 0.25))})
    table = rows(one, Record(1, FLAT, "failed", 0, 1), objectives=2)
    np.testing.assert_array_equal(table.violation[:, 0], [0.25, inf])
    assert np.isnan(table.loss[0, 0])
    assert table.best_points(1) == {0: Losses((3.0, 0.0), 0.25), 1: None}
    assert table.best_points(9) == {}


def test_steps_that_are_in_no_ladder() -> None:
    """What was reported beside the ladders has a column too, and rows grow beyond the first size."""
    records = [Record(i, Config({"x": 0.5}), "paused", 2, 2, losses={2: (Losses((float(i),)),)}) for i in range(200)]
    table = rows(*records)
    assert table.steps == (1, 2, 3, 9)
    assert table.loss[199, 1] == 199.0
    assert table.depth.tolist() == [1] * 200


def test_columns_are_read_only() -> None:
    """A searcher cannot change what the next one sees."""
    table = rows(Record(0, DEEP, "running", 0, 1))
    for name in ("units", "loss", "heard", "state"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(table, name)[0] = 0
