"""A Gaussian process in NumPy: Matérn-5/2 with one length scale a parameter, known noise a row, unknown noise for all.

The kernel may be the sum of two, over the columns before and from `Hyper.cut`: two things that both count, each alone.

The mean is zero and the targets are expected to be about standardised. Hyperparameters are the mode of their posterior
under log-normal priors, climbed by sign-gradient steps (Rprop): a few steps from the last fit suffice when a few rows
came, and each step costs one inversion. Deterministic: no draws, no restarts.

Sources: Rasmussen and Williams (2006), Gaussian Processes for Machine Learning, 2.2, 5.4.1 (equation 5.9: the
gradient); Riedmiller and Braun (1993), Rprop; priors wide around half the typical distance between configs, which
grows with the root of their dimension (Hvarfner, Hellsten, Nardi, 2024, ICML).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from searchd.searchers import definite

Floats = NDArray[np.float64]

LENGTH = (0.05, 20.0)
SIGNAL = (math.exp(-3), math.exp(3))
NOISE = (1e-4, 1.0)
"""Bounds of the length scales, of the variance of the signal, and of the noise that all rows share."""
NUGGET = 1e-6
"""Added to the diagonal: keeps it positive definite with equal rows."""
LEAST_VARIANCE = 1e-8
_ROOT5 = math.sqrt(5.0)

_FIRST_STEP, _STEPS, _FASTER, _SLOWER = 0.15, (0.01, 0.4), 1.3, 0.5
_LENGTH_SD, _SIGNAL_SD, _NOISE_MEAN, _NOISE_SD = 0.8, 1.0, math.log(0.02), 1.5
"""Standard deviations of the priors over the logarithms, and the mean of the noise's."""


@dataclass(frozen=True, slots=True)
class Hyper:
    """Logarithms of the hyperparameters, and where the climb stands.

    `theta` [g + b + 1]: length scales [g], variance of the signal of each of the b kernels in the sum, noise.
    `typical`: the log of the prior's length scale. `cut`: the second kernel's first column; None: there is but one.
    `pace`, `slope` [g + b + 1]: the step sizes and the last gradient of the climb; no slope before the first step.
    """

    theta: Floats
    typical: float
    pace: Floats
    slope: Floats | None = None
    cut: int | None = None

    @property
    def g(self) -> int:
        """How many length scales there are."""
        return len(self.theta) - (2 if self.cut is None else 3)

    @property
    def lengths(self) -> Floats:
        """The length scale of each parameter [g]."""
        return np.asarray(np.exp(self.theta[: self.g]))

    @property
    def signals(self) -> tuple[float, ...]:
        """The variance of each kernel's signal [b]."""
        return tuple(math.exp(t) for t in self.theta[self.g : -1].tolist())

    @property
    def signal(self) -> float:
        """The variance of the whole signal."""
        return sum(self.signals)

    @property
    def blocks(self) -> tuple[slice, ...]:
        """The columns of each kernel [b]."""
        return (slice(None),) if self.cut is None else (slice(self.cut), slice(self.cut, None))

    @property
    def noise(self) -> float:
        """The variance of the noise that all rows share."""
        return math.exp(self.theta[-1])


def start(groups: int, active: float | None = None, cut: int | None = None, more: int = 0) -> Hyper:
    """Where the first climb begins: at the modes of the priors. `active`: how many of the `groups` parameters an
    average config has switched on; `more` groups are in a second kernel, over the columns from `cut` on."""
    typical = math.log(0.5 * math.sqrt(max(groups if active is None else active, 1.0) / 3))
    blocks = 1 if cut is None else 2
    theta = np.concatenate([[typical] * (groups + more), [-math.log(blocks)] * blocks, [_NOISE_MEAN]])
    return Hyper(theta, typical, np.full(len(theta), _FIRST_STEP), cut=cut)


def kernel(a: Floats, b: Floats, hyper: Hyper, groups: NDArray[np.intp]) -> Floats:
    """Covariances of the signal between rows `a` [n, d] and `b` [m, d]: [n, m]. `groups` [d]: parameter of a column."""
    stretch = _stretch(hyper, groups)
    return _summed(hyper, a * stretch, b * stretch)


