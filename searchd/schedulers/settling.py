"""Whether the order of some trials has settled between two rungs, one objective: PASHA's question, kept up to date.

Those who stand on the upper rung are kept in the order of either rung, their curves as rows, and the gaps that the
noise is a percentile of in two heaps: a trial that enters costs one look at each other trial, in NumPy.

Source: Bohdal, Balles, Wistuba, Ermis, Archambeau, Zappella (2023), ICLR, PASHA, section 4.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from heapq import heappush, heappushpop

import numpy as np
from numpy.typing import NDArray

from searchd.schedulers.events import TrialId
from searchd.schedulers.order import DIVERGED, Standing, key_of
from searchd.schedulers.ranked import Key

SHARE = 0.9
"""The noise is this percentile of the gaps."""

Floats = NDArray[np.float64]


class Settling:
    """`soft`: swaps within the noise of the curves do not count."""

    __slots__ = ("_above", "_above_rows", "_below", "_below_rows", "_curves", "_gaps", "_lows", "_soft")

    def __init__(self, soft: bool) -> None:
        self._soft = soft
        self._above: list[Key] = []  # of the upper rung, sorted
        self._below: list[Key] = []  # of the lower rung, sorted
        self._above_rows, self._below_rows = Rows(4), Rows(4)  # the lower rung's keys in either order
        self._lows: dict[TrialId, Key] = {}
        self._curves: Rows | None = None
        self._gaps = Percentile()

    def enter(self, trial: TrialId, known: Sequence[Standing]) -> None:
        """A trial came to the upper rung and did not diverge there; `known`: how it stands at each rung up to it."""
        low, high = key_of(trial, known[-2]), key_of(trial, known[-1])
        self._lows[trial] = low
        for keys, rows, key in ((self._above, self._above_rows, high), (self._below, self._below_rows, low)):
            place = bisect_left(keys, key)
            keys.insert(place, key)
            rows.insert(place, low)
        if self._soft and len(known) > 2 and all(s[0] < DIVERGED for s in known):  # two rungs: none overtakes twice
            self._note(np.array([s[2][0][0] for s in known]))

    def leave(self, trial: TrialId, known: Sequence[Standing]) -> None:
        """The trial failed or was stopped: its place says nothing, its curve still does."""
        if trial in self._lows:
            low, high = self._lows.pop(trial), key_of(trial, known[-1])
            for keys, rows, key in ((self._above, self._above_rows, high), (self._below, self._below_rows, low)):
                place = bisect_left(keys, key)
                del keys[place]
                rows.remove(place)

    def settled(self) -> bool:
        """Whether the order is the same on both rungs, up to the noise."""
        one, other = self._above_rows.all(), self._below_rows.all()
        swapped = one[:, 3] != other[:, 3]
        if not swapped.any():
            return True
        if not self._soft:
            return False
        same_class = (one[:, :2] == other[:, :2]).all(axis=1)
        with np.errstate(over="ignore"):
            near = np.abs(one[:, 2] - other[:, 2]) <= self._gaps.value()
        return bool((same_class & near)[swapped].all())

    def _note(self, mine: Floats) -> None:
        """The gaps to those who stood there before and overtook this curve [k], or were, at least twice."""
        if self._curves is None:
            self._curves = Rows(len(mine))
        rows = self._curves.all()
        self._gaps.add(np.abs(mine[-1] - rows[_overtakes(mine - rows) >= 2, -1]).tolist())
        self._curves.insert(len(rows), mine)


class Rows:
    """A list of rows of `width` numbers as one array."""

    __slots__ = ("_array", "_n")

    def __init__(self, width: int) -> None:
        self._array: Floats = np.zeros((64, width))
        self._n = 0

    def all(self) -> Floats:
        """The rows [n, width], a view."""
        return self._array[: self._n]

    def insert(self, place: int, row: Floats | Key) -> None:
        """One more, before the row at that place."""
        if self._n == len(self._array):
            self._array = np.vstack([self._array, np.zeros_like(self._array)])
        self._array[place + 1 : self._n + 1] = self._array[place : self._n]
        self._array[place] = row
        self._n += 1

    def remove(self, place: int) -> None:
        """Without the row at that place."""
        self._array[place : self._n - 1] = self._array[place + 1 : self._n]
        self._n -= 1


class Percentile:
    """The percentile SHARE of numbers that only come, as `np.percentile` has it (linear between two), 0 of none."""

    __slots__ = ("_high", "_low", "_n")

    def __init__(self) -> None:
        self._low: list[float] = []  # a heap of the lower ones, turned: its first is the greatest
        self._high: list[float] = []  # a heap of those above
        self._n = 0

    def add(self, values: Iterable[float]) -> None:
        """More of them."""
        for value in values:
            self._n += 1
            if len(self._low) <= int((self._n - 1) * SHARE):
                heappush(self._low, -heappushpop(self._high, value))
            else:
                heappush(self._high, -heappushpop(self._low, -value))

    def value(self) -> float:
        """What it is now."""
        if not self._n:
            return 0.0
        at = (self._n - 1) * SHARE
        share = at - int(at)
        low = -self._low[0]
        high = self._high[0] if self._high else low
        return low + (high - low) * share if share < 0.5 else high - (high - low) * (1 - share)


def _overtakes(gaps: Floats) -> NDArray[np.intp]:
    """How often the sign changes along each row [n, k]; zeros between do not count."""
    last = np.zeros(len(gaps))
    changes = np.zeros(len(gaps), dtype=np.intp)
    for sign in np.sign(gaps).T:
        changes += (sign * last) < 0
        last = np.where(sign != 0, sign, last)
    return changes
