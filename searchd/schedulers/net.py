"""The ε-net order of points, as far as anybody reads it, and what is left of it when points come and go.

The least point in the first objective, then always the one farthest from those chosen: `orders.epsilon_net`, digit for
digit. A point that comes changes nothing before the step at which it would be chosen itself, and one that goes nothing
before the step at which it was; so a rung that grows keeps most of the order that it has.

Source: Schmucker, Donini, Zafar, Salinas, Archambeau (2021), multi-objective ASHA, ε-net strategy.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float64]
Numbers = NDArray[np.intp]


class Net:
    """`rows` [n, m]: the points. Iterating gives their numbers, the best first."""

    __slots__ = ("_columns", "_far", "_gap", "_order")

    def __init__(self, rows: Rows) -> None:
        self._columns: list[Rows] = [np.ascontiguousarray(column) for column in rows.T]
        self._order: list[int] = []
        self._far: list[float] = []  # how far each was from those before it when it was chosen, squared
        self._gap: Rows | None = None  # how far each point is from those chosen [n], -1 for these; None: not known

    def __iter__(self) -> Iterator[int]:
        at = 0
        n = len(self._columns[0])
        while at < n:
            if at == len(self._order):
                self._choose()
            yield self._order[at]
            at += 1

    def follow(self, old: Net, places: Numbers, new: Numbers) -> None:
        """Take over what holds of the order of `old`. `places`: the number here of each of its points, -1 for those
        that are gone; `new`: the numbers of points that it had not."""
        order = places[old._order]
        gone = np.flatnonzero(order < 0)
        keep = int(gone[0]) if len(gone) else len(order)
        order, far = order[:keep], np.array(old._far[:keep])
        whole = keep == len(old._order) and old._gap is not None
        if keep and len(new):
            gaps = np.minimum.accumulate(self._between(new, order), axis=1)  # [new, keep]
            sooner = gaps[:, :-1] > far[1:]
            sooner |= (gaps[:, :-1] == far[1:]) & (new[:, None] < order[1:])
            steps = np.flatnonzero(sooner.any(axis=0))
            first = int(self._least(np.append(new, order[0])))
            keep = 0 if first != order[0] else int(steps[0]) + 1 if len(steps) else keep
            whole = whole and keep == len(order)
        self._order, self._far = order[:keep].tolist(), far[:keep].tolist()
        if whole and old._gap is not None:
            self._gap = np.empty(len(self._columns[0]))
            stay = places >= 0
            self._gap[places[stay]] = old._gap[stay]
            if len(new):
                self._gap[new] = gaps[:, -1]

    def _choose(self) -> None:
        """The next one."""
        n = len(self._columns[0])
        if not self._order:
            chosen, far = int(self._least(np.arange(n))), np.inf
            gap = np.full(n, np.inf)
        else:
            gap = self._gaps() if self._gap is None else self._gap
            chosen = int(gap.argmax())
            far = float(gap[chosen])
        self._order.append(chosen)
        self._far.append(far)
        np.minimum(gap, self._away(chosen), out=gap)
        gap[chosen] = -1.0
        self._gap = gap

    def _gaps(self) -> Rows:
        """How far each point is from those chosen."""
        order = np.array(self._order)
        gap: Rows = self._between(np.arange(len(self._columns[0])), order).min(axis=1)
        gap[order] = -1.0
        return gap

    def _away(self, one: int) -> Rows:
        """Squared distances [n] of all from one."""
        found: Rows = np.square(self._columns[0] - self._columns[0][one])
        for column in self._columns[1:]:
            found += np.square(column - column[one])
        return found

    def _between(self, a: Numbers, b: Numbers) -> Rows:
        """Squared distances [a, b]."""
        found: Rows = np.square(self._columns[0][a][:, None] - self._columns[0][b])
        for column in self._columns[1:]:
            found += np.square(column[a][:, None] - column[b])
        return found

    def _least(self, among: Numbers) -> np.intp:
        """Which of these is the least in the first objective, then in the second, …; of equal ones the lowest."""
        columns = [among, *(column[among] for column in reversed(self._columns))]
        found: np.intp = among[np.lexsort(columns)[0]]
        return found