def climb(
    hyper: Hyper, x: Floats, y: Floats, noise: Floats, groups: NDArray[np.intp], steps: int, bias: Floats | None = None
) -> Hyper:
    """`steps` sign-gradient steps up the log posterior of the hyperparameters, given rows `x` [n, d], targets `y` [n]
    and the known noise of each row `noise` [n] (variances). `bias` [n]: see `Posterior`."""
    for _ in range(steps):
        slope = gradient(hyper, x, y, noise, groups, bias)
        pace = hyper.pace
        if hyper.slope is not None:
            pace = np.clip(pace * np.where(slope * hyper.slope > 0, _FASTER, _SLOWER), *_STEPS)
        theta = hyper.theta + np.sign(slope) * pace
        theta[: hyper.g] = np.clip(theta[: hyper.g], *np.log(LENGTH))
        theta[hyper.g : -1] = np.clip(theta[hyper.g : -1], *np.log(SIGNAL))
        theta[-1] = np.clip(theta[-1], *np.log(NOISE))
        hyper = replace(hyper, theta=theta, pace=pace, slope=slope)
    return hyper


def log_posterior(
    hyper: Hyper, x: Floats, y: Floats, noise: Floats, groups: NDArray[np.intp], bias: Floats | None = None
) -> float:
    """What `climb` climbs: log evidence and log prior, up to a constant."""
    k = kernel(x, x, hyper, groups)
    if bias is not None:
        k *= 1 + np.minimum.outer(bias, bias) / hyper.signal
    k[np.diag_indices(len(x))] += noise + hyper.noise + NUGGET
    lower = np.linalg.cholesky(k)
    white = np.linalg.solve(lower, y)
    evidence = -0.5 * float(white @ white) - float(np.log(np.diag(lower)).sum())
    off = hyper.theta - _prior_means(hyper)
    return evidence - 0.5 * float((off**2 / _prior_variances(hyper)).sum())


def gradient(
    hyper: Hyper, x: Floats, y: Floats, noise: Floats, groups: NDArray[np.intp], bias: Floats | None = None
) -> Floats:
    """The gradient of `log_posterior` by the hyperparameters' logarithms: [g + b + 1]."""
    n = len(x)
    rows = x * _stretch(hyper, groups)
    parts: list[tuple[Floats, Floats, Floats]] = []
    for columns, variance in zip(hyper.blocks, hyper.signals, strict=True):
        root = _distances(rows[:, columns], rows[:, columns])
        decay = variance * np.exp(-root)
        parts.append((root, decay, (1 + root + root * root / 3) * decay))
    k = parts[0][2].copy()
    for _, _, signal in parts[1:]:
        k += signal
    whole = k.copy() if len(parts) > 1 and bias is not None else k
    more: Floats | None = None
    if bias is not None:
        more = 1 + np.minimum.outer(bias, bias) / hyper.signal
        k *= more
        for _, decay, _ in parts:
            np.multiply(decay, more, out=decay)
    k[np.diag_indices(n)] += noise + hyper.noise + NUGGET
    inverse = definite.inverse(k)
    alpha = inverse @ y
    weight = np.outer(alpha, alpha) - inverse  # d evidence = 1/2 tr(weight dK)
    slope, by_column = np.empty(len(hyper.theta)), []
    for i, (root, decay, signal) in enumerate(parts):
        here = rows[:, hyper.blocks[i]]
        pull = weight * ((1 + root) * decay / 3)  # dK / d log length of a column = (1 + root) decay / 3 × its root²
        by_column.append(pull.sum(axis=1) @ (here * here) - ((pull @ here) * here).sum(axis=0))
        if len(parts) > 1 and more is not None:  # the bias follows the whole signal: d (1 + bias / signal) counts too
            change = signal * more - whole * (hyper.signals[i] / hyper.signal) * (more - 1)
        else:
            change = signal
        slope[hyper.g + i] = 0.5 * (weight * change).sum()
    slope[: hyper.g] = np.bincount(groups, np.concatenate(by_column), minlength=hyper.g)
    slope[-1] = 0.5 * np.trace(weight) * hyper.noise
    return slope - (hyper.theta - _prior_means(hyper)) / _prior_variances(hyper)


