"""A Gaussian process over config × resource: fit, posterior with pending rows, expected improvement.

Rows are (features of a config, rung). The covariance is k_x · scale[r, r'] + shift[r, r'] of a family of `curves`,
k_x a Matérn-5/2 with one length scale a parameter. Hyperparameters are climbed to the mode of their posterior by
sign-gradient steps, as in `gp`; the gradient by what belongs to rungs goes through sums over pairs of rungs, so that a
family has no derivatives to write down.

Sources: Klein, Tiao, Lienart, Archambeau, Seeger (2020), arXiv:2003.10865; Rasmussen and Williams (2006), 5.4.1;
Snoek, Larochelle, Adams (2012), NeurIPS, fantasies of pending rows; Riedmiller and Braun (1993), Rprop.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from searchd.searchers import definite, gp
from searchd.searchers.curves import Family, Tables

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

NUDGE = 1e-4
"""Step of the differences of a family's tables: they are smooth, of order 1, and exact to 1e-16."""
LENGTH_SD, SIGNAL_SD, NOISE_SD, NOISE_MEAN = 0.8, 1.0, 1.5, math.log(0.01)
"""Of the priors over the logarithms of length scales, signal and noise."""


@dataclass(frozen=True, slots=True)
class Fit:
    """`base`: lengths, signal and noise of k_x; `family` [p]: the parameters of the family; `pace`, `slope`: see
    `gp.Hyper`, over both."""

    base: gp.Hyper
    family: Floats
    pace: Floats
    slope: Floats | None = None


@dataclass(frozen=True, slots=True)
class Data:
    """Rows: `x` [n, d] features, `rung` [n], `y` [n] targets, about standardised."""

    x: Floats
    rung: Ints
    y: Floats


def start(curves: Family, groups: int, active: float) -> Fit:
    """Where the first climb begins: at the modes of the priors."""
    base = gp.start(groups, active)
    base.theta[-1] = NOISE_MEAN
    return Fit(base, curves.start.copy(), np.concatenate([base.pace, np.full(len(curves.start), base.pace[0])]))


def climb(fit: Fit, data: Data, curves: Family, groups: Ints, steps: int) -> Fit:
    """`steps` sign-gradient steps up the log posterior of the hyperparameters (Rprop with the bounds of `gp`)."""
    for _ in range(steps):
        slope = gradient(fit, data, curves, groups)
        pace = fit.pace
        if fit.slope is not None:
            pace = np.clip(pace * np.where(slope * fit.slope > 0, 1.3, 0.5), 0.01, 0.4)
        move = np.sign(slope) * pace
        g = len(fit.base.theta)
        theta = fit.base.theta + move[:g]
        theta[:-2] = np.clip(theta[:-2], *np.log(gp.LENGTH))
        theta[-2] = np.clip(theta[-2], *np.log(gp.SIGNAL))
        theta[-1] = np.clip(theta[-1], *np.log(gp.NOISE))
        family = np.clip(fit.family + move[g:], curves.low, curves.high)
        fit = Fit(replace(fit.base, theta=theta), family, pace, slope)
    return fit


def log_posterior(fit: Fit, data: Data, curves: Family, groups: Ints) -> float:
    """What `climb` climbs: log evidence and log prior, up to a constant."""
    tables = curves.tables(fit.family)
    k = covariance(fit, tables, groups, data.x, data.rung, data.x, data.rung)
    k[np.diag_indices(len(k))] += fit.base.noise + gp.NUGGET
    lower = np.linalg.cholesky(k)
    white = np.linalg.solve(lower, data.y - tables.mean[data.rung])
    evidence = -0.5 * float(white @ white) - float(np.log(np.diag(lower)).sum())
    off = np.concatenate([(fit.base.theta - _means(fit)) / _sds(fit), (fit.family - curves.start) / curves.sd])
    return evidence - 0.5 * float(off @ off)


