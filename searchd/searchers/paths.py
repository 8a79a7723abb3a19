"""Draws of whole functions from a Gaussian process's posterior: what Thompson sampling looks at.

A draw from the prior as FEATURES random cosines, plus the correction that makes it agree with the data (Matheron's
rule). So a draw costs as much as a mean, at any number of points, and all points see the same function.

Sources: Wilson, Borovitskiy, Terenin, Mostowsky, Deisenroth (2020), ICML, pathwise conditioning; Rahimi and Recht
(2007), NeurIPS: the frequencies of a Matérn-5/2 kernel are Student's t with five degrees of freedom.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from searchd.searchers.gp import NUGGET, Hyper, kernel

Floats = NDArray[np.float64]

FEATURES = 512
"""Cosines of a draw from the prior: its covariances are off by about 1 / sqrt(FEATURES / 2)."""


class Path:
    """One function drawn after rows `x` [n, d] with targets `y` [n]. `groups` [d]: the parameter of a column."""

    def __init__(self, hyper: Hyper, x: Floats, y: Floats, groups: NDArray[np.intp], rng: Generator) -> None:
        self._hyper, self._x, self._groups = hyper, x, groups
        stretch = np.exp(-hyper.theta[groups])
        t = rng.standard_normal((FEATURES, len(groups))) / np.sqrt(rng.chisquare(5, (FEATURES, 1)) / 5)
        self._frequencies = t * stretch
        self._phases = rng.uniform(0, 2 * math.pi, FEATURES)
        self._heights = math.sqrt(2 * hyper.signal / FEATURES) * rng.standard_normal(FEATURES)
        noise = math.sqrt(hyper.noise) * rng.standard_normal(len(x))
        k = kernel(x, x, hyper, groups)
        k[np.diag_indices(len(x))] += hyper.noise + NUGGET
        self._pull = np.linalg.solve(k, y - self._prior(x) - noise) if len(x) else np.zeros(0)

    def __call__(self, x: Floats) -> Floats:
        """Values [m] at rows [m, d]."""
        drawn = self._prior(x)
        return drawn + kernel(x, self._x, self._hyper, self._groups) @ self._pull if len(self._x) else drawn

    def _prior(self, x: Floats) -> Floats:
        angles = (x @ self._frequencies.T + self._phases).astype(np.float32)  # cosines of 32 bits cost a fifth
        return np.asarray(np.cos(angles) @ self._heights, dtype=np.float64)
