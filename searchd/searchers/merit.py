"""Who did well so far: the order of a rung, the deepest rung that knows enough, and one merit over all rungs.

What several searchers need of a history, as row numbers of `history.table` (row i is `history.records[i]`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from searchd.schedulers.order import ranking, standing
from searchd.searchers.base import History
from searchd.searchers.table import Table

Rows = NDArray[np.intp]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Rung:
    """One rung step, and the rows of the trials in it [m], in the order in which they entered."""

    step: int
    column: int
    rows: Rows


def searched(table: Table) -> int:
    """The largest number of unit-cube columns that a config of the history has active, d."""
    return int((~np.isnan(table.units)).sum(axis=1).max()) if len(table) else 0


def entries(table: Table, column: int) -> Rows:
    """The rows that entered a rung, in the order in which they did (by row where the records have no tallies)."""
    rows = np.flatnonzero(table.entered[:, column])
    return rows[np.argsort(table.heard[rows, column], kind="stable")]


def finite(table: Table, column: int) -> NDArray[np.bool_]:
    """Which rows [n] brought a point at a rung that can be compared: neither diverged nor failed."""
    return np.isfinite(table.violation[:, column])


def deepest(history: History, startup: int) -> Rung | None:
    """The deepest rung with at least max(startup, d + 1) trials, one of them finite; None when there is none.

    The rule of BOHB (Falkner, Klein, Hutter, 2018, ICML).
    """
    table = history.table
    enough = max(startup, searched(table) + 1)
    for column in reversed(range(len(table.steps))):
        if int(table.entered[:, column].sum()) >= enough and finite(table, column).any():
            return Rung(table.steps[column], column, entries(table, column))
    return None


def ordered(history: History, column: int, rows: Rows) -> Rows:
    """These rows [m], ascending, as the scheduler ranks them, the best first; diverged and failed ones last."""
    table = history.table
    if history.objectives == 1:
        loss, violation = table.loss[rows, column], table.violation[rows, column]
        if violation.max(initial=0.0) == violation.min(initial=0.0):
            return rows[np.argsort(loss, kind="stable")]
        return rows[np.lexsort((loss, violation))]
    there = history.at(table.steps[column])
    place = {history.records[row].trial: row for row in rows}
    standings = {trial: standing(there[trial]) for trial in place}
    return np.array([place[trial] for trial in ranking(standings)], dtype=np.intp)


def merits(history: History) -> Floats:
    """One number in [0, 1] for each trial [n], 1 the best, NaN for one that entered no rung yet.

    A trial's share of its deepest rung that is no better than it, as a quantile of the whole search: who went on
    from rung to rung is above who did not (so the last of rung k counts as the last of those that survived).
    """
    table = history.table
    bad = np.full(len(table), np.nan)
    survived = 1.0
    before: NDArray[np.bool_] | None = None
    for column in range(len(table.steps)):
        inside = table.entered[:, column]
        if not inside.any():
            continue
        if before is not None:
            survived *= float((before & inside).sum() / before.sum()) or 1.0
        before = inside
        rows = ordered(history, column, np.flatnonzero(inside))
        rank = np.empty(len(rows))
        rank[:] = np.arange(len(rows)) / (len(rows) - 1) if len(rows) > 1 else 0.5
        rank[~finite(table, column)[rows]] = 1.0
        fell = np.isinf(table.violation[rows, column])
        bad[rows] = np.where(fell, 1.0, survived * rank)
    return 1.0 - bad