def gradient(fit: Fit, data: Data, curves: Family, groups: Ints) -> Floats:
    """The gradient of `log_posterior` [g + 2 + p]: lengths, signal, noise, family."""
    n, base = len(data.x), fit.base
    tables = curves.tables(fit.family)
    shrunk = data.x * np.exp(-base.theta[groups])
    root = _roots(shrunk, shrunk)
    decay = base.signal * np.exp(-root)
    config = (1 + root + root * root / 3) * decay
    scale = tables.scale[np.ix_(data.rung, data.rung)]
    k = config * scale + tables.shift[np.ix_(data.rung, data.rung)]
    k[np.diag_indices(n)] += base.noise + gp.NUGGET
    inverse = definite.inverse(k)
    alpha = inverse @ (data.y - tables.mean[data.rung])
    weight = np.outer(alpha, alpha) - inverse  # d evidence = 1/2 tr(weight dK)
    signal = weight * config
    pull = weight * scale * (5 / 3 * (1 + root) * decay)
    by_column = (shrunk * shrunk * pull.sum(axis=1)[:, None]).sum(axis=0) - ((pull @ shrunk) * shrunk).sum(axis=0)
    slope = np.empty(len(base.theta))
    slope[:-2] = np.bincount(groups, by_column, minlength=len(slope) - 2)
    slope[-2] = 0.5 * float((signal * scale).sum())
    slope[-1] = 0.5 * float(np.trace(weight)) * base.noise
    slope -= (base.theta - _means(fit)) / _sds(fit) ** 2
    member = np.zeros((n, len(tables.mean)))
    member[np.arange(n), data.rung] = 1.0
    by_scale, by_shift = (0.5 * member.T @ part @ member for part in (signal, weight))
    by_mean = alpha @ member
    of_family = np.empty(len(fit.family))
    for i in range(len(of_family)):
        up, down = fit.family.copy(), fit.family.copy()
        up[i], down[i] = up[i] + NUDGE, down[i] - NUDGE
        high, low = curves.tables(up), curves.tables(down)
        rise = float((by_scale * (high.scale - low.scale)).sum() + (by_shift * (high.shift - low.shift)).sum())
        of_family[i] = (rise + float(by_mean @ (high.mean - low.mean))) / (2 * NUDGE)
    of_family -= (fit.family - curves.start) / curves.sd**2
    return np.concatenate([slope, of_family])


def covariance(fit: Fit, tables: Tables, groups: Ints, a: Floats, at: Ints, b: Floats, bt: Ints) -> Floats:
    """Covariances of the signal between rows `a` [n, d] at rungs `at` [n] and `b` [m, d] at `bt` [m]: [n, m]."""
    pairs = np.ix_(at, bt)
    return np.asarray(gp.kernel(a, b, fit.base, groups) * tables.scale[pairs] + tables.shift[pairs])


class JointPosterior:
    """After `data`, and with rows `pending` (x [p, d], rung [p]) whose targets are `draws` [p, J] of their joint
    posterior, one column a fantasy; J = 1 and their means without `normals` [p, J] (the kriging believer)."""

    def __init__(
        self, fit: Fit, data: Data, curves: Family, groups: Ints, pending: tuple[Floats, Ints], normals: Floats | None
    ) -> None:
        self._fit, self._groups = fit, groups
        self._tables = curves.tables(fit.family)
        n = len(data.x)
        self._x = np.vstack([data.x, pending[0]])
        self._rung = np.concatenate([data.rung, pending[1]])
        k = self._covariance(self._x, self._rung)
        k[np.diag_indices(len(k))] += fit.base.noise + gp.NUGGET
        self._whiten = definite.whitening(k)
        white = self._whiten[:n, :n].T @ (data.y - self._tables.mean[data.rung])
        tail = np.zeros((len(pending[0]), 1)) if normals is None else normals
        # a pending target is mean + lower22 · normal, so its whitened residual is the normal itself
        whole = np.vstack([np.repeat(white[:, None], tail.shape[1], axis=1), tail])
        self._alpha = self._whiten @ whole

    def at(self, x: Floats, rung: int) -> tuple[Floats, Floats]:
        """Means [m, J] and standard deviations [m] of configs `x` [m, d] at a rung, without noise."""
        where = np.full(len(x), rung, dtype=np.intp)
        cross = self._covariance(x, where)
        mean = self._tables.mean[rung] + cross @ self._alpha
        own = self._fit.base.signal * self._tables.scale[rung, rung] + self._tables.shift[rung, rung]
        left = own - definite.lengths(cross, self._whiten)
        return mean, np.sqrt(np.maximum(left, gp.LEAST_VARIANCE))

    def _covariance(self, x: Floats, rung: Ints) -> Floats:
        return covariance(self._fit, self._tables, self._groups, x, rung, self._x, self._rung)


def expected_improvement(mean: Floats, sd: Floats, best: Floats | float) -> Floats:
    """EI below `best`: (b − m) Φ(z) + s φ(z), z = (b − m) / s; broadcasts."""
    z = (best - mean) / sd
    density = np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
    return np.asarray(sd * (z * _phi(z) + density))


def _phi(z: Floats) -> Floats:
    """The normal distribution function, exact in the tails."""
    return np.asarray(0.5 * _erfc(-z / math.sqrt(2)), dtype=np.float64)


_erfc = np.frompyfunc(math.erfc, 1, 1)


def _means(fit: Fit) -> Floats:
    """Means of the normal priors over the logarithms of lengths, signal and noise [g + 2]."""
    means = np.full(len(fit.base.theta), fit.base.typical)
    means[-2:] = (0.0, NOISE_MEAN)
    return means


def _sds(fit: Fit) -> Floats:
    """Their standard deviations [g + 2]."""
    sds = np.full(len(fit.base.theta), LENGTH_SD)
    sds[-2:] = (SIGNAL_SD, NOISE_SD)
    return sds


def _roots(a: Floats, b: Floats) -> Floats:
    square = (a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1)[None] - 2 * (a @ b.T)
    return np.asarray(np.sqrt(5 * np.maximum(square, 0.0)))
