"""The same Parzen estimator over a large set that changes little from one suggestion to the next.

Its density at a few points costs about a millisecond at ten thousand observations, and its logarithm is that of
`Parzen` to 1e-7: what is kept between suggestions are sorted columns (so that a change moves three gaps) and the
kernels as columns of a matrix. One matrix product in single precision bounds every kernel at every point; only
those that could matter beside the largest are computed in full.

A crowd is a function of its rows, however they came in: what it keeps is nothing but a cache.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from math import log, log1p
from typing import Any

import numpy as np
from numpy.typing import NDArray

from searchd.searchers.parzen import HALF_LOG_2PI, Columns, constants, log_mass, product, weights_by_age

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]

LEAST = 128
"""From so many observations on a kernel's least width is the same, so that kernels may be kept."""
WIDTH = 0.01
"""That least width."""
NEGLIGIBLE = 17.0
"""What is left out adds less than exp(-16) = 1e-7 of the density; 1 of it for the rounding of single precision. Among
configs that lie close together, 24 (1e-10) took twice the kernels and chose no other candidate."""
MOST_FEATURES = 40
"""Rows of the matrix; columns beyond are bounded by their highest value."""
FINE = 25
"""A grid of so many even bins or more has bins of at most two least widths to either side."""
COARSE = 12
"""A grid of so few even bins has a row of the matrix for each, with the mass itself."""
LOWEST = -1e4
"""In place of the log of nothing, which a matrix product turns into NaN."""
BLOCK = 256
"""Slots a matrix product: a small one stays on one thread; threads that wait for each other cost more than it does."""
OUT = -1e30


