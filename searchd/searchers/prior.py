"""What the user believes of good configs (`prior:` of a domain), as a density on the unit cube.

A searcher that models adds `weight(n)` times the log prior to the log of what it maximises (πBO): strong while little
is known, and gone when much is, so that a wrong belief costs time and not the optimum.

Source: Hvarfner, Stoll, Souza, Lindauer, Hutter, Nardi (2022), ICLR, πBO: acquisition · prior^(β / n).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from searchd.searchers.columns import Column, columns_of
from spaces.domains import Choice, Float, Int, Normal
from spaces.space import Space

Floats = NDArray[np.float64]

BETA = 10.0
"""With so many observations the prior counts once."""
LEAST_SHARE = 1e-6
"""Nothing that can be chosen is quite impossible, whatever the prior says: a share of uniform in each column."""


def weight(n: int) -> float:
    """The exponent of the prior after `n` observations: β / n, and β before the first."""
    return BETA / max(n, 1)


class Prior:
    """The prior of a space over its columns, relative to uniform; columns without one count as uniform."""

    def __init__(self, space: Space) -> None:
        self._normal: dict[int, tuple[float, float]] = {}
        self._shares: dict[int, Floats] = {}
        for column in columns_of(space):
            domain = space[column.name].domain
            if isinstance(domain, Choice) and domain.weights is not None:
                shares = np.array(domain.weights) / sum(domain.weights)
                self._shares[column.at] = (1 - LEAST_SHARE) * shares + LEAST_SHARE / len(shares)
            elif isinstance(domain, Float | Int) and domain.prior is not None:
                self._normal[column.at] = _on_unit(domain, domain.prior, column)

    def __bool__(self) -> bool:
        """Whether the user said anything."""
        return bool(self._normal or self._shares)

    def log(self, columns: Sequence[Column], x: Floats) -> Floats:
        """Log density [m] at points `x` [m, D] of these columns; 0 where it is uniform, NaN values are left out."""
        total = np.zeros(len(x))
        for i, column in enumerate(columns):
            u = x[:, i]
            here = np.zeros(len(x))
            there = ~np.isnan(u)
            if column.at in self._normal:
                mean, sd = self._normal[column.at]
                mass = max(_cdf((1 - mean) / sd) - _cdf(-mean / sd), 1e-12) * sd * math.sqrt(2 * math.pi)
                density = np.exp(-0.5 * ((u[there] - mean) / sd) ** 2) / mass
                here[there] = np.log((1 - LEAST_SHARE) * density + LEAST_SHARE)
            elif column.at in self._shares:
                here[there] = np.log(self._shares[column.at] * column.count)[column.index(u[there])]
            total += here
        return total

    def sample(self, columns: Sequence[Column], m: int, rng: Generator) -> Floats:
        """So many points [m, D] of these columns."""
        x = rng.random((m, len(columns)))
        for i, column in enumerate(columns):
            if column.at in self._normal:
                x[:, i] = _normal_between(*self._normal[column.at], x[:, i])
            elif column.at in self._shares:
                edges = np.cumsum(self._shares[column.at])
                k = np.searchsorted(edges, x[:, i] * edges[-1], side="right")
                x[:, i] = (np.minimum(k, column.count - 1) + 0.5) / column.count
                continue
            if column.count:
                x[:, i] = column.snap(x[:, i])
        return x


def _on_unit(domain: Float | Int, prior: Normal, column: Column) -> tuple[float, float]:
    """Mean and standard deviation of a normal prior in its column of the unit cube."""
    mean, sd = float(prior.mean), float(prior.sd)
    low, high = float(domain.low), float(domain.high)
    if domain.log:
        a, b = column.log or (math.log(low), math.log(high))
        return (math.log(mean) - a) / (b - a), sd * math.log(10) / (b - a)
    if column.count:
        step = float(domain.step or 1)
        return ((mean - low) / step + 0.5) / column.count, sd / (step * column.count)
    return (mean - low) / (high - low), sd / (high - low)


def _normal_between(mean: float, sd: float, u: Floats) -> Floats:
    """Normal draws cut to [0, 1], from uniform ones."""
    normal = NormalDist(mean, sd)
    a, b = normal.cdf(0.0), normal.cdf(1.0)
    at = np.clip(a + (b - a) * u, 1e-300, 1 - 1e-16)
    return np.clip([normal.inv_cdf(p) for p in at.tolist()], 0.0, 1.0)


def _cdf(z: float) -> float:
    return 0.5 * math.erfc(-z / math.sqrt(2))
