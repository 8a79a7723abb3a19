"""The area that a point adds to what a front of two losses dominates, exactly and for many points at once.

Left of the front's first point the staircase is as high as the corner. A point (a, b) adds the integral of (staircase -
b) from a to where the staircase falls to b: two look-ups in the antiderivative.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Staircase:
    """Of points [n, 2], lower is better; what is not below the `corner` [2] in both counts for nothing."""

    def __init__(self, points: Floats, corner: Floats) -> None:
        inside = points[(points < corner).all(axis=1)]
        inside = inside[np.lexsort((inside[:, 1], inside[:, 0]))]
        lowest = np.minimum.accumulate(inside[:, 1])
        front = inside[np.concatenate([[True], lowest[1:] < lowest[:-1]])[: len(inside)]]
        self._corner = corner
        self._a = np.append(front[:, 0], corner[0])
        self._height = np.concatenate([[corner[1]], front[:, 1]])
        steps = np.diff(self._a) * front[:, 1]
        self._area = np.concatenate([[0.0], np.cumsum(steps)])
        self._falling = -front[:, 1]

    def gain(self, a: Floats, b: Floats) -> Floats:
        """What points with these losses [...] add, each alone; their shapes broadcast."""
        a, b = np.minimum(a, self._corner[0]), np.minimum(b, self._corner[1])
        end = np.searchsorted(self._falling, -b)
        first = self._a[0]
        under = np.interp(a, self._a, self._area) + np.minimum(a - first, 0.0) * self._height[0]
        found = self._area[end] - under - b * (self._a[end] - a)
        return np.where(self._a[end] > a, np.maximum(found, 0.0), 0.0)
