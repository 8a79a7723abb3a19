"""How several objectives make one order: inside a non-dominated layer, or over all points by fixed weights.

Rows are points [n, m], every objective minimised and normalised to [0, 1] over the rung. Nothing is drawn at random:
the weights are a Halton sequence, the same in every study, so a decision can be computed again.

- `eps-net`: the least in the first objective, then always the point farthest from those chosen.
- `hypervolume`: the point that adds the most to the volume that those chosen dominate (by scalarisations).
- `crowding`: the two ends first, then the point with the most room around it.
- `scalarisation`: no layers; the mean rank over fixed weights of the augmented Chebyshev value.
- `Single`: no layers; one of the objectives ranks, and the others part those that are equal in it.

Sources: Schmucker, Donini, Zafar, Salinas, Archambeau (2021), multi-objective ASHA; Golovin, Zhang (2020), ICML,
hypervolume scalarisations; Deb, Pratap, Agarwal, Meyarivan (2002), IEEE TEC, NSGA-II; Knowles (2006), IEEE TEC,
ParEGO, for the augmented Chebyshev value; Halton (1960), Numerische Mathematik.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, reduce
from math import log
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, slots=True)
class Single:
    """The order by one objective, counted from 0; a trial of several points is ranked by the best of them in it."""

    objective: int

    def best(self, points: Sequence[tuple[float, ...]]) -> tuple[float, ...]:
        """What is compared of a trial: its best point with the ranking objective first; () without a point."""
        k = self.objective
        return min(((p[k], *p[:k], *p[k + 1 :]) for p in points), default=())


Named = Literal["eps-net", "hypervolume", "scalarisation", "crowding"]
Order = Named | Single
ORDERS: tuple[Named, ...] = ("eps-net", "hypervolume", "scalarisation", "crowding")
DRAWS = 100
"""Fixed weights a study is judged by (ALGORITHMS 7.2)."""
AUGMENTED = 0.05
"""The share of the weighted sum in the Chebyshev value: with it a dominated point is always worse."""
BEYOND = 1.1
"""The reference of hypervolumes: a tenth of the range beyond the worst of the rung."""

Rows = NDArray[np.float64]


def epsilon_net(points: ArrayLike) -> Iterator[int]:
    """Row numbers of `points` [n, m] in ε-net order: the least in the first objective, then the farthest each time.

    Euclidean distances as they are: normalise first. Ties go to the lower row.
    """
    rows = np.asarray(points, dtype=np.float64)
    if not len(rows):
        return
    chosen = int(np.lexsort(rows.T[::-1])[0])
    gap = np.full(len(rows), np.inf)
    for _ in range(len(rows)):
        yield chosen
        gap = np.minimum(gap, ((rows - rows[chosen]) ** 2).sum(axis=1))
        gap[chosen] = -1.0
        chosen = int(np.argmax(gap))


def by_volume(points: ArrayLike) -> Iterator[int]:
    """Row numbers of `points` [n, m] in [0, 1]: each time the one that adds the most dominated volume.

    The volume below a reference is the mean of the best hypervolume scalarisation over directions, up to a factor;
    `DRAWS` fixed directions stand for all. Ties go to the lower row.
    """
    rows = np.asarray(points, dtype=np.float64)
    if not len(rows):
        return
    m = rows.shape[1]
    reached = volume_scalars(rows[:, None], np.array(directions(m))[None], (BEYOND,) * m)  # [n, DRAWS]
    best = np.zeros(reached.shape[1])
    left = np.ones(len(rows), dtype=bool)
    for _ in range(len(rows)):
        gain = np.maximum(reached - best, 0.0).sum(axis=1)
        gain[~left] = -1.0
        chosen = int(np.argmax(gain))
        yield chosen
        left[chosen] = False
        best = np.maximum(best, reached[chosen])


def by_crowding(points: ArrayLike) -> Iterator[int]:
    """Row numbers of `points` [n, m] by falling crowding distance; the ends of each objective are infinitely far.

    Copies of a point have no room: first copies come first. Ties go to the lower row.
    """
    rows = np.asarray(points, dtype=np.float64)
    if not len(rows):
        return
    distinct, of = np.unique(rows, axis=0, return_inverse=True)
    of = of.ravel()
    room = np.zeros(len(distinct))
    for values in distinct.T:
        order = np.argsort(values, kind="stable")
        room[order[[0, -1]]] = np.inf
        room[order[1:-1]] += values[order[2:]] - values[order[:-2]]
    seen = np.zeros(len(distinct), dtype=np.intp)
    copy = np.zeros(len(rows), dtype=np.intp)
    for i, which in enumerate(of):
        copy[i] = seen[which]
        seen[which] += 1
    yield from np.lexsort((np.arange(len(rows)), -room[of], copy)).tolist()


def mean_ranks(points: ArrayLike, owners: NDArray[np.intp], count: int) -> Rows:
    """The mean rank [count] of each owner over the fixed weights; an owner's value is that of its best point.

    `points` [n, m] in [0, 1], `owners` [n] whom each row belongs to: 0, 0, 1, … up to count − 1. The rank under one
    weight is the number of owners that are better.
    """
    rows = np.asarray(points, dtype=np.float64)
    values = chebyshev(rows[None], np.array(weights(rows.shape[1]))[:, None])  # [DRAWS, n]
    firsts = np.flatnonzero(np.diff(owners, prepend=-1))
    total = np.zeros(count)
    for value in np.minimum.reduceat(values, firsts, axis=1):
        total += np.searchsorted(np.sort(value), value, side="left")
    return total / DRAWS


def chebyshev(points: ArrayLike, weight: ArrayLike, augmented: float = AUGMENTED) -> Rows:
    """max_i w_i f_i + `augmented` · Σ_i w_i f_i for rows [n, m] (lower is better)."""
    f, w = np.asarray(points, dtype=np.float64), np.asarray(weight, dtype=np.float64)
    parts = [f[..., i] * w[..., i] for i in range(f.shape[-1])]  # a few objectives: quicker than a last axis of 3
    value: Rows = reduce(np.maximum, parts) + augmented * reduce(np.add, parts)
    return value


def volume_scalars(points: ArrayLike, weight: ArrayLike, reference: ArrayLike) -> Rows:
    """min_i (max(0, z_i − f_i) / w_i)^m for rows [n, m] and reference z (higher is better)."""
    rows = np.asarray(points, dtype=np.float64)
    room = np.maximum(np.asarray(reference, dtype=np.float64) - rows, 0.0)
    w = np.asarray(weight, dtype=np.float64)
    value: Rows = reduce(np.minimum, [room[..., i] / w[..., i] for i in range(rows.shape[-1])]) ** rows.shape[-1]
    return value


@lru_cache(maxsize=16)
def weights(m: int) -> tuple[tuple[float, ...], ...]:
    """`DRAWS` fixed points of the simplex of m objectives, evenly spread, none with a weight of 0."""
    found = []
    for n in range(1, DRAWS + 1):
        drawn = [-log(u) for u in _halton(n, m)]
        found.append(tuple(e / sum(drawn) for e in drawn))
    return tuple(found)


@lru_cache(maxsize=16)
def directions(m: int) -> tuple[tuple[float, ...], ...]:
    """`DRAWS` fixed directions into the positive orthant of m objectives, evenly spread, of length 1."""
    normal = NormalDist()
    found = []
    for n in range(1, DRAWS + 1):
        drawn = [normal.inv_cdf((1 + u) / 2) for u in _halton(n, m)]
        length = sum(x * x for x in drawn) ** 0.5
        found.append(tuple(x / length for x in drawn))
    return tuple(found)


def _halton(n: int, m: int) -> list[float]:
    """The n-th point (from 1) of the Halton sequence in m dimensions, strictly inside (0, 1)."""
    point = []
    for base in _primes(m):
        value, digit, rest = 0.0, 1.0 / base, n
        while rest:
            rest, low = divmod(rest, base)
            value += low * digit
            digit /= base
        point.append(value)
    return point


def _primes(count: int) -> list[int]:
    found: list[int] = []
    number = 2
    while len(found) < count:
        if all(number % p for p in found):
            found.append(number)
        number += 1
    return found


INSIDE: dict[Named, Callable[[ArrayLike], Iterator[int]]] = {
    "eps-net": epsilon_net,
    "hypervolume": by_volume,
    "crowding": by_crowding,
}
"""The orders that rank layer by layer, by what they do inside a layer."""
