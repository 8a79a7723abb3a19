"""Losses as normal scores of their ranks: the good end has as fine a resolution as the bad one, whatever the scale.

Between known losses a score is read off the line through both; below the best it goes on with the mean slope of the
best fifth, above the worst it stays. Source: the rank-based inverse normal transform (Blom, 1958), (rank + 1/2) / n.
"""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

BEST = 5
"""One in so many losses gives the slope below the best."""
_SHARES = (np.arange(2000) + 0.5) / 2000
_SCORES = np.array([NormalDist().inv_cdf(share) for share in _SHARES.tolist()])


class Ranks:
    """Of losses [n], at least one, all finite; equal ones share their mean score."""

    def __init__(self, losses: Floats) -> None:
        n = len(losses)
        scores = np.interp((np.arange(n) + 0.5) / n, _SHARES, _SCORES)
        self._losses, place = np.unique(losses, return_inverse=True)
        self._scores = np.bincount(place[np.argsort(losses, kind="stable")], scores) / np.bincount(place)
        k = min(len(self._losses) - 1, max(1, n // BEST))
        run, rise = self._losses[k] - self._losses[0], self._scores[k] - self._scores[0]
        self._slope = float(run / rise) if run > 0 else 1.0

    def scores(self, losses: Floats) -> Floats:
        """Of any losses [n]."""
        below = np.minimum(losses - self._losses[0], 0.0) / self._slope
        return np.asarray(np.interp(losses, self._losses, self._scores) + below)

    def losses(self, scores: Floats) -> Floats:
        """The losses of any scores [...]."""
        below = np.minimum(scores - self._scores[0], 0.0) * self._slope
        return np.asarray(np.interp(scores, self._scores, self._losses) + below)