class Crowd:
    """What is in is told by `become`; `columns` are D of the unit cube's."""

    def __init__(self, columns: Columns) -> None:
        self.columns = columns
        self._inside = np.zeros(0, dtype=bool)
        self._sorted: list[list[tuple[float, int]]] = [[] for _ in columns.numbers]
        self._slot: dict[int, int] = {}
        self._free: list[int] = []
        self._used = 0
        self._touched: set[int] = set()
        lines = [int(i) for i in columns.lines][: MOST_FEATURES // 2]
        few = [int(i) for i in columns.grids if columns.all[i].log is None and columns.all[i].count <= COARSE]
        coarse = few[: max(0, MOST_FEATURES - 2 * len(lines)) // (2 * COARSE)]
        grids = [int(i) for i in columns.grids if i not in coarse][: MOST_FEATURES // 2 - len(lines)]
        self._lines, self._grids = np.array(lines, dtype=np.int64), np.array(grids, dtype=np.int64)
        # the mass of a bin is at most exp(-d² / 2), d the distance to its nearer end: for any share s of z², the
        # distance to its middle, d² >= s z² - s / (1 - s) half²; small bins can afford a large share
        fine = [columns.all[i].log is None and columns.all[i].count >= FINE for i in grids]
        self._shares = np.array([1.0] * len(lines) + [0.8 if one else 0.5 for one in fine])
        self._coarse = coarse
        self._wide = sum(columns.all[i].count for i in coarse)
        room = MOST_FEATURES - 2 * (len(lines) + len(grids)) - self._wide
        self._kinds = [k for k in range(len(columns.kinds)) if columns.counts[: k + 1].sum() <= room]
        self._starts = np.concatenate([[0], np.cumsum(columns.counts[: len(self._kinds)])]).astype(np.int64)
        wide = 1 + 2 * (len(lines) + len(grids)) + int(self._starts[-1]) + self._wide
        d = len(columns.all)
        self._rows = np.full(LEAST, -1, dtype=np.int64)
        self._mu = np.full((LEAST, d), 0.5)
        self._gap = np.ones((LEAST, d))
        self._labels = np.zeros((LEAST, len(columns.kinds)))
        self._head = np.zeros(LEAST)
        self._matrix = np.zeros((wide, LEAST), dtype=np.float32)

    def _grow(self, capacity: int) -> None:
        self._rows = _longer(self._rows, capacity)
        self._mu = _longer(self._mu, capacity)
        self._gap = _longer(self._gap, capacity)
        self._labels = _longer(self._labels, capacity)
        self._head = _longer(self._head, capacity)
        self._matrix = np.ascontiguousarray(_longer(self._matrix.T, capacity).T)

    # ------------------------------------------------------------ who is in
    def become(self, rows: Rows, units: Floats) -> None:
        """The crowd is these rows [n], ascending, of `units` [N, width] from now on; units change in no row."""
        inside = np.zeros(len(units), dtype=bool)
        inside[rows] = True
        before = np.zeros(len(units), dtype=bool)
        before[: len(self._inside)] = self._inside
        changed = np.flatnonzero(inside != before)
        self._inside = inside
        if len(changed) > max(64, len(rows) // 8):
            self._rebuild(rows, units)
            return
        for row in changed.tolist():
            if not inside[row]:
                self._remove(row)
        for row in changed.tolist():
            if inside[row]:
                self._insert(row, units[row, self.columns.at])
        self._refresh(np.array(sorted(self._touched), dtype=np.int64))

    def _rebuild(self, rows: Rows, units: Floats) -> None:
        n = len(rows)
        self._used, self._free = 0, []
        self._grow(max(LEAST, 2 * n))
        self._used = n
        self._rows[:n] = rows
        self._mu[:n] = units[rows][:, self.columns.at]
        self._labels[:n] = self.columns.labels(self._mu[:n])
        self._slot = dict(zip(rows.tolist(), range(n), strict=True))
        for k, i in enumerate(self.columns.numbers):
            values = self._mu[:n, i]
            order = np.argsort(values, kind="stable")
            self._sorted[k] = list(zip(values[order].tolist(), rows[order].tolist(), strict=True))
            ends = np.diff(values[order], prepend=values[order[:1]], append=values[order[-1:]])
            self._gap[order, i] = np.maximum(ends[1:], ends[:-1])
        self._refresh(np.arange(n))

    def _insert(self, row: int, unit: Floats) -> None:
        if not self._free and self._used == len(self._rows):
            self._grow(2 * self._used)
        slot = self._free.pop() if self._free else self._used
        self._used = max(self._used, slot + 1)
        self._slot[row] = slot
        self._rows[slot] = row
        self._mu[slot] = unit
        self._labels[slot] = self.columns.labels(unit[None])[0]
        for k, i in enumerate(self.columns.numbers):
            entry = (float(unit[i]), row)
            place = bisect_left(self._sorted[k], entry)
            self._sorted[k].insert(place, entry)
            self._regap(k, range(place - 1, place + 2))
        self._touched.add(slot)

    def _remove(self, row: int) -> None:
        slot = self._slot.pop(row)
        for k, i in enumerate(self.columns.numbers):
            place = bisect_left(self._sorted[k], (float(self._mu[slot, i]), row))
            del self._sorted[k][place]
            self._regap(k, range(place - 1, place + 1))
        self._rows[slot] = -1
        self._mu[slot] = 0.5
        self._gap[slot] = 1.0
        self._touched.add(slot)
        self._free.append(slot)

    def _regap(self, k: int, places: Iterable[int]) -> None:
        """The gaps of these places in the order of a column follow their neighbours."""
        entries, column = self._sorted[k], self.columns.numbers[k]
        last = len(entries) - 1
        for place in places:
            if 0 <= place <= last:
                value, row = entries[place]
                left = value - entries[place - 1][0] if place > 0 else 0.0
                right = entries[place + 1][0] - value if place < last else 0.0
                slot = self._slot[row]
                self._gap[slot, column] = max(left, right)
                self._touched.add(slot)

    # ------------------------------------------------------------ what it says
    def log_density(self, x: Floats) -> Floats:
        """Log density [m] at points `x` [m, D]; as many observations as LEAST at least."""
        c, n = self.columns, len(self._slot)
        rows = np.flatnonzero(self._inside)
        weights = weights_by_age(n)
        total = log(weights.sum() + 1.0)
        bins, asked = c.bins(x), c.labels(x)
        middle, one = np.full((1, x.shape[1]), 0.5), np.ones((1, x.shape[1]))
        none = np.full((1, len(c.kinds)), -1.0)
        prior = constants(c, middle, one, n) + product(c, x, middle, one, bins, asked, none, n)
        bounds, slack = self._screen(x, bins, asked, n)
        best = np.argmax(bounds, axis=1)
        top = np.maximum(prior, self._kernels(x, bins, asked, np.arange(len(x)), best, n)[0])
        edge = top - log(n) - NEGLIGIBLE
        least = (edge - slack)[:, None].astype(np.float32)
        flat = np.flatnonzero(bounds > least)  # several times quicker than with two axes
        at, slot = np.divmod(flat, bounds.shape[1])
        order = np.argsort(at * len(self._inside) + self._rows[slot])  # the sum must not depend on who came when
        logs, at, slot = self._kernels(x, bins, asked, at[order], slot[order], n, edge)
        shares = weights[np.searchsorted(rows, self._rows[slot])] * np.exp(logs - top[at])
        found = np.exp(prior - top) + np.bincount(at, weights=shares, minlength=len(x))
        result: Floats = np.log(found) + top - total
        return result

    def _kernels(
        self, x: Floats, bins: tuple[Floats, Floats], asked: Floats, at: Rows, slot: Rows, n: int,
        edge: Floats | None = None,
    ) -> tuple[Floats, Rows, Rows]:  # fmt: skip
        """Log kernels [p] of pairs of a point and a slot, without weights, and these pairs. With `edge` [m] those pairs
        are left out that an upper bound nearer than `_screen`'s puts below it: bins by the distance to their ends.
        """
        c = self.columns
        mu, sigma = self._mu[slot], np.clip(self._gap[slot], WIDTH, 1.0)
        z = (x[at][:, c.lines] - mu[:, c.lines]) / sigma[:, c.lines]
        logs = self._head[slot] - 0.5 * np.einsum("ij,ij->i", z, z)
        match, other = log1p(1.0 / (n + 1)), log(1.0 / (n + 1))
        logs += match * len(c.kinds) + (other - match) * (asked[at] != self._labels[slot]) @ np.ones(len(c.kinds))
        if not len(c.grids):
            return logs - np.log1p(c.counts / (n + 1)).sum(), at, slot
        m, s = mu[:, c.grids], sigma[:, c.grids]
        low, high = bins[0][at] - m, bins[1][at] - m
        if edge is not None:
            d = np.maximum(np.maximum(low, -high), 0.0) / s
            able = np.flatnonzero(logs - 0.5 * np.einsum("ij,ij->i", d, d) > edge[at])
            logs, low, high, s, at, slot = logs[able], low[able], high[able], s[able], at[able], slot[able]
        logs += log_mass(low / s, high / s).sum(axis=1)
        return logs - np.log1p(c.counts / (n + 1)).sum(), at, slot

    def _screen(
        self, x: Floats, bins: tuple[Floats, Floats], asked: Floats, n: int
    ) -> tuple[NDArray[np.float32], Floats]:  # fmt: skip
        """Upper bounds on the log kernels [m, slots] in use at points [m, D], without weights: to each of them comes
        what is the same for all kernels at a point, [m]."""
        c, m = self.columns, len(x)
        points = x[:, np.concatenate([self._lines, self._grids])]
        match, other = np.log1p(1.0 / (n + 1)), log(1.0 / (n + 1))
        shown = np.zeros((m, int(self._starts[-1])))
        for k in self._kinds:
            shown[np.arange(m), self._starts[k] + asked[:, k].astype(np.int64)] = match - other
        steps = [c.all[i].index(x[:, i])[:, None] == np.arange(c.all[i].count) for i in self._coarse]
        features = np.hstack([np.ones((m, 1)), points**2, points, shown, *steps]).astype(np.float32)
        left = len(c.kinds) - len(self._kinds)
        constant = len(self._kinds) * other + left * match - np.log1p(c.counts / (n + 1)).sum()
        low, high = bins
        half = 0.5 * (high - low)[:, np.searchsorted(c.grids, self._grids)] / WIDTH
        loss = self._shares[len(self._lines) :]
        slack = constant + 0.5 * (half**2 * loss / (1.0 - loss)).sum(axis=1)
        bounds = np.empty((m, self._used), dtype=np.float32)
        for first in range(0, self._used, BLOCK):
            block = slice(first, min(first + BLOCK, self._used))
            np.matmul(features, self._matrix[:, block], out=bounds[:, block])
        return bounds, slack

    def _refresh(self, slots: NDArray[np.int64]) -> None:
        """The matrix follows the kernels of these slots."""
        from scipy.special import ndtr

        self._touched.clear()
        if not len(slots):
            return
        c = self.columns
        mu, sigma = self._mu[slots], np.clip(self._gap[slots], WIDTH, 1.0)
        m, s = mu[:, c.numbers], sigma[:, c.numbers]
        head = -np.log(ndtr((1.0 - m) / s) - ndtr(-m / s)).sum(axis=1)
        head -= (np.log(sigma[:, c.lines]) + HALF_LOG_2PI).sum(axis=1)
        self._head[slots] = head
        used = np.concatenate([self._lines, self._grids])
        square = 0.5 * self._shares / sigma[:, used] ** 2
        head = head - (square * mu[:, used] ** 2).sum(axis=1)
        d = len(used)
        columns = np.empty((len(slots), len(self._matrix)))
        columns[:, 0] = np.where(self._rows[slots] < 0, OUT, head)
        columns[:, 1 : 1 + d] = -square
        columns[:, 1 + d : 1 + 2 * d] = 2.0 * square * mu[:, used]
        labels = np.zeros((len(slots), int(self._starts[-1])))
        for k in self._kinds:
            labels[np.arange(len(slots)), self._starts[k] + self._labels[slots, k].astype(np.int64)] = 1.0
        columns[:, 1 + 2 * d : 1 + 2 * d + labels.shape[1]] = labels
        place = 1 + 2 * d + labels.shape[1]
        for i in self._coarse:
            n = c.all[i].count
            ends = (np.arange(n + 1) / n - mu[:, [i]]) / sigma[:, [i]]
            columns[:, place : place + n] = np.maximum(log_mass(ends[:, :-1], ends[:, 1:]), LOWEST)
            place += n
        self._matrix[:, slots] = columns.T


def _longer(array: NDArray[Any], capacity: int) -> NDArray[Any]:
    longer = np.zeros((capacity, *array.shape[1:]), dtype=array.dtype)
    n = min(capacity, len(array))
    longer[:n] = array[:n]
    return longer
