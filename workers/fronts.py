"""Which of many rows no other one beats, and which of these stand alone: for NSGA-II, and for who chooses among points.

Values are lower is better. Source: Deb, Pratap, Agarwal, Meyarivan (2002), IEEE TEC.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def ranked(values: Array) -> list[int]:
    """Rows [n, objectives] (lower is better) by non-dominated front, then by crowding distance, the lonelier first."""
    left = np.arange(len(values))
    out: list[int] = []
    while len(left):
        rows = values[left]
        worse = dominated(rows)
        front = left[~worse]
        out += [int(i) for i in front[np.argsort(-crowding(values[front]), kind="stable")]]
        left = left[worse]
    return out


def dominated(rows: Array) -> NDArray[np.bool_]:
    """Which of the rows [n, objectives] (lower is better) another one beats."""
    no_better = np.all(rows[:, None] >= rows[None], axis=-1)
    worse = np.any(rows[:, None] > rows[None], axis=-1)
    return np.asarray(np.any(no_better & worse, axis=1))


def crowding(rows: Array) -> Array:
    """Room around each row [n, objectives] of one front: Σ over objectives of the share between its neighbours."""
    n = len(rows)
    room = np.zeros(n)
    for column in rows.T:
        order = np.argsort(column, kind="stable")
        span = column[order[-1]] - column[order[0]]
        room[order[0]] = room[order[-1]] = np.inf
        if span > 0 and n > 2:
            room[order[1:-1]] += (column[order[2:]] - column[order[:-2]]) / span
    return room


def spread(values: Array, most: int) -> list[int]:
    """Indices of at most `most` non-dominated rows [n, objectives], each once, well spread: the most crowded leaves,
    one after the other. In the order of their values."""
    rows = np.asarray(values, float)
    kept: list[int] = []
    for i in np.flatnonzero(~dominated(rows)):
        if not any((rows[i] == rows[j]).all() for j in kept):
            kept.append(int(i))
    while len(kept) > most:
        room = crowding(rows[kept])
        kept.pop(int(np.argmin(room)) if np.isfinite(room).any() else len(kept) - 1)
    return sorted(kept, key=lambda i: tuple(rows[i]))
