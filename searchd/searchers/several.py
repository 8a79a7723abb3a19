"""Several objectives as columns, one loss a trial and rung each: what a model of each objective is fitted to.

A trial with several operating points is represented by one: in each batch by the one that gets farthest in a direction
that changes from batch to batch, so that over the search every part of its own front counts.
"""

from __future__ import annotations

from itertools import islice

import numpy as np
from numpy.typing import NDArray

from searchd.schedulers.order import DIVERGED, standing
from searchd.searchers.batches import Known
from searchd.searchers.table import Table

Floats = NDArray[np.float64]


class Several:
    """Reads a table as it grows; entries that were read stand."""

    def __init__(self) -> None:
        self._table: Table | None = None
        self._steps: tuple[int, ...] = ()
        self._read: list[int] = []
        self._values = np.zeros((0, 0, 0))
        self._choices: dict[tuple[int, int], Floats] = {}

    def losses(self, known: Known, turn: int) -> Floats:
        """Losses [n, K, m] of what is known: NaN where nothing is, +inf where it diverged or failed.

        `turn`: the number of the batch's first trial; it gives the direction for trials with several points.
        """
        self._update(known.table)
        values = self._values[: known.n].copy()
        values[~known.entered] = np.nan
        several = [(row, k) for row, k in self._choices if row < known.n and known.entered[row, k]]
        if several:
            everything = np.vstack([self._choices[at] for at in several])
            low, span = everything.min(axis=0), np.ptp(everything, axis=0)
            weights = _weights(turn, values.shape[2]) / np.where(span > 0, span, 1.0)
            for row, k in several:
                points = self._choices[row, k]
                values[row, k] = points[int(((points - low) * weights).max(axis=1).argmin())]
        return values

    def _update(self, table: Table) -> None:
        if table is not self._table or table.steps != self._steps:
            self._table, self._steps, self._read = table, table.steps, [0] * len(table.steps)
            self._values, self._choices = np.full((64, len(table.steps), table.objectives), np.nan), {}
        while len(table) > len(self._values):
            self._values = np.concatenate([self._values, np.full_like(self._values, np.nan)])
        for k, step in enumerate(table.steps):
            entries = table.points(step)
            for trial, points in islice(entries.items(), self._read[k], None):
                row = table.row(trial)
                kind, _, best = standing(points)
                self._values[row, k] = best[0] if kind < DIVERGED else np.inf
                if len(best) > 1:
                    self._choices[row, k] = np.array(best)
            self._read[k] = len(entries)


def _weights(turn: int, m: int) -> Floats:
    """Positive weights that sum to 1, evenly spread over turns (Kronecker's sequence, generalised golden ratio)."""
    root = 2.0
    for _ in range(30):
        root = (1 + root) ** (1 / m)
    draws = -np.log(1e-3 + 0.999 * ((0.5 + turn * root ** -np.arange(1.0, m + 1)) % 1.0))
    return np.asarray((draws + 1e-3) / (draws + 1e-3).sum())
