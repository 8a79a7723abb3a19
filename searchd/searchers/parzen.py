"""A multivariate Parzen estimator over columns of the unit cube: one kernel an observation, and one for the prior.

A kernel is a product over the columns. On a line it is a normal truncated to [0, 1], on a grid the mass of that
normal in a bin, and over kinds it is the observed one with a bit of all. The width on a line or grid is the larger
gap to the next observation on either side, at least 1 / min(100, n + 2). The prior kernel is a normal in the middle,
as wide as the range. These are the formulas of Optuna's sampler, so that ours and theirs choose alike; densities on
a line differ by the constant that stretches the range to [0, 1].

Sources: Bergstra, Bardenet, Bengio, Kégl (2011), NeurIPS; Falkner, Klein, Hutter (2018), ICML (multivariate);
Watanabe (2023), arXiv:2304.11127.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from math import log, pi

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from searchd.searchers.columns import Column

Floats = NDArray[np.float64]

HALF_LOG_2PI = 0.5 * log(2 * pi)
FLAT = 25
"""So many of the latest observations have full weight; before them the weights fall linearly to 1 / n."""


def weights_by_age(n: int) -> Floats:
    """Weights [n] of observations, the oldest first."""
    if n <= FLAT:
        return np.ones(n)
    return np.concatenate([np.linspace(1.0 / n, 1.0, n - FLAT), np.ones(FLAT)])


def gaps(u: Floats) -> Floats:
    """The larger gap to the next observation on either side [n, D] in each column of `u` [n, D].

    The outermost have one neighbour only; a single one has the ends of the range. Equal ones keep their order.
    """
    n = len(u)
    if n < 2:
        return np.maximum(u, 1.0 - u)
    order = np.argsort(u, axis=0, kind="stable")
    step = np.diff(np.take_along_axis(u, order, axis=0), axis=0)
    none = np.zeros((1, u.shape[1]))
    found = np.empty_like(u)
    np.put_along_axis(found, order, np.maximum(np.vstack([none, step]), np.vstack([step, none])), axis=0)
    return found


def narrowest(n: int) -> float:
    """The least width of a kernel among `n` observations."""
    return 1.0 / min(100.0, n + 2.0)


class Columns:
    """Columns by what they are: `lines`, `grids` and `kinds` are the places of each among them."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self.all = tuple(columns)
        self.at = np.array([c.at for c in columns], dtype=np.int64)
        self.lines = np.array([i for i, c in enumerate(columns) if c.count == 0], dtype=np.int64)
        self.grids = np.array([i for i, c in enumerate(columns) if c.grid], dtype=np.int64)
        self.kinds = np.array([i for i, c in enumerate(columns) if c.kinds], dtype=np.int64)
        self.numbers = np.array([i for i, c in enumerate(columns) if not c.kinds], dtype=np.int64)
        self.counts = np.array([columns[i].count for i in self.kinds], dtype=np.float64)

    def bins(self, x: Floats) -> tuple[Floats, Floats]:
        """Ends of the bins [m, G] of the grid columns of points `x` [m, D]."""
        low, high = np.empty((2, len(x), len(self.grids)))
        for k, i in enumerate(self.grids):
            low[:, k], high[:, k] = self.all[i].bins(x[:, i])
        return low, high

    def labels(self, x: Floats) -> Floats:
        """Numbers of the kinds [m, C] of points `x` [m, D]."""
        return np.floor(x[:, self.kinds] * self.counts)


