"""The columns of the unit cube as density estimators see them: lines, grids and kinds.

A line is continuous on [0, 1]. A grid has steps: its values sit in the middle of their bins, which fill [0, 1].
A kind is one of several values without an order (a choice; for a subset, each item in or out). Columns with a single
value are left out: there is nothing to choose.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spaces.domains import Choice, Const, Domain, Float, Int, Subset
from spaces.space import Space

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Column:
    """Column `at` of the unit cube. `count`: how many values, 0 on a line. `kinds`: they have no order.

    `log`: the ends of an integer grid on a logarithmic scale, (log(low - ½), log(high + ½)), None for even bins.
    """

    at: int
    name: str
    count: int = 0
    kinds: bool = False
    log: tuple[float, float] | None = None

    @property
    def grid(self) -> bool:
        return self.count > 0 and not self.kinds

    def bins(self, u: Floats) -> tuple[Floats, Floats]:
        """Lower and upper ends of the bins that points [...] of a grid are in."""
        if self.log is None:
            k = self._index(u)
            return k / self.count, (k + 1) / self.count
        low, high = self.log
        value = self._whole(u)
        span = high - low
        return (np.log(value - 0.5) - low) / span, (np.log(value + 0.5) - low) / span

    def snap(self, u: Floats) -> Floats:
        """Points [...] in [0, 1] moved to the value of their bin, as `Domain.encode` has it."""
        if self.log is None:
            return (self._index(u) + 0.5) / self.count
        low, high = self.log
        return (np.log(self._whole(u)) - low) / (high - low)

    def index(self, u: Floats) -> NDArray[np.int64]:
        """The number of the value at points [...] of a grid with even bins, or of kinds."""
        return self._index(u).astype(np.int64)

    def _index(self, u: Floats) -> Floats:
        return np.clip(np.floor(u * self.count), 0, self.count - 1)

    def _whole(self, u: Floats) -> Floats:
        low, high = self.log or (0.0, 1.0)
        return np.clip(np.round(np.exp(low + (high - low) * u)), math.exp(low) + 0.5, math.exp(high) - 0.5)


def columns_of(space: Space) -> tuple[Column, ...]:
    """Every column with something to choose, in the order of the unit cube."""
    return tuple(c for slot in space.slots for c in _columns(slot.name, slot.domain, slot.start))


def _columns(name: str, domain: Domain, at: int) -> list[Column]:
    match domain:
        case Float(low, high, step=step):
            if step is None:
                return [Column(at, name)] if low < high else []
            return _grid(at, name, int(domain.count()))
        case Int(low, high, log):
            ends = (math.log(low - 0.5), math.log(high + 0.5)) if log and low < high else None
            return _grid(at, name, int(domain.count()), ends)
        case Choice(options, ordered):
            if ordered:
                return _grid(at, name, len(options))
            return [Column(at, name, len(options), kinds=True)] if len(options) > 1 else []
        case Subset(items):
            return [Column(at + i, name, 2, kinds=True) for i in range(len(items))]
        case Const():
            return []


def _grid(at: int, name: str, count: int, log: tuple[float, float] | None = None) -> list[Column]:
    return [Column(at, name, count, log=log)] if count > 1 else []
