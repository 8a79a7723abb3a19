"""What a model sees of configs: points of the unit cube as rows of numbers between which distances mean something.

- A number or an ordered choice is one column in [0, 1].
- An unordered choice of more than two options is one-hot over sqrt(2): two different options are 1 apart, as far
  as the two ends of a number. Of two options it is one column, 0 or 1. A subset is one 0/1 column an item.
- An inactive parameter has its neutral value (the middle; equal shares of the options), so it tells nothing; that
  it is inactive shows in the columns of the choice or the count that switches it off.

`snap` moves any points to where real configs are, for thousands of points at once: it gives exactly what
`space.encode` says of the config that `space.from_unit` reads there (constraints apart).

Distances on the unit cube with relaxed and snapped integers: Garrido-Merchán and Hernández-Lobato (2020),
Neurocomputing. Neutral values for inactive parameters: as in SMAC (Hutter, Hoos, Leyton-Brown, 2011, LION).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from spaces.domains import Choice, Const, Domain, Float, Int, Subset
from spaces.space import Space
from spaces.tree import Slot

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Snap = Callable[[Floats], Floats]
APART = 1 / math.sqrt(2)


class Features:
    """Of a space with `width` columns in the unit cube: `d` feature columns, in groups of one parameter each.

    `groups` [d]: the number of the parameter that a column belongs to, counted from 0 over `names` (parameters with
    one possible value have no column). `active`: how many parameters an average config has switched on.
    """

    def __init__(self, space: Space) -> None:
        self.space = space
        self.width = space.width
        self._slots = [slot for slot in space.slots if slot.domain.columns]
        self._share = {slot.name: _share(slot, space) for slot in space.slots}
        self.unordered = np.zeros(self.width, dtype=bool)
        """Columns without an order: moving a little along them means nothing."""
        searched = [slot for slot in self._slots if slot.domain.count() > 1]
        self.names: tuple[str, ...] = tuple(slot.name for slot in searched)
        self.active: float = sum(self._share_of(slot) for slot in searched)
        groups: list[int] = []
        self._plain: list[tuple[int, int]] = []  # (feature column, unit column)
        self._choices: list[tuple[int, int, int]] = []  # (first feature column, unit column, options)
        for number, slot in enumerate(searched):
            columns = slot.domain.columns
            if isinstance(slot.domain, Choice) and not slot.domain.ordered:
                options = len(slot.domain.options)
                self._choices.append((len(groups), slot.start, options))
                columns = 1 if options == 2 else options
            else:
                self._plain += [(len(groups) + i, slot.start + i) for i in range(columns)]
            groups += [number] * columns
        for slot in self._slots:
            self.unordered[slot.columns] = _unordered(slot.domain)
        self.groups: NDArray[np.intp] = np.array(groups, dtype=np.intp)
        self.d = len(groups)
        self._to = np.array([to for to, _ in self._plain], dtype=np.intp)
        self._from = np.array([source for _, source in self._plain], dtype=np.intp)
        self._snaps = [(slot, snap) for slot in self._slots if (snap := _snap(slot.domain)) is not None]
        self._conditional = [slot for slot in self._slots if slot.parent is not None or slot.repeat is not None]

    def __call__(self, units: Floats) -> Floats:
        """Snapped points `units` [n, width] (NaN: inactive), as `space.encode` gives them, as features [n, d]."""
        out = np.empty((len(units), self.d))
        out[:, self._to] = units[:, self._from]
        for first, column, options in self._choices:
            u = units[:, column]
            if options == 2:
                out[:, first] = np.where(np.isnan(u), np.nan, u > 0.5)
                continue
            out[:, first : first + options] = APART * _one_hot(u, options)
        if self._conditional:
            np.nan_to_num(out, copy=False, nan=0.5)
        return out

    def snap(self, units: Floats) -> Floats:
        """The configs nearest to any points [n, width] of the unit cube: snapped to their grids, NaN where inactive."""
        out: Floats = np.clip(units, 0.0, 1.0)
        for slot, snap in self._snaps:
            out[:, slot.columns] = snap(out[:, slot.columns])
        off: dict[str, Bools] = {}
        for slot in self._conditional:
            out[self._inactive(slot, out, off), slot.columns] = np.nan
        return out

    def draw(self, n: int, rng: Generator) -> Floats:
        """Uniform points of the cube, snapped: [n, width]."""
        return self.snap(rng.random((n, self.width)))

    def jitter(self, units: Floats, sd: Floats, often: Floats, rng: Generator) -> Floats:
        """Points near `units` [n, width], snapped: normal steps of `sd` [n, 1] along each coordinate with probability
        `often` [n, 1], and along at least one that is active. What has no order is drawn anew instead, and so is
        what a changed choice switches on."""
        n = len(units)
        if not self.width:
            return units.copy()
        moved = self.moved(units, often, rng)
        anew = rng.random((n, self.width)) if self.unordered.any() or self._conditional else None
        out: Floats = units + moved * sd * rng.standard_normal((n, self.width))
        if anew is not None:
            out = np.where(np.isnan(units) | (moved & self.unordered), anew, out)
        return self.snap(out)

    def redraw(self, units: Floats, often: Floats, edge: float, rng: Generator) -> Floats:
        """Points that differ from `units` [n, width] in some coordinates, drawn anew from the whole range and snapped:
        each with probability `often` [n, 1], and one at least that is active. `edge`: numbers are drawn from a range
        wider by so much at both ends and cut, so the ends themselves are tried too."""
        n = len(units)
        if not self.width:
            return units.copy()
        moved = self.moved(units, often, rng)
        anew = rng.random((n, self.width))
        anew = np.where(self.unordered, anew, np.clip((1 + 2 * edge) * anew - edge, 0.0, 1.0))
        return self.snap(np.where(np.isnan(units) | moved, anew, units))

    def moved(self, units: Floats, often: Floats, rng: Generator) -> Bools:
        """Which coordinates change [n, width]: each with probability `often`, and one at least that is active."""
        pick = rng.random(units.shape)
        moved: Bools = pick < often
        if self._conditional:
            pick = np.where(np.isnan(units), np.inf, pick)
        moved[np.arange(len(units)), pick.argmin(axis=1)] = True
        return moved

    def _inactive(self, slot: Slot, units: Floats, off: dict[str, Bools]) -> Bools:
        """Where a conditional slot is switched off [n]; its parents are done already (they come first)."""
        gone = np.zeros(len(units), dtype=bool)
        if slot.parent is not None:
            parent = self.space[slot.parent]
            if parent.name in off:
                gone |= off[parent.name]
            if isinstance(parent.domain, Choice):
                options = [str(option) for option in parent.domain.options]
                u = np.nan_to_num(units[:, parent.start], nan=0.0)
                gone |= _index(u, len(options)) != options.index(str(slot.option))
        if slot.repeat is not None and slot.index is not None:
            gone |= self._counts(slot.repeat, units) <= slot.index
        off[slot.name] = gone
        return gone

    def _counts(self, name: str, units: Floats) -> Floats:
        """The values of a parameter that counts repetitions [n]; 0 where it is inactive."""
        slot = self.space[name]
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
        found = np.array(values)[_index(np.nan_to_num(u, nan=0.0), len(values))]
        found[np.isnan(u)] = 0.0
        return found

    def _share_of(self, slot: Slot) -> float:
        share, at = 1.0, slot
        while True:
            share *= self._share[at.name]
            if at.parent is None:
                return share
            at = self.space[at.parent]


def _share(slot: Slot, space: Space) -> float:
    """How often a slot is active where its parent is, values counted evenly."""
    share = 1.0
    if slot.parent is not None:
        parent = space[slot.parent].domain
        share /= len(parent.options) if isinstance(parent, Choice) else 1
    if slot.repeat is not None and slot.index is not None:
        match space[slot.repeat].domain:
            case Int(low, high, _, step):
                share *= sum(v > slot.index for v in range(low, high + 1, step)) / len(range(low, high + 1, step))
            case Choice(options):
                share *= sum(int(str(v)) > slot.index for v in options) / len(options)
            case _:
                pass
    return share


def _unordered(domain: Domain) -> bool:
    return isinstance(domain, Subset) or (isinstance(domain, Choice) and not domain.ordered)


def _index(u: Floats, n: int) -> NDArray[np.intp]:
    """Which of `n` equal cells of [0, 1] each number is in."""
    return np.minimum((u * n).astype(np.intp), n - 1)


def _one_hot(u: Floats, options: int) -> Floats:
    """[n, options]; equal shares where `u` is NaN."""
    known = ~np.isnan(u)
    out = np.full((len(u), options), 1 / options)
    out[known] = 0.0
    rows = np.flatnonzero(known)
    out[rows, _index(u[rows], options)] = 1.0
    return out


def _cells(n: int) -> Snap:
    def snap(u: Floats) -> Floats:
        return (np.minimum(np.floor(u * n), n - 1) + 0.5) / n

    return snap


def _snap(domain: Domain) -> Snap | None:
    """`encode(decode(u))` for columns [n, k] of a domain; None where that is the identity."""
    match domain:
        case Float(low, high, log, step):
            if low == high or (log and math.log(low) == math.log(high)):
                return lambda u: np.full_like(u, 0.5)
            return None if step is None else _cells(int(domain.count()))
        case Int(low, high, log):
            if not log:
                return _cells(int(domain.count()))
            a, b = math.log(low - 0.5), math.log(high + 0.5)

            def snap(u: Floats) -> Floats:
                values = np.clip(np.round(np.exp(a + (b - a) * u)), low, high)
                return (np.log(values) - a) / (b - a)

            return snap
        case Choice(options):
            return _cells(len(options))
        case Subset(items):
            return lambda u: _snap_subset(u, len(items), domain.min, domain.largest)
        case Const():
            return None


def _snap_subset(u: Floats, items: int, least: int, most: int) -> Floats:
    """Memberships [n, items] of sets with an allowed size, as 0.75 and 0.25: the largest columns are in."""
    sizes = np.clip((u >= 0.5).sum(axis=1), least, most)
    order = np.argsort(-u, axis=1, kind="stable")
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.broadcast_to(np.arange(items), u.shape), axis=1)
    return np.where(rank < sizes[:, None], 0.75, 0.25)