class Parzen:
    """The estimator of observations `u` [n, D]; `weights` [n] by age unless given; `prior` counts as one of them."""

    def __init__(self, columns: Columns, u: Floats, weights: Floats | None = None) -> None:
        n = len(u)
        self.columns = columns
        self.n = n
        w = np.append(weights_by_age(n) if weights is None else weights, 1.0) if n else np.ones(1)
        self.weights = w / w.sum()
        numbers = u[:, columns.numbers]
        widths = np.clip(gaps(numbers), narrowest(n), 1.0)
        self._mu = np.full((n + 1, u.shape[1]), 0.5)
        self._sigma = np.ones((n + 1, u.shape[1]))
        self._mu[:n] = u
        self._sigma[:n, columns.numbers] = widths
        self._labels = np.full((n + 1, len(columns.kinds)), -1.0)
        self._labels[:n] = columns.labels(u)

    @cached_property
    def _constants(self) -> Floats:
        """What does not depend on the point in a kernel's log density [n + 1]."""
        c = self.columns
        found: Floats = np.log(self.weights) + constants(c, self._mu, self._sigma, self.n)
        return found

    def log_density(self, x: Floats) -> Floats:
        """Log density [m] at points `x` [m, D] (on lines of the unit cube)."""
        c = self.columns
        bins, asked = [b[:, None] for b in c.bins(x)], c.labels(x)[:, None]
        logs = product(c, x[:, None], self._mu, self._sigma, bins, asked, self._labels, self.n)
        return log_sum(self._constants + logs)

    def sample(self, rng: Generator, m: int) -> Floats:
        """So many points [m, D]; on a grid in the middle of a bin."""
        from scipy.special import ndtr, ndtri

        c = self.columns
        picked = np.minimum(np.searchsorted(np.cumsum(self.weights), rng.random(m), side="right"), self.n)
        x = np.empty((m, len(c.all)))
        mu, sigma = self._mu[picked][:, c.numbers], self._sigma[picked][:, c.numbers]
        low, high = ndtr(-mu / sigma), ndtr((1.0 - mu) / sigma)
        at = low + (high - low) * rng.random(mu.shape)
        x[:, c.numbers] = np.clip(mu + sigma * ndtri(np.clip(at, 1e-300, 1.0 - 1e-16)), 0.0, 1.0)
        for i in c.grids:
            x[:, i] = c.all[i].snap(x[:, i])
        if len(c.kinds):
            share = c.counts / (self.n + 1 + c.counts)
            labels = self._labels[picked]
            anything = (rng.random(labels.shape) < share) | (labels < 0)
            drawn = np.floor(rng.random(labels.shape) * c.counts)
            x[:, c.kinds] = (np.where(anything, drawn, labels) + 0.5) / c.counts
        return x


def constants(c: Columns, mu: Floats, sigma: Floats, n: int) -> Floats:
    """The part of log kernels [k] that no point changes; the last row of `mu`, `sigma` [k, D] may be the prior's."""
    from scipy.special import ndtr

    m, s = mu[:, c.numbers], sigma[:, c.numbers]
    inside = np.log(ndtr((1.0 - m) / s) - ndtr(-m / s)).sum(axis=1)
    spread = (np.log(sigma[:, c.lines]) + HALF_LOG_2PI).sum(axis=1)
    found: Floats = -(inside + spread + np.log1p(c.counts / (n + 1)).sum())
    return found


def product(
    c: Columns, x: Floats, mu: Floats, sigma: Floats, bins: Sequence[Floats], asked: Floats, labels: Floats, n: int
) -> Floats:  # fmt: skip
    """The part of log kernels that depends on the point, over the last axis of arrays that broadcast.

    `asked`, `labels`: kinds of the point and of the kernel, the latter -1 for the prior's. `n`: observations.
    """
    z = (x[..., c.lines] - mu[..., c.lines]) / sigma[..., c.lines]
    logs: Floats = -0.5 * np.einsum("...i,...i->...", z, z)
    if len(c.grids):
        m, s = mu[..., c.grids], sigma[..., c.grids]
        logs = logs + log_mass((bins[0] - m) / s, (bins[1] - m) / s).sum(axis=-1)
    if len(c.kinds):
        other = log(1.0 / (n + 1))
        match = np.log1p(1.0 / (n + 1))
        # the prior's kernel has 1 / count, which `constants` divides by 1 + count / (n + 1)
        prior = np.log1p(c.counts / (n + 1)) - np.log(c.counts)
        logs = logs + np.where(labels < 0, prior, np.where(asked == labels, match, other)).sum(axis=-1)
    return logs


def log_mass(a: Floats, b: Floats) -> Floats:
    """Log of the standard normal's mass between `a` and `b`, exact in the tails; -inf where it is below 1e-308."""
    from scipy.special import ndtr

    right = a > 0
    low, high = np.where(right, -b, a), np.where(right, -a, b)
    with np.errstate(divide="ignore"):
        found: Floats = np.log(ndtr(high) - ndtr(low))
    return found


def log_sum(logs: Floats) -> Floats:
    """log Σ exp over the last axis; -inf where all are."""
    top = logs.max(axis=-1)
    top = np.where(np.isneginf(top), 0.0, top)
    with np.errstate(divide="ignore"):
        found: Floats = np.log(np.exp(logs - top[..., None]).sum(axis=-1)) + top
    return found
