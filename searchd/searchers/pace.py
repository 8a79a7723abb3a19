"""What a step of training costs, as a function of a config: a ridge regression of log seconds upon x and x².

Expected improvement divided by predicted seconds to a power a prefers what is learned cheaply: a = 1 is EI per second
(Snoek, Larochelle, Adams, 2012, NeurIPS), which is known to stay too long where training is cheap; a between 0 and 1
tempers it (Lee, Perrone, Archambeau, Seeger, 2020, arXiv:2003.10870, cost-cooling).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

RIDGE = 0.1
"""Weight of the squares of the slopes; the mean is free."""
LEAST = 3
"""So many trials whose seconds are known; before, every config costs the same."""


class Pace:
    """Of trials at features `x` [n, d] that took `seconds` [n] a step, NaN where nobody knows."""

    def __init__(self, x: Floats, seconds: Floats) -> None:
        known = np.isfinite(seconds)
        self._mean, self._low, self._high = 0.0, 0.0, 0.0
        self._centre: Floats = np.zeros(2 * x.shape[1])
        self._slope: Floats = self._centre
        if known.sum() < LEAST:
            return
        y, rows = np.log(seconds[known]), _terms(x[known])
        self._mean, self._low, self._high = float(y.mean()), float(y.min()), float(y.max())
        self._centre = rows.mean(axis=0)
        rows = np.asarray(rows - self._centre, dtype=np.float64)
        n, d = rows.shape
        if n < d:  # the same slopes by the smaller system
            self._slope = rows.T @ np.linalg.solve(rows @ rows.T + RIDGE * np.eye(n), y - self._mean)
        else:
            self._slope = np.asarray(np.linalg.solve(rows.T @ rows + RIDGE * np.eye(d), rows.T @ (y - self._mean)))

    def log(self, x: Floats) -> Floats:
        """Log seconds a step of configs [m, d], within what was seen: a square does not run away at an edge."""
        found = self._mean + (_terms(x) - self._centre) @ self._slope
        return np.asarray(np.clip(found, self._low, self._high))


def _terms(x: Floats) -> Floats:
    return np.hstack([x, x * x])
