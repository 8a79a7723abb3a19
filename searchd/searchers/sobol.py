"""A scrambled Sobol sequence over the unit cube of the space: point number `trial`, so that no state is kept.

Infeasible points are repaired by the space. A trial whose point was rejected gets a random config instead.
Source: Owen (1998), scrambling; Joe and Kuo (2008), direction numbers, as in scipy.stats.qmc.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from searchd.schedulers.events import TrialId
from searchd.searchers.base import History
from searchd.searchers.needs import need
from spaces.config import Config

MOST_COLUMNS = 21_201
"""As many dimensions as there are direction numbers."""


class SobolSearcher:
    """`seed` scrambles the sequence. Missing without scipy."""

    def __init__(self, seed: int = 0) -> None:
        need("sobol", "scipy")
        self._seed = seed
        self._sequence: Any = None

    def suggest(self, trial: TrialId, history: History, rng: Generator) -> Config:
        space = history.space
        if history.rejected or not 0 < space.width <= MOST_COLUMNS:
            return space.sample(rng)
        return space.from_unit(self._point(trial, space.width))

    def _point(self, number: int, width: int) -> NDArray[np.float64]:
        """A point [width] of the sequence. Where the last one was is kept, since most of the cost is the scrambling."""
        from scipy.stats.qmc import Sobol

        kept = self._sequence
        if kept is None or kept.d != width:
            kept = self._sequence = Sobol(width, scramble=True, seed=np.random.default_rng(self._seed % 2**64))
        if kept.num_generated > number:
            kept.reset()
        if kept.num_generated < number:  # scipy cannot skip 0 points
            kept.fast_forward(number - kept.num_generated)
        point: NDArray[np.float64] = kept.random(1)[0]
        return point
