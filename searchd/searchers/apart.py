"""How far a config has to be from those that were tried not to come out exactly as one of them.

Some tasks answer alike for neighbouring configs, to the last digit: they round, or a table answers for the nearest
config that it has. There a suggestion close to a good trial is that trial again. How far such neighbours reach is seen
in the trials themselves: the distance at which a trial's nearest neighbour is no longer its twin.

Twins are told from losses that are equal by chance as in `searchd.schedulers.twins`. Source: our own.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from searchd.schedulers.twins import ENOUGH, SHARE

Floats = NDArray[np.float64]


def apart(x: Floats, losses: Floats) -> float:
    """The Euclidean distance that keeps suggestions from being twins, 0 where there are none. Of trials with features
    `x` [n, d] and `losses` [n, K] at the rungs, lowest first: NaN not reached, inf diverged. Costs n² (d + K)."""
    if not _equal(losses):
        return 0.0
    twins = _twins(losses)
    if twins is None:
        return 0.0
    squares = (x * x).sum(axis=1)
    far = np.maximum(squares[:, None] + squares - 2 * x @ x.T, 0.0)
    np.fill_diagonal(far, np.inf)
    nearest = far.argmin(axis=1)
    at = np.arange(len(x))
    order = np.argsort(far[at, nearest], kind="stable")
    gain = np.cumsum(np.where(twins[at, nearest][order], 1, -1))  # right and wrong, if all up to here were twins
    best = int(gain.argmax())
    return float(np.sqrt(far[at, nearest][order][best])) if gain[best] > 0 else 0.0


def nearest(x: Floats, tried: Floats) -> Floats:
    """The Euclidean distance of each row of `x` [n, d] to the nearest column of `tried` [d, t]: [n]."""
    if not tried.size:
        return np.full(len(x), np.inf)
    far: Floats = (x * x).sum(axis=1)[:, None] + (tried * tried).sum(axis=0) - 2 * x @ tried
    return np.asarray(np.sqrt(np.maximum(far.min(axis=1), 0.0)))


def _equal(losses: Floats) -> bool:
    """Whether any two are equal at the lowest rung."""
    first = np.sort(losses[np.isfinite(losses[:, 0]), 0])
    return bool((first[1:] == first[:-1]).any())


def _twins(losses: Floats) -> NDArray[np.bool_] | None:
    """Which trials [n, n] came out alike at every rung where both were; None: that is not known to mean anything."""
    n = len(losses)
    entered = np.isfinite(losses)
    alike, met = ~np.eye(n, dtype=bool), np.zeros((n, n), dtype=bool)
    agreed = differed = 0
    for k in range(losses.shape[1]):
        column = losses[:, k]
        both = entered[:, k][:, None] & entered[:, k]
        equal = column[:, None] == column
        if k and both.any():
            moved = column != losses[:, k - 1]
            better = column < np.median(column[entered[:, k]])
            before = np.tril(alike & met & both)  # each with those above it in the table, as they would have come
            same, any_ = (before & equal).any(axis=1), before.any(axis=1)
            agreed += int((better & same & moved).sum())
            differed += int((better & any_ & ~same).sum())
            equal &= moved[:, None]  # who stands still is nobody's twin
        alike &= equal | ~both
        met |= both
    if agreed < ENOUGH or agreed < SHARE * (agreed + differed):
        return None
    return np.asarray(alike & met)
