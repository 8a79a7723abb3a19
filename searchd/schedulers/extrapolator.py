"""How a trial will end, from how far it got: a pure function of the losses at the rungs, with no idea of configs.

From one rung to the next the losses of all trials are regressed, the good trials counting more, towards "nothing
changes" while there are few; chained up to the top, this gives each trial a normal distribution of its final loss. A
rung that says nothing gets a slope near 0 and a great variance: all trials there look alike, so nobody is given up on
its account and a model gives it no weight. That is how far short runs can be trusted, learned while the search runs.

Losses are warped first, so that the good end has a resolution and the bad tail none to speak of: linear from the best
(-1) to the median (0), logarithmic above. A diverged trial is as bad as the worst that is finite.

The arithmetic is RESEARCH.md's, part 2, 1a; a bound that is broken counts as a loss above all feasible ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SPREAD = 0.5
"""Before there are pairs of rungs: the share of the spread of all trials that one rung may still change, as sd."""
SLOPE_SD = 0.5
"""The prior of a slope: normal around 1."""
TINY = 1e-3


@dataclass(frozen=True, slots=True)
class Merit:
    """One number for a loss and how far it breaks bounds: feasible losses as they are, all others above them.

    `top`: the worst feasible loss; `unit`: what a violation of 1 adds; `feasible`: whether any loss counts at all.
    """

    top: float = 0.0
    unit: float = 1.0
    feasible: bool = True

    @classmethod
    def of(cls, loss: Floats, violation: Floats) -> Merit:
        """From all that was reported: losses and violations of one shape, NaN where there is none."""
        broken = violation[(violation > 0) & np.isfinite(violation)]
        if not len(broken):
            return cls()
        kept = loss[(violation == 0) & np.isfinite(loss)]
        if not len(kept):
            return cls(feasible=False)
        spread = float(kept.max() - kept.min()) or abs(float(kept.max())) or 1.0
        return cls(float(kept.max()), spread / float(np.median(broken)))

    def __call__(self, loss: Floats, violation: Floats) -> Floats:
        """Elementwise; +inf where diverged, NaN where there is nothing."""
        if not self.feasible:
            return np.where(np.isfinite(loss), violation, loss)
        return np.where(violation > 0, self.top + self.unit * violation, loss)

    def one(self, loss: float, violation: float) -> float:
        """The same of one trial."""
        if not self.feasible:
            return violation if math.isfinite(loss) else loss
        return self.top + self.unit * violation if violation > 0 else loss


@dataclass(frozen=True, slots=True)
class Extrapolation:
    """The chain as fitted. `median`, `scale`, `worst`: the warp. A trial whose warped loss at rung k is z ends at a
    warped loss with mean `offset[k] + slope[k] z` and variance `variance[k]`."""

    median: float
    scale: float
    worst: float
    offset: tuple[float, ...]
    slope: tuple[float, ...]
    variance: tuple[float, ...]
    best: float
    """The least mean of all trials."""

    def warp(self, values: Floats) -> Floats:
        """Merits to warped ones, NaN to NaN, diverged ones to the worst."""
        z = (np.where(values == np.inf, self.worst, values) - self.median) / self.scale
        return np.where(z > 0, np.log1p(np.maximum(z, 0.0)), z)

    def unwarp(self, z: Floats) -> Floats:
        """The merits of warped ones."""
        return np.asarray(self.median + self.scale * np.where(z > 0, np.expm1(np.minimum(z, 50.0)), z))

    def final(self, value: float, rung: int) -> float:
        """The mean of the final warped merit of a trial with this merit at a rung."""
        z = ((self.worst if value == math.inf else value) - self.median) / self.scale
        return self.offset[rung] + self.slope[rung] * (math.log1p(z) if z > 0 else z)

    def finals(self, values: Floats) -> tuple[Floats, Floats]:
        """Mean and variance of each trial's final warped merit, from its deepest rung: [n] each, for `values` [n, K].

        NaN for a trial without any.
        """
        return _finals(self.warp(values), np.array(self.offset), np.array(self.slope), np.array(self.variance))


def extrapolate(values: Floats) -> Extrapolation:
    """The chain for merits `values` [n, K] at the rungs, lowest first: NaN not reached, +inf diverged."""
    rungs = values.shape[1]
    entered = ~np.isnan(values)
    rows = np.flatnonzero(entered.any(axis=1))
    last = rungs - 1 - entered[rows, ::-1].argmax(axis=1) if len(rows) else rows
    ends = values[rows, last]
    low, median, worst = _summary(ends[np.isfinite(ends)])
    chain = Extrapolation(median, max(median - low, _least_scale(median)), worst, (), (), (), 0.0)
    z = chain.warp(values)
    reached = z[rows, last]
    spread = (float(reached.std()) if len(rows) else 1.0) + TINY
    offset, slope, variance = np.zeros(rungs), np.ones(rungs), np.zeros(rungs)
    for k in range(rungs - 2, -1, -1):
        both = np.flatnonzero(entered[:, k] & entered[:, k + 1])
        a, b, rest = _step(z[both, k], z[both, k + 1], spread)
        offset[k] = offset[k + 1] + slope[k + 1] * a
        variance[k] = variance[k + 1] + slope[k + 1] ** 2 * rest
        slope[k] = slope[k + 1] * b
    best = float((offset[last] + slope[last] * reached).min()) if len(rows) else 0.0
    return Extrapolation(
        chain.median, chain.scale, chain.worst, tuple(offset.tolist()), tuple(slope.tolist()),
        tuple(variance.tolist()), best,
    )  # fmt: skip


def _step(u: Floats, w: Floats, spread: float) -> tuple[float, float, float]:
    """The regression from one rung `u` to the next `w`: intercept, slope, variance of what is left."""
    rest = (SPREAD * spread) ** 2
    n = len(u)
    if not n:
        return 0.0, 1.0, rest
    weight = np.exp(-0.5 * (w - w.min()) / spread)
    weight *= n / weight.sum()
    mean_u, mean_w = float((weight * u).sum()) / n, float((weight * w).sum()) / n
    prior = max(rest / SLOPE_SD**2, 1e-9)
    off = u - mean_u
    pulled = weight * off
    slope = max(0.0, (float(pulled @ (w - mean_w)) + prior) / (float(pulled @ off) + prior))
    intercept = mean_w - slope * mean_u
    left = w - intercept - slope * u
    rest = (0.5 * rest + float(weight @ (left * left))) / (1 + n) * (1 + 1 / n)
    return intercept, slope, rest


def _summary(values: Floats) -> tuple[float, float, float]:
    """The least, the median and the greatest of finite values; a scale of 1 where there are none."""
    if not len(values):
        return -1.0, 0.0, 0.0
    ordered, half = np.sort(values), len(values) // 2
    median = ordered[half] if len(values) % 2 else (ordered[half - 1] + ordered[half]) / 2
    return float(ordered[0]), float(median), float(ordered[-1])


def _finals(z: Floats, offset: Floats, slope: Floats, variance: Floats) -> tuple[Floats, Floats]:
    entered = ~np.isnan(z)
    some = entered.any(axis=1)
    last = z.shape[1] - 1 - entered[:, ::-1].argmax(axis=1)
    means = offset[last] + slope[last] * z[np.arange(len(z)), last]
    return np.where(some, means, np.nan), np.where(some, variance[last], np.nan)


def _least_scale(median: float) -> float:
    """Losses that are all equal still need a unit; one that their digits can hold."""
    return max(1e-12, 1e-12 * abs(median))
