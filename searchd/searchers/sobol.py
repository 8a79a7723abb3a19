"""A scrambled Sobol sequence over the unit cube of the space: point number `trial`, so that no state is kept.

Infeasible points are repaired by the space. A trial whose point was rejected gets a random config instead.
Source: Owen (1998), scrambling; Joe and Kuo (2008), direction numbers, as in scipy.stats.qmc.
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

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

    def suggest(self, trial: TrialId, history: History, rng: Generator) -> Config:
        space = history.space
        if history.rejected or not 0 < space.width <= MOST_COLUMNS:
            return space.sample(rng)
        from scipy.stats.qmc import Sobol

        sequence = Sobol(space.width, scramble=True, seed=np.random.default_rng(self._seed % 2**64))
        if trial:  # scipy cannot skip 0 points
            sequence.fast_forward(trial)
        return space.from_unit(sequence.random(1)[0])
