"""What a model over config × resource learns from: losses at rungs as rows, in the order in which they were heard.

One target a (trial, rung). Diverged and failed trials count as the worst of their rung, configs that break a bound as
worse than the worst feasible one; the tail of bad losses is clipped, so that it does not hide the good ones. Several
objectives become one by augmented Chebyshev weights over normalised values (Knowles, 2006, IEEE TEC, ParEGO).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from searchd.schedulers.order import finite
from searchd.searchers.base import History
from searchd.searchers.table import Table

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

TAIL = 3.0
"""Losses beyond median + TAIL · (median − 10 % quantile) of their rung count as that."""
RHO = 0.05
"""Weight of the sum beside the largest weighted objective."""


@dataclass(frozen=True, slots=True)
class Observations:
    """`row`, `rung` [n]: whose, and at which column of the table; in the order of hearing."""

    row: Ints
    rung: Ints

    @classmethod
    def of(cls, table: Table) -> Observations:
        """Everything that entered a rung."""
        row, rung = np.nonzero(table.entered)
        order = np.lexsort((rung, row, table.heard[row, rung]))
        return cls(row[order], rung[order])

    def __len__(self) -> int:
        return len(self.row)

    def first(self, n: int) -> Observations:
        """The n that were heard first."""
        return Observations(self.row[:n], self.rung[:n])

    def capped(self, most: int) -> Observations:
        """At most so many: of the trials that came furthest first, and the latest of those that came as far."""
        n = len(self)
        if n <= most:
            return self
        depth = np.full(int(self.row.max()) + 1, -1)
        np.maximum.at(depth, self.row, self.rung)
        kept = np.sort(np.lexsort((-np.arange(n), -depth[self.row]))[:most])
        return Observations(self.row[kept], self.rung[kept])


def targets(history: History, seen: Observations, weights: Floats, *, by_rung: bool) -> Floats:
    """Standardised targets [n], lower is better; together, or a rung. `weights` [m]: of the objectives."""
    table = history.table
    violation = table.violation[seen.row, seen.rung]
    values = table.loss[seen.row, seen.rung] if history.objectives == 1 else _scalars(history, seen, weights)
    out = np.empty(len(seen))
    for rung in np.unique(seen.rung):
        at = seen.rung == rung
        out[at] = _filled(values[at], violation[at])
        if by_rung:
            out[at] = _standard(out[at])
    return out if by_rung else _standard(out)


def _filled(values: Floats, violation: Floats) -> Floats:
    """The targets of one rung, all finite."""
    sound = np.isfinite(violation) & np.isfinite(values)
    if not sound.any():
        return np.zeros(len(values))
    feasible = sound & (violation <= 0)
    base = values[feasible if feasible.any() else sound]
    middle, low = float(np.median(base)), float(np.quantile(base, 0.1))
    worst = float(base.max())
    if middle > low:
        worst = min(worst, middle + TAIL * (middle - low))
    span = (worst - float(base.min())) or 1.0
    out: Floats = np.where(sound, np.minimum(values, worst), worst)
    broken = sound & (violation > 0)
    if feasible.any():
        out[broken] = worst + span * (0.1 + np.minimum(violation[broken], 1.0))
    else:
        out[broken] = middle + span * np.minimum(violation[broken], 10.0)
    out[~sound] = out.max()
    return out


def _standard(y: Floats) -> Floats:
    spread = float(y.std())
    return np.asarray((y - y.mean()) / (spread if spread > 0 else 1.0))


def _scalars(history: History, seen: Observations, weights: Floats) -> Floats:
    """Of each row the least max_i w_i f_i + RHO · sum_i w_i f_i over its points of least violation, objectives
    normalised over all of them; inf: no point. What was heard later changes nothing."""
    steps = history.table.steps
    owners: list[int] = []
    points: list[tuple[float, ...]] = []
    for i, (row, rung) in enumerate(zip(seen.row.tolist(), seen.rung.tolist(), strict=True)):
        able = [p for p in history.records[row].losses.get(steps[rung], ()) if finite(p)]
        least = min((p.violation for p in able), default=0.0)
        for point in able:
            if point.violation <= max(least, 0.0):
                owners.append(i)
                points.append(point.values)
    out = np.full(len(seen), np.inf)
    if points:
        values = np.array(points)
        low, high = values.min(axis=0), values.max(axis=0)
        scaled = weights * (values - low) / np.where(high > low, high - low, 1.0)
        np.minimum.at(out, owners, scaled.max(axis=1) + RHO * scaled.sum(axis=1))
    return out
