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

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from searchd.searchers.snapping import Snapping, cell
from spaces.domains import Choice, Domain, Int, Subset
from spaces.space import Space
from spaces.tree import Slot

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
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
        choices: list[tuple[int, int, int]] = []  # (first feature column, unit column, options)
        for number, slot in enumerate(searched):
            columns = slot.domain.columns
            if isinstance(slot.domain, Choice) and not slot.domain.ordered:
                options = len(slot.domain.options)
                choices.append((len(groups), slot.start, options))
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
        self._shared = _shared(choices)
        self._snapped = Snapping(space)
        self._conditional = self._snapped.conditional

    def __call__(self, units: Floats) -> Floats:
        """Snapped points `units` [n, width] (NaN: inactive), as `space.encode` gives them, as features [n, d]."""
        out = np.empty((len(units), self.d))
        plain = units[:, self._from]
        out[:, self._to] = np.where(np.isnan(plain), 0.5, plain) if self._conditional else plain
        for to, columns, options in self._shared:
            u = units[:, columns]
            out[:, to] = np.where(np.isnan(u), 0.5, u > 0.5) if options == 2 else _one_hot(u, options)
        return out

    def snap(self, units: Floats) -> Floats:
        """The configs nearest to any points [n, width] of the unit cube: snapped to their grids, NaN where inactive."""
        return self._snapped(units)

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


def _shared(choices: list[tuple[int, int, int]]) -> list[tuple[NDArray[np.intp] | slice, NDArray[np.intp], int]]:
    """Choices of (first feature column, unit column, options) by the number of options: all feature columns, one choice
    after another, and the unit columns."""
    found = []
    for options in sorted({options for _, _, options in choices}):
        mine = [(first, column) for first, column, many in choices if many == options]
        wide = 1 if options == 2 else options
        to = np.array([first + i for first, _ in mine for i in range(wide)], dtype=np.intp)
        row = slice(int(to[0]), int(to[-1]) + 1)  # quicker to write to, where nothing lies between
        columns = np.array([column for _, column in mine], dtype=np.intp)
        found.append((row if len(to) == to[-1] + 1 - to[0] else to, columns, options))
    return found


def _one_hot(u: Floats, options: int) -> Floats:
    """Choices [n, k] as [n, k · options], one-hot over sqrt(2); equal shares where `u` is NaN."""
    rows = APART * np.vstack([np.eye(options), np.full((1, options), 1 / options)])  # of each option, and of none
    place = np.where(np.isnan(u), options, cell(np.nan_to_num(u, nan=0.0), options))
    hot: Floats = rows.take(place.ravel(), axis=0)
    return hot.reshape(len(u), u.shape[1] * options)
