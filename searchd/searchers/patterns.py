"""Which parameters live together: groups of columns that are active in the same trials.

With conditional parameters one multivariate estimator over all columns has no data. Columns that are active in
exactly the same trials form a group, and each group has an estimator of its own over the trials that have it
(Optuna's group decomposition).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from searchd.searchers.columns import Column
from searchd.searchers.table import Table

NONE = np.zeros(0, dtype=np.int64)


class Patterns:
    """The pattern of activity of each row of one table, looked at once a row."""

    def __init__(self, columns: tuple[Column, ...], conditional: bool) -> None:
        self._columns = columns
        self._at = np.array([c.at for c in columns], dtype=np.int64)
        self._conditional = conditional
        self._numbers: dict[bytes, int] = {}
        self._active: list[NDArray[np.bool_]] = []
        self._of = np.zeros(0, dtype=np.int64)
        self._known = 0
        self._groups: dict[tuple[int, ...], tuple[tuple[Column, ...], ...]] = {}

    def look(self, table: Table) -> None:
        """Takes in the rows that are new."""
        n = len(table)
        if n == self._known or not self._conditional:
            return
        if n > len(self._of):
            longer = np.zeros(max(64, 2 * n), dtype=np.int64)
            longer[: self._known] = self._of[: self._known]
            self._of = longer
        self._of[self._known : n] = self.of(table.units[self._known : n])
        self._known = n

    def of(self, units: NDArray[np.float64]) -> NDArray[np.int64]:
        """The patterns [n], by number, of points [n, width] of the unit cube."""
        found = np.zeros(len(units), dtype=np.int64)
        if self._conditional:
            for i, one in enumerate(~np.isnan(units[:, self._at])):
                key = one.tobytes()
                if key not in self._numbers:
                    self._numbers[key] = len(self._active)
                    self._active.append(one)
                found[i] = self._numbers[key]
        return found

    def most(self, rows: NDArray[np.int64]) -> int:
        """The most columns that are active in one of these rows."""
        if not self._conditional:
            return len(self._columns)
        return max((int(self._active[i].sum()) for i in self._seen(rows)), default=0)

    def groups(
        self, rows: NDArray[np.int64], more: NDArray[np.int64] = NONE
    ) -> tuple[tuple[Column, ...], ...]:
        """The groups of columns that these rows have, and `more` patterns, in the order of their first columns."""
        if not self._conditional:
            return (self._columns,) if self._columns and len(rows) + len(more) else ()
        seen = tuple(sorted({*self._seen(rows), *more.tolist()}))
        if seen not in self._groups:
            found: dict[tuple[bool, ...], list[Column]] = {}
            for i, column in enumerate(self._columns):
                where = tuple(bool(self._active[p][i]) for p in seen)
                if any(where):
                    found.setdefault(where, []).append(column)
            self._groups[seen] = tuple(tuple(group) for group in found.values())
        return self._groups[seen]

    def _seen(self, rows: NDArray[np.int64]) -> tuple[int, ...]:
        return tuple(np.flatnonzero(np.bincount(self._of[rows], minlength=1)).tolist())
