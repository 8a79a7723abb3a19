"""Dominance and hypervolume: pure functions over arrays [n, m], every objective minimised.

a dominates b when a_i <= b_i for all i and a_i < b_i for some i. Rows must be finite.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Values = NDArray[np.float64]


def non_dominated(values: ArrayLike) -> NDArray[np.bool_]:
    """Which rows [n] of `values` [n, m] no other row dominates; equal rows are kept together.

    Rows are visited in lexicographic order, where nobody is dominated by a later one, and each survivor
    strikes what it dominates: O(n · front · m).
    """
    rows = _rows(values)
    n = len(rows)
    keep = np.zeros(n, dtype=bool)
    if n == 0:
        return keep
    order = np.lexsort(rows.T[::-1])
    left = rows[order]
    while len(order):
        head = left[0]
        same = (left == head).all(axis=1)
        keep[order[same]] = True
        beaten = (left >= head).all(axis=1)
        order, left = order[~beaten], left[~beaten]
    return keep


def layers(values: ArrayLike) -> list[NDArray[np.intp]]:
    """Row numbers by non-dominated layer: the front, the front without it, and so on."""
    rows = _rows(values)
    left = np.arange(len(rows))
    found: list[NDArray[np.intp]] = []
    while len(left):
        mask = non_dominated(rows[left])
        found.append(left[mask])
        left = left[~mask]
    return found


def hypervolume(values: ArrayLike, reference: Sequence[float]) -> float:
    """The measure of the union of the boxes [p, reference]; rows not below `reference` everywhere add nothing.

    Exact in any dimension: a sweep in two, slices along the last objective above that.
    """
    ref = np.asarray(reference, dtype=np.float64)
    rows = _rows(values, width=len(ref))
    inside = rows[(rows < ref).all(axis=1)]
    if not len(inside):
        return 0.0
    return _volume(inside[non_dominated(inside)], ref)


def reference_point(values: ArrayLike, margin: float = 0.1) -> tuple[float, ...]:
    """A reference for hypervolumes: the worst of `values` [n, m] and `margin` of their range beyond it.

    Freeze it after the first points, or volumes are not comparable over time (ALGORITHMS 7.3). An objective
    without a range gets `margin` of its size, or `margin` itself at 0, so that the box is never empty.
    """
    rows = _rows(values)
    worst, best = rows.max(axis=0), rows.min(axis=0)
    span = np.where(worst > best, worst - best, np.where(worst != 0, np.abs(worst), 1.0))
    return tuple(float(v) for v in worst + margin * span)


def _volume(rows: Values, ref: Values) -> float:
    if len(ref) == 1:
        return float(ref[0] - rows[:, 0].min())
    if len(ref) == 2:
        return _area(rows, ref)
    rows = rows[np.argsort(rows[:, -1], kind="stable")]
    heights = np.append(rows[1:, -1], ref[-1]) - rows[:, -1]
    total = 0.0
    for i, height in enumerate(heights):
        if height > 0:
            below = rows[: i + 1, :-1]
            total += height * _volume(below[non_dominated(below)], ref[:-1])
    return float(total)


def _area(rows: Values, ref: Values) -> float:
    total, floor = 0.0, float(ref[1])
    for x, y in rows[np.lexsort((rows[:, 1], rows[:, 0]))].tolist():
        if y < floor:
            total += (float(ref[0]) - x) * (floor - y)
            floor = y
    return total


def _rows(values: ArrayLike, width: int | None = None) -> Values:
    rows = np.asarray(values, dtype=np.float64)
    if rows.size == 0:
        return np.zeros((0, width or 1))
    if rows.ndim != 2 or (width is not None and rows.shape[1] != width):
        raise ValueError(f"points need the shape [n, {width or 'm'}], but have {list(rows.shape)}")
    if not np.isfinite(rows).all():
        raise ValueError("points need finite values; leave diverged ones out")
    return rows
