"""Where real configs are: any points of the unit cube, thousands at once, moved to the nearest configs of a space.

Gives exactly what `space.encode` says of the config that `space.from_unit` reads there (constraints apart): grids, sets
of allowed sizes, NaN where a parameter is not active. Parameters that share a grid, and those that are switched on
together, are done together: nested spaces have hundreds of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spaces.domains import Choice, Const, Domain, Float, Int, Subset
from spaces.space import Space
from spaces.tree import Slot

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Snap = Callable[[Floats], Floats]


@dataclass(frozen=True, slots=True)
class _Together:
    """Parameters with one condition, and their columns; `above`: the number of the condition that their parent has."""

    slot: Slot
    columns: NDArray[np.intp]
    above: int | None


class Snapping:
    """`conditional`: whether any parameter may be inactive."""

    def __init__(self, space: Space) -> None:
        self._space = space
        slots = [slot for slot in space.slots if slot.domain.columns]
        even = [(slot, _even(slot.domain)) for slot in slots]
        gridded = [(slot.start + i, n) for slot, n in even if n for i in range(slot.domain.columns)]
        self._columns = np.array([column for column, _ in gridded], dtype=np.intp)
        self._cells = np.array([float(n) for _, n in gridded])
        self._others = [(slot.columns, snap) for slot, n in even if not n and (snap := _snap(slot.domain)) is not None]
        self._together = _together([slot for slot in slots if slot.parent is not None or slot.repeat is not None])
        self.conditional = bool(self._together)

    def __call__(self, units: Floats) -> Floats:
        """The configs nearest to points [n, width]: snapped to their grids, NaN where inactive."""
        out: Floats = np.clip(units, 0.0, 1.0)
        if len(self._columns):
            n = self._cells
            out[:, self._columns] = (np.minimum(np.floor(out[:, self._columns] * n), n - 1) + 0.5) / n
        for columns, snap in self._others:
            out[:, columns] = snap(out[:, columns])
        off: list[Bools] = []
        taken: dict[str, NDArray[np.intp]] = {}
        for group in self._together:
            off.append(self._inactive(group, out, off, taken))
            out[np.flatnonzero(off[-1])[:, None], group.columns] = np.nan
        return out

    def _inactive(self, group: _Together, units: Floats, off: list[Bools], taken: dict[str, NDArray[np.intp]]) -> Bools:
        """Where a condition does not hold [n]; those of its parents are done already (they come first). `taken`: which
        options were, of parents that were asked before."""
        slot = group.slot
        gone = np.zeros(len(units), dtype=bool) if group.above is None else off[group.above].copy()
        if slot.parent is not None:
            parent = self._space[slot.parent]
            if isinstance(parent.domain, Choice):
                options = [str(option) for option in parent.domain.options]
                if parent.name not in taken:
                    taken[parent.name] = cell(np.nan_to_num(units[:, parent.start], nan=0.0), len(options))
                gone |= taken[parent.name] != options.index(str(slot.option))
        if slot.repeat is not None and slot.index is not None:
            gone |= self._counts(slot.repeat, units) <= slot.index
        return gone

    def _counts(self, name: str, units: Floats) -> Floats:
        """The values of a parameter that counts repetitions [n]; 0 where it is inactive."""
        slot = self._space[name]
        match slot.domain:
            case Const(value):
                return np.full(len(units), float(value))
            case Int() as domain:
                if domain.log:
                    a, b = math.log(domain.low - 0.5), math.log(domain.high + 0.5)
                    grown: Floats = np.exp(a + (b - a) * units[:, slot.start])
                    return np.nan_to_num(np.round(grown), nan=0.0)
                values = [float(domain.low + i * domain.step) for i in range(int(domain.count()))]
            case Choice(options):
                values = [float(str(option)) for option in options]
            case _:
                raise TypeError(f"this is a bug: {name} counts repetitions, but is a {type(slot.domain).__name__}")
        u = units[:, slot.start]
        found = np.array(values)[cell(np.nan_to_num(u, nan=0.0), len(values))]
        found[np.isnan(u)] = 0.0
        return found


def _together(slots: list[Slot]) -> list[_Together]:
    """By their conditions, each where its first parameter is: parents come before children."""
    by: dict[tuple[str | None, str | None, str | None, int | None], list[Slot]] = {}
    for slot in slots:
        by.setdefault((slot.parent, slot.option, slot.repeat, slot.index), []).append(slot)
    number = {slot.name: i for i, mine in enumerate(by.values()) for slot in mine}
    return [
        _Together(
            mine[0],
            np.array([i for slot in mine for i in range(slot.columns.start, slot.columns.stop)], dtype=np.intp),
            None if mine[0].parent is None else number.get(mine[0].parent),
        )
        for mine in by.values()
    ]


def cell(u: Floats, n: int) -> NDArray[np.intp]:
    """Which of `n` equal cells of [0, 1] each number is in."""
    return np.minimum((u * n).astype(np.intp), n - 1)


def _even(domain: Domain) -> int:
    """Of how many cells of one width the grid of each column of a domain is; 0: it has none such."""
    match domain:
        case Float(low, high, log, step) if step is not None:
            return 0 if low == high or (log and math.log(low) == math.log(high)) else int(domain.count())
        case Int(_, _, log):
            return 0 if log else int(domain.count())
        case Choice(options):
            return len(options)
        case _:
            return 0


def _snap(domain: Domain) -> Snap | None:
    """`encode(decode(u))` for columns [n, k] of a domain with no even grid; None where that is the identity."""
    match domain:
        case Float(low, high, log, _):
            if low == high or (log and math.log(low) == math.log(high)):
                return lambda u: np.full_like(u, 0.5)
            return None
        case Int(low, high, True):
            a, b = math.log(low - 0.5), math.log(high + 0.5)

            def snap(u: Floats) -> Floats:
                values = np.clip(np.round(np.exp(a + (b - a) * u)), low, high)
                return (np.log(values) - a) / (b - a)

            return snap
        case Subset(items):
            return lambda u: _snap_subset(u, len(items), domain.min, domain.largest)
        case _:
            return None


def _snap_subset(u: Floats, items: int, least: int, most: int) -> Floats:
    """Memberships [n, items] of sets with an allowed size, as 0.75 and 0.25: the largest columns are in."""
    sizes = np.clip((u >= 0.5).sum(axis=1), least, most)
    order = np.argsort(-u, axis=1, kind="stable")
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.broadcast_to(np.arange(items), u.shape), axis=1)
    return np.where(rank < sizes[:, None], 0.75, 0.25)
