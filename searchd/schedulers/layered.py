"""The order of a rung with several objectives, kept while trials enter: the same as `order.ranking`, at less cost.

A new trial's points go down the non-dominated layers and push aside what they dominate, so that only the layers
that it changes are touched. Inside a layer nothing is ordered before somebody asks for a rank in it: layers without
a candidate are only counted. An order inside a layer is kept until the layer, or the scale of the rung, changes.

Sources: Li, Deb, Zhang, Zhang (2014), efficient non-domination level update; the order itself: see `order`.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet

import numpy as np
from numpy.typing import NDArray

from searchd.schedulers.events import TrialId
from searchd.schedulers.front import non_dominated
from searchd.schedulers.net import Net
from searchd.schedulers.order import DIVERGED, Standing
from searchd.schedulers.orders import epsilon_net

Rows = NDArray[np.float64]
Numbers = NDArray[np.intp]
Inside = Callable[[Rows], Iterator[int]]
Group = tuple[int, float]
"""Class and violation: who shares them is ordered by layers."""
MOST_POINTS = 1 << 20
"""Of one trial; so `trial · MOST_POINTS + number` sorts points by trial, then by their order in the trial."""


class Layered:
    """Trials by standing. `inside` orders the normalised rows [n, m] of one layer, the best first."""

    __slots__ = ("_entries", "_groups", "_high", "_inside", "_keys", "_last", "_low", "_nets", "_scale")

    def __init__(self, inside: Inside) -> None:
        self._inside = inside
        self._nets = inside is epsilon_net  # then an order that was found is gone on with
        self._entries: dict[TrialId, Standing] = {}
        self._groups: dict[Group, _Group] = {}
        self._keys: list[Group] = []  # of the groups that can be ordered, the best first
        self._last: dict[int, list[TrialId]] = {}  # diverged and out: by class, by id
        self._low: Rows | None = None
        self._high: Rows | None = None
        self._scale = 0  # counts the changes of the scale

    def put(self, trial: TrialId, entry: Standing) -> None:
        """A trial enters, or stands otherwise than before."""
        self.drop(trial)
        self._entries[trial] = entry
        kind, violation, points = entry
        if kind >= DIVERGED:
            insort(self._last.setdefault(kind, []), trial)
            return
        rows = np.array(points, dtype=np.float64)
        self._stretch(rows.min(axis=0), rows.max(axis=0))
        group = self._groups.get((kind, violation))
        if group is None:
            group = self._groups[kind, violation] = _Group(rows.shape[1])
            insort(self._keys, (kind, violation))
        group.put(trial, rows)

    def drop(self, trial: TrialId) -> None:
        """The trial is no longer in, if it was."""
        entry = self._entries.pop(trial, None)
        if entry is None:
            return
        kind, violation, _ = entry
        if kind >= DIVERGED:
            self._last[kind].remove(trial)
            return
        group = self._groups[kind, violation]
        group.drop(trial)
        if not group.members:
            del self._groups[kind, violation]
            self._keys.remove((kind, violation))
        self._low = self._high = None
        for other in self._groups.values():
            rows = other.alive()
            self._stretch(rows.min(axis=0), rows.max(axis=0))
        self._scale += 1

    def best(self, among: AbstractSet[TrialId], within: int) -> tuple[TrialId, int] | None:
        """The best of the trials `among`, and its rank from 0; None when none of them is among the best `within`."""
        base = 0
        for key in self._keys:
            group = self._groups[key]
            if among.isdisjoint(group.members):
                base += len(group.members)
                continue
            for layer, fresh in group.layers():
                if base >= within:
                    return None
                if not among.isdisjoint(fresh):
                    for place, trial in enumerate(self._ordered(group, layer, fresh)):
                        if base + place >= within:
                            return None
                        if trial in among:
                            return trial, base + place
                base += len(fresh)
        return None

    def rank(self, trial: TrialId, within: int) -> int | None:
        """The rank of a trial that is in, from 0; None when it is not among the best `within`."""
        kind, violation, _ = self._entries[trial]
        if kind >= DIVERGED:
            better = len(self._entries) - sum(len(who) for k, who in self._last.items() if k >= kind)
            rank = better + bisect_left(self._last[kind], trial)
            return rank if rank < within else None
        base = 0
        for key in self._keys:
            if key == (kind, violation):
                break
            base += len(self._groups[key].members)
        group = self._groups[kind, violation]
        for layer, fresh in group.layers():
            if base >= within:
                return None
            if trial in fresh:
                for place, other in enumerate(self._ordered(group, layer, fresh)):
                    if base + place >= within:
                        return None
                    if other == trial:
                        return base + place
            base += len(fresh)
        raise KeyError(trial)

    def _stretch(self, low: Rows, high: Rows) -> None:
        """The range of the rung covers these too."""
        if self._low is None or self._high is None:
            self._low, self._high = low, high
            self._scale += 1
        elif (low < self._low).any() or (high > self._high).any():
            self._low, self._high = np.minimum(low, self._low), np.maximum(high, self._high)
            self._scale += 1

    def _ordered(self, group: _Group, layer: _Layer, fresh: AbstractSet[TrialId]) -> Iterator[TrialId]:
        """The trials `fresh` in a layer, the best first."""
        if layer.scale != self._scale and self._low is not None and self._high is not None:
            low = self._low / 2  # halved: a range of huge values must not overflow
            span = self._high / 2 - low
            rows = (group.raw[layer.rows] / 2 - low) / np.where(span > 0, span, 1.0)
            order: Iterator[int] = iter(layer.net(rows, self._scale) if self._nets else self._inside(rows))
            layer.restart(self._scale, order, group.owner[layer.rows].tolist())
        seen: set[TrialId] = set()
        for trial in layer.read():
            if trial in fresh and trial not in seen:
                seen.add(trial)
                yield trial


class _Layer:
    """The points of one layer: their rows in the group, by trial and number; whose they are; their order if read.
    `before`: the layer that this one takes the place of."""

    __slots__ = ("_before", "_coming", "_net", "_order", "_owner", "owners", "rows", "scale")

    def __init__(self, rows: Numbers, owners: frozenset[TrialId], before: _Layer | None = None) -> None:
        self.rows = rows
        self.owners = owners
        self.scale = -1
        self._before: _Layer | None = before
        while self._before is not None and self._before._net is None:  # nobody read that one
            self._before = self._before._before
        self._net: Net | None = None
        self._order: list[TrialId] = []
        self._coming: Iterator[int] = iter(())
        self._owner: list[TrialId] = []

    def __reduce__(self) -> tuple[type[_Layer], tuple[Numbers, frozenset[TrialId]]]:
        """A copy finds its order anew: an iterator half read cannot be copied."""
        return _Layer, (self.rows, self.owners)

    def net(self, points: Rows, scale: int) -> Net:
        """The ε-net of its normalised points, with what holds of the order that was read before, under this scale."""
        self._net, before = Net(points), self._before
        if before is not None and before.scale == scale and before._net is not None:
            place = np.full(1 + max(int(before.rows.max()), int(self.rows.max())), -1)
            place[self.rows] = np.arange(len(self.rows))
            old = place[before.rows]
            new = np.ones(len(self.rows), dtype=bool)
            new[old[old >= 0]] = False
            self._net.follow(before._net, old, np.flatnonzero(new))
        self._before = None
        return self._net

    def restart(self, scale: int, order: Iterator[int], owner: list[TrialId]) -> None:
        """The order is to be found anew, under this scale."""
        self.scale, self._coming, self._owner = scale, order, owner
        self._order = []

    def read(self) -> Iterator[TrialId]:
        """Whose point comes first, second, …: what was read before is remembered."""
        yield from self._order
        for row in self._coming:
            self._order.append(self._owner[row])
            yield self._owner[row]


class _Group:
    """The points of trials that share class and violation, in layers as far down as anybody asked."""

    __slots__ = ("_fresh", "_key", "_known", "_n", "_rest", "members", "owner", "raw")

    def __init__(self, m: int) -> None:
        self.members: set[TrialId] = set()
        self.raw: Rows = np.zeros((64, m))
        self.owner: Numbers = np.zeros(64, dtype=np.intp)
        self._key: Numbers = np.zeros(64, dtype=np.intp)
        self._n = 0
        self._known: list[_Layer] = []
        self._fresh: list[frozenset[TrialId]] = []  # of each layer: who has no point in a layer above
        self._rest: Numbers = np.zeros(0, dtype=np.intp)

    def put(self, trial: TrialId, points: Rows) -> None:
        """Another trial's points; no one of them dominates another."""
        first, self._n = self._n, self._n + len(points)
        while self._n > len(self.raw):
            self.raw = np.concatenate([self.raw, np.zeros_like(self.raw)])
            self.owner = np.concatenate([self.owner, np.zeros_like(self.owner)])
            self._key = np.concatenate([self._key, np.zeros_like(self._key)])
        self.raw[first : self._n] = points
        self.owner[first : self._n] = trial
        self._key[first : self._n] = trial * MOST_POINTS + np.arange(len(points))
        self.members.add(trial)
        self._sift(np.arange(first, self._n))

    def drop(self, trial: TrialId) -> None:
        """Without this trial: layers are found anew when asked for."""
        self.members.discard(trial)
        stays = np.flatnonzero(self.owner[: self._n] != trial)
        self._n = len(stays)
        for name in ("raw", "owner", "_key"):
            array = getattr(self, name)
            array[: self._n] = array[stays]
        self._known, self._fresh = [], []
        self._rest = np.arange(self._n)

    def alive(self) -> Rows:
        """All points [n, m]."""
        return self.raw[: self._n]

    def layers(self) -> Iterator[tuple[_Layer, frozenset[TrialId]]]:
        """Each layer from the top, with the trials whose best layer it is."""
        seen: set[TrialId] = set()
        depth = 0
        while depth < len(self._known) or len(self._rest):
            if depth == len(self._known):
                front = non_dominated(self.raw[self._rest])
                self._known.append(self._layer(self._rest[front]))
                self._rest = self._rest[~front]
            if depth == len(self._fresh):
                self._fresh.append(self._known[depth].owners - seen)
            yield self._known[depth], self._fresh[depth]
            seen |= self._fresh[depth]
            depth += 1

    def _sift(self, rows: Numbers) -> None:
        """New points go down the layers that are known, and push down what they dominate."""
        low, high = 0, len(self._known)
        while low < high:  # whom a layer dominates, all layers above do: the first that does not dominate all of them
            middle = (low + high) // 2
            if self._beats(self._known[middle].rows, rows):
                low = middle + 1
            else:
                high = middle
        for depth in range(low, len(self._known)):
            layer = self._known[depth]
            moved = self._press(layer.rows, rows)
            if moved is None:
                continue  # all of them are dominated here, and nothing changed
            stay, rows = moved
            self._known[depth] = self._layer(stay, layer)
            del self._fresh[depth:]
            if not len(rows):
                return
        self._rest = np.concatenate([self._rest, rows])

    def _beats(self, old: Numbers, new: Numbers) -> bool:
        """Whether each of these is dominated by somebody in a layer."""
        a, b = self.raw[old], self.raw[new]
        least = a[:, None, 0] <= b[:, 0]  # nowhere worse; equal ones stay together
        less = a[:, None, 0] < b[:, 0]
        for x, y in zip(a.T[1:], b.T[1:], strict=True):
            least &= x[:, None] <= y
            less |= x[:, None] < y
        return bool((least & less).any(axis=0).all())

    def _press(self, old: Numbers, new: Numbers) -> tuple[Numbers, Numbers] | None:
        """What stays in a layer [k] when these come, and what goes down; None when all that came goes down."""
        everyone = np.concatenate([old, new])
        a, b = self.raw[everyone], self.raw[new]
        least = np.ones((len(everyone), len(new)), dtype=bool)  # nowhere worse
        most = least.copy()  # nowhere better
        for x, y in zip(a.T, b.T, strict=True):
            least &= x[:, None] <= y
            most &= x[:, None] >= y
        beaten = np.zeros(len(everyone), dtype=bool)
        beaten[len(old) :] = (least & ~most).any(axis=0)
        if beaten[len(old) :].all():
            return None
        beaten[: len(old)] = (most & ~least)[: len(old)].any(axis=1)
        return everyone[~beaten], everyone[beaten]

    def _layer(self, rows: Numbers, before: _Layer | None = None) -> _Layer:
        rows = rows[np.argsort(self._key[rows])]
        return _Layer(rows, frozenset(self.owner[rows].tolist()), before)
