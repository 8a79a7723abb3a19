"""What densities learn from: which trials entered a rung, which of them are good, and which are busy.

`Past.now` is the whole table, for a suggestion of its own; `Past.then` is what the first trial of a batch could know,
for suggestions that are made together (see `batches`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from searchd.searchers.batches import Known
from searchd.searchers.split import good, good_of_several, how_many, values_of
from searchd.searchers.table import RUNNING, Table

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Past:
    """The first n rows of `table`: `loss`, `violation` [n, K], NaN where nothing is known; `busy` [n]: what runs."""

    table: Table
    loss: Floats
    violation: Floats
    busy: Bools

    @classmethod
    def now(cls, table: Table) -> Past:
        """Everything; busy is what runs or waits to."""
        return cls(table, table.loss, table.violation, table.state <= RUNNING)

    @classmethod
    def then(cls, known: Known) -> Past:
        """What was known; busy is what had told nothing (who ran at a higher rung is not on record)."""
        busy = np.zeros(known.n, dtype=bool)
        busy[known.pending] = True
        return cls(known.table, known.column(known.table.loss), known.column(known.table.violation), busy)

    def entered(self, k: int) -> Rows:
        """The rows that entered rung `steps[k]`, oldest first."""
        return np.flatnonzero(~np.isnan(self.violation[:, k]))

    def finite(self, k: int, rows: Rows) -> bool:
        """Whether somebody of these rows has a finite loss there."""
        return bool(np.isfinite(self.violation[rows, k]).any())

    def sides(self, k: int) -> tuple[Rows, Rows, Rows]:
        """The rows that entered rung `steps[k]`, the good ones of them, and the bad ones with those that are busy."""
        rows = self.entered(k)
        violation = self.violation[rows, k]
        many = how_many(len(rows), self.table.objectives)
        if self.table.objectives == 1:
            is_good = good(self.loss[rows, k], violation, many)
        else:
            is_good = good_of_several(values_of(self.table, rows, k), violation, many)
        bad = self.busy.copy()
        bad[rows] = ~is_good
        return rows, rows[is_good], np.flatnonzero(bad)
