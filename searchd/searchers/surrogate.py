"""The model of `auto`: a Gaussian process over configs of how each trial will end, as sure as its rung makes it.

Every trial that reached a rung is one row: its target is the extrapolated final loss, its noise the variance of that.
So a short run counts as much as short runs have proved to be worth. Of many rows, a hundred are kept: the best half
with half a standard deviation of doubt, a quarter of the most certain, the newest for the rest. Trials that have not
reported take away uncertainty where they are, and change no mean.

Source: RESEARCH.md, part 2, 1c.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from searchd.schedulers.extrapolator import Extrapolation, Merit, extrapolate
from searchd.searchers import gp
from searchd.searchers.ranks import Ranks

Floats = NDArray[np.float64]

LEAST = 4
"""Fewer trials with a loss give no model."""
MOST = 100
"""More rows are thinned out."""
BIAS = 0.5
"""The share of a short run's doubt that is alike for similar configs; the rest is noise."""
FIRST_STEPS, MORE_STEPS, REFIT = 25, 3, 1.12
"""Steps of the first climb; of later ones, each time there are so many times the rows."""


@dataclass(frozen=True, slots=True)
class Ends:
    """How trials will end, for one loss: `rows` of the table, mean and variance of each [n], warped by `chain`."""

    rows: NDArray[np.intp]
    mean: Floats
    variance: Floats
    chain: Extrapolation


@dataclass(frozen=True, slots=True)
class Climbed:
    """Hyperparameters and the number of rows that they were last fitted to."""

    hyper: gp.Hyper
    rows: int = 0


@dataclass(frozen=True, slots=True)
class Surrogate:
    """A posterior over standardised final losses: loss = `center` + `spread` · prediction, warped by `chain`, and by
    `ranks` after that where there are some. `rows`: the table's rows that it was built from, `x` their features."""

    posterior: gp.Posterior
    rows: NDArray[np.intp]
    x: Floats
    center: float
    spread: float
    chain: Extrapolation
    ranks: Ranks | None = None

    def explained(self) -> float:
        """The share of the targets' variance that the model explains when each row is left out in turn (predictive
        R²): 1 at best, 0 like their mean, negative below that."""
        known = self.posterior.targets
        return 1 - float(np.square(known - self.posterior.left_out()).mean() / max(float(known.var()), 1e-12))

    def means(self) -> Floats:
        """Predicted means of the rows."""
        return self.posterior.mean(self.posterior.covariances(self.x))

    def losses(self, standard: Floats) -> Floats:
        """Predictions [...] as losses."""
        warped = self.center + self.spread * standard
        return self.chain.unwarp(warped if self.ranks is None else self.ranks.losses(warped))


def ends(loss: Floats, violation: Floats) -> Ends:
    """From one loss and the violations of bounds, at the rungs [n, K] each: NaN where nothing is known."""
    values = Merit.of(loss, violation)(loss, violation)
    chain = extrapolate(values)
    mean, variance = chain.finals(values)
    rows = np.flatnonzero(~np.isnan(mean))
    return Ends(rows, mean[rows], variance[rows], chain)


def surrogate(
    found: Ends, worth: Floats, x: Floats, pending: NDArray[np.intp], groups: NDArray[np.intp], climbed: Climbed,
    ranked: bool = False,
) -> tuple[Surrogate, Climbed]:  # fmt: skip
    """The model of what was `found`, over feature rows `x` [≥ n, d], and the hyperparameters to go on from.

    `worth` [n]: which trials to keep when there are too many, the least first. `ranked`: losses as scores of ranks.
    """
    keep = thinned(worth, found.variance)
    rows, mean, variance = found.rows[keep], found.mean[keep], found.variance[keep]
    ranks = Ranks(found.mean) if ranked else None
    if ranks is not None:
        sd = np.sqrt(variance)
        variance = 0.25 * (ranks.scores(mean + sd) - ranks.scores(mean - sd)) ** 2
        mean = ranks.scores(mean)
    center, spread = float(mean.mean()), float(mean.std()) + 1e-6
    y, doubt = (mean - center) / spread, variance / spread**2
    noise, bias = (1 - BIAS) * doubt, BIAS * doubt
    at = x[rows]
    total = len(found.rows)
    steps = FIRST_STEPS if not climbed.rows else MORE_STEPS if total >= REFIT * climbed.rows else 0
    if steps:
        climbed = Climbed(gp.climb(climbed.hyper, at, y, noise, groups, steps, bias), total)
    posterior = gp.Posterior(climbed.hyper, at, y, noise, groups, x[pending], bias)
    return Surrogate(posterior, rows, at, center, spread, found.chain, ranks), climbed


def thinned(worth: Floats, variance: Floats) -> NDArray[np.intp]:
    """Which rows to model, of [n]: half by their worth (the least first), a quarter of the most certain, the newest."""
    n = len(worth)
    if n <= MOST:
        return np.arange(n)
    keep = np.zeros(n, dtype=bool)
    keep[np.argsort(worth, kind="stable")[: MOST // 2]] = True
    rest = np.flatnonzero(~keep)
    keep[rest[np.argsort(variance[rest], kind="stable")[: MOST // 4]]] = True
    rest = np.flatnonzero(~keep)
    keep[rest[int(keep.sum()) - MOST :]] = True
    return np.flatnonzero(keep)
