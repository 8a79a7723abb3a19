"""Two estimators as one: what a study found itself, and what earlier studies found, at shares that shift."""

from __future__ import annotations

from math import log
from typing import Protocol

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Density(Protocol):
    def log_density(self, x: Floats) -> Floats:
        """Log density [m] at points `x` [m, D]."""
        ...


class Likely(Density, Protocol):
    def sample(self, rng: Generator, m: int) -> Floats:
        """So many points [m, D]."""
        ...


class Blend:
    """The density `share` · `theirs` + (1 - `share`) · `ours`; 0 < share <= 1."""

    def __init__(self, ours: Density, theirs: Density, share: float) -> None:
        self._ours, self._theirs, self._share = ours, theirs, share

    def log_density(self, x: Floats) -> Floats:
        theirs = self._theirs.log_density(x) + log(self._share)
        if self._share == 1.0:
            return theirs
        return np.logaddexp(theirs, self._ours.log_density(x) + log(1.0 - self._share))


class LikelyBlend(Blend):
    """The same of estimators that can be drawn from."""

    def __init__(self, ours: Likely, theirs: Likely, share: float) -> None:
        super().__init__(ours, theirs, share)
        self._draw = (ours, theirs)

    def sample(self, rng: Generator, m: int) -> Floats:
        ours, theirs = self._draw
        n = int(rng.binomial(m, self._share))
        return np.vstack([theirs.sample(rng, n), ours.sample(rng, m - n)])