class Posterior:
    """What the process says after rows `x` [n, d] with targets `y` [n] and known noise [n].

    `bias` [n]: variances of what the targets are off by besides, not each on its own but alike where rows are alike: a
    process with the kernel's correlations. Of two rows the lesser one counts for both (what is wrong with a good
    approximation is wrong with a worse one too). `pending` [p, d]: rows that are being tried: they take away
    uncertainty around them, and the mean stays as it is.
    """

    def __init__(
        self, hyper: Hyper, x: Floats, y: Floats, noise: Floats, groups: NDArray[np.intp],
        pending: Floats | None = None, bias: Floats | None = None,
    ) -> None:  # fmt: skip
        self.hyper = hyper
        self._n = len(x)
        self._stretch = _stretch(hyper, groups)
        self._rows = (x if pending is None or not len(pending) else np.vstack([x, pending])) * self._stretch
        self._norms = [_norms(self._rows[:, at]) for at in hyper.blocks]
        k = self._covariances(self._rows)
        if bias is not None:
            k[: self._n, : self._n] *= 1 + np.minimum.outer(bias, bias) / hyper.signal
        known = np.zeros(len(k))
        known[: self._n] = noise
        k[np.diag_indices(len(k))] += known + hyper.noise + NUGGET
        self._whiten = definite.whitening(k)
        first = self._whiten[: self._n, : self._n]
        self._alpha = first @ (y @ first)
        self.targets = y

    def left_out(self) -> Floats:
        """What the process says of each row's target [n] when it is given all the others (Rasmussen and Williams,
        5.4.2, equation 5.12)."""
        first = self._whiten[: self._n, : self._n]
        return np.asarray(self.targets - self._alpha / (first * first).sum(axis=1))

    def covariances(self, a: Floats) -> Floats:
        """Of rows [m, d] with everything known or pending: [m, n + p]. What `mean` and `sd` take."""
        return self._covariances(a * self._stretch)

    def mean(self, covariances: Floats) -> Floats:
        """Posterior means [m]."""
        return np.asarray(covariances[:, : self._n] @ self._alpha)

    def sd(self, covariances: Floats) -> Floats:
        """Posterior standard deviations of the signal, without noise: [m]."""
        left: Floats = self.hyper.signal - definite.lengths(covariances, self._whiten)
        return np.sqrt(np.maximum(left, LEAST_VARIANCE))

    def _covariances(self, rows: Floats) -> Floats:
        return _summed(self.hyper, rows, self._rows, self._norms)


def _stretch(hyper: Hyper, groups: NDArray[np.intp]) -> Floats:
    """What columns are multiplied by, so that plain distances are the kernel's argument."""
    return np.asarray(_ROOT5 * np.exp(-hyper.theta[groups]))


def _distances(a: Floats, b: Floats, norms: Floats | None = None) -> Floats:
    """Between rows [n, d] and [m, d]: [n, m]; in place, for this is where the time goes. `norms`: squares of `b`'s."""
    found: Floats = a @ b.T
    found *= -2.0
    found += _norms(a)[:, None]
    found += _norms(b) if norms is None else norms
    np.maximum(found, 0.0, out=found)
    return np.sqrt(found, out=found)


def _norms(rows: Floats) -> Floats:
    """The square of each row's length [n], of rows [n, d]."""
    return np.asarray(np.einsum("ij,ij->i", rows, rows))


def _summed(hyper: Hyper, a: Floats, b: Floats, norms: Sequence[Floats] | None = None) -> Floats:
    """The kernel between stretched rows [n, d] and [m, d]. `norms`: squares of `b`'s, a kernel in the sum each."""
    found: Floats | None = None
    for i, (columns, variance) in enumerate(zip(hyper.blocks, hyper.signals, strict=True)):
        root = _distances(a[:, columns], b[:, columns], None if norms is None else norms[i])
        part = _matern(root, variance)
        found = part if found is None else np.add(found, part, out=found)
    assert found is not None
    return found


def _matern(root: Floats, signal: float) -> Floats:
    """signal (1 + r + r² / 3) exp(-r) of stretched distances."""
    found: Floats = root * (signal / 3)
    found += signal
    found *= root
    found += signal
    np.negative(root, out=root)
    found *= np.exp(root, out=root)
    return found


def _prior_means(hyper: Hyper) -> Floats:
    blocks = len(hyper.blocks)
    return np.concatenate([[hyper.typical] * hyper.g, [-math.log(blocks)] * blocks, [_NOISE_MEAN]])


def _prior_variances(hyper: Hyper) -> Floats:
    variances = np.full(len(hyper.theta), _SIGNAL_SD**2)
    variances[: hyper.g] = _LENGTH_SD**2
    variances[-1] = _NOISE_SD**2
    return variances
