"""What a candidate promises, by what models say of it: for one loss, and for a front of several.

One loss: expected improvement on a target below the best predicted mean. Two: the expected gain of dominated area,
exact for each of fixed nodes of what a candidate may turn out to be. More: the expected gain of dominated volume, as an
average over fixed directions: the volume that a front dominates is the mean over directions λ of
(max over its points of min over objectives of gain / λ)^m, so a candidate's share follows from how far it gets in each
direction, over fixed normal draws of what it may turn out to be. Exact in the limit for any number of objectives.

Source of the directions: Deng and Zhang (2019); Zhang and Golovin (2020), ICML, hypervolume scalarisations.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from statistics import NormalDist
from typing import Protocol

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from searchd.schedulers.front import non_dominated
from searchd.schedulers.improvement import log_improvement
from searchd.searchers.area import Staircase
from searchd.searchers.described import Described
from searchd.searchers.surrogate import Surrogate

Floats = NDArray[np.float64]
Predicted = tuple[Floats, Floats]
"""Means and standard deviations, standardised: [m, n] each for m losses."""

OPTIMISM, FRONT_OPTIMISM = 1.2, 0.2
"""The target is up to so many standard deviations of the losses below the best prediction."""
PARENTS, ABLE = 5, 10
BEST, OTHERS = 70, 20
"""Rating is dear for several losses: so many of the most promising candidates, and some others."""
DRAWS = 12
"""What a candidate may turn out to be."""
DIRECTIONS = {2: 24, 3: 36}
MORE_DIRECTIONS = 64
FAR = 30.0
"""The corner of the volume is at the worst loss, or where that is an outlier, so many times the distance from the best
to the median beyond the best."""


class Judge(Protocol):
    parents: NDArray[np.intp]
    """Rows of the table whose neighbourhood is worth a look, the best first."""
    able: NDArray[np.intp]
    """Rows that are worth keeping in part: `parents`, and perhaps more."""

    def predict(self, x: Floats) -> Predicted:
        """Of feature rows [n, d]."""
        ...

    looks: bool
    """Whether `look` tells anything that `predict` did not."""

    def look(self, units: Floats, predicted: Predicted) -> Predicted:
        """The prediction for points [n, width] with what their descriptions say in its place."""
        ...

    def closer(self, predicted: Predicted, belief: Floats, rng: Generator) -> NDArray[np.intp]:
        """Which of the candidates to rate. `belief` [n]: what is added to their rates."""
        ...

    def rate(self, predicted: Predicted, bold: float | Floats) -> Floats:
        """What each candidate promises [n], as a logarithm. `bold` in [0, 1], or [n]: how much is hoped for."""
        ...

    def rates(self, predicted: Predicted, bolds: Floats) -> Floats:
        """The same for several hopes `bolds` [k] at once: [k, n], or [1, n] where hope makes no difference."""
        ...


class OneLoss:
    def __init__(self, model: Surrogate) -> None:
        self._model = model
        means = model.means()
        self._least = float(means.min())
        self.able = model.rows[np.argsort(means, kind="stable")[:ABLE]]
        self.parents = self.able[:PARENTS]
        self.looks = False

    def look(self, units: Floats, predicted: Predicted) -> Predicted:  # noqa: ARG002
        return predicted

    def predict(self, x: Floats) -> Predicted:
        return _predict([self._model], x)

    def closer(self, predicted: Predicted, belief: Floats, rng: Generator) -> NDArray[np.intp]:  # noqa: ARG002
        return np.arange(len(belief))

    def rate(self, predicted: Predicted, bold: float | Floats) -> Floats:
        means, sds = predicted
        return log_improvement(means[0], sds[0], self._least - OPTIMISM * bold)

    def rates(self, predicted: Predicted, bolds: Floats) -> Floats:
        means, sds = predicted
        return log_improvement(means, sds, self._least - OPTIMISM * bolds[:, None])


class Front:
    """`models`: one a loss, None where `described` knows it. `reached` [r, m]: losses that count as attained, `rows`
    [r]: whose they are; `scale`: best and corner of the volume, [m] each. `pending` [p, d] and their `units`: what is
    being tried counts at its means."""

    def __init__(
        self, models: Sequence[Surrogate | None], described: Described, rows: NDArray[np.intp], reached: Floats,
        scale: tuple[Floats, Floats], pending: Floats, units: Floats,
    ) -> None:  # fmt: skip
        self._models = models
        self._described = described
        self._scale = scale
        self.looks = bool(described.at)
        self.parents = self.able = rows[non_dominated(reached)]
        self._power = len(models)
        if len(pending):
            means, _ = self.look(units, self.predict(pending))
            hoped = np.stack([self._losses(j, mean) for j, mean in enumerate(means)], axis=1)
            reached = np.vstack([reached, hoped[np.isfinite(hoped).all(axis=1)]])
        if self._power == 2:
            self._stairs = Staircase(reached, scale[1])
        else:
            self._floor = np.asarray(lengths(reached, scale).max(axis=0) ** self._power)

    def predict(self, x: Floats) -> Predicted:
        means, sds = np.empty((2, self._power, len(x)))
        guessed = self._described.guess(x).T if self._described.at else ()
        for j, values in zip(self._described.at, guessed, strict=True):
            means[j], sds[j] = values, 0.0
        for j, model in enumerate(self._models):
            if model is not None:
                (means[j],), (sds[j],) = _predict([model], x)
        return means, sds

    def look(self, units: Floats, predicted: Predicted) -> Predicted:
        means, sds = predicted
        if self._described.at:
            means = means.copy()
            means[list(self._described.at)] = self._described.losses(units).T
        return means, sds

    def closer(self, predicted: Predicted, belief: Floats, rng: Generator) -> NDArray[np.intp]:
        """The most promising by one draw, and some others."""
        score = self._gained(predicted, FRONT_OPTIMISM / 2, np.full((self._power, 1), -0.5), np.ones(1)) + belief
        best = np.argpartition(-score, BEST)[:BEST]
        return np.concatenate([best, rng.integers(len(belief), size=OTHERS)])

    def rate(self, predicted: Predicted, bold: float | Floats) -> Floats:
        if self._power == 2:
            return self._gained(predicted, 0.0, *_nodes(tuple(model is not None for model in self._models)))
        return self._gained(predicted, FRONT_OPTIMISM * bold, _draws(self._power), np.full(DRAWS, 1 / DRAWS))

    def rates(self, predicted: Predicted, bolds: Floats) -> Floats:
        if self._power == 2:
            return self.rate(predicted, 0.0)[None]
        return np.stack([self.rate(predicted, bold) for bold in bolds.tolist()])

    def _gained(self, predicted: Predicted, hope: float | Floats, draws: Floats, weights: Floats) -> Floats:
        means, sds = predicted
        turns = [
            self._losses(j, (means[j] - hope * (sds[j] > 0))[:, None] + sds[j][:, None] * draws[j])
            for j in range(self._power)
        ]
        if self._power == 2:
            return np.asarray(np.log(self._stairs.gain(*turns) @ weights + 1e-300))
        best, corner = self._scale
        directions = directions_of(self._power)
        least: Floats | None = None
        for j, losses in enumerate(turns):
            gain = np.maximum((corner[j] - losses) / (corner[j] - best[j]), 0.0)
            along = gain[:, :, None] / directions[:, j]
            least = along if least is None else np.minimum(least, along, out=least)
        assert least is not None
        volume = least.copy()
        for _ in range(self._power - 1):
            volume *= least
        volume -= self._floor
        gained = np.maximum(volume, 0.0, out=volume).mean(axis=2) @ weights
        return np.asarray(np.log(gained + 1e-300))

    def _losses(self, j: int, standard: Floats) -> Floats:
        model = self._models[j]
        return standard if model is None else model.losses(standard)


def scale_of(reached: Floats) -> tuple[Floats, Floats]:
    """Best value and corner of the volume for losses [r, m]: [m] each."""
    best, middle, worst = reached.min(axis=0), np.median(reached, axis=0), reached.max(axis=0)
    usual = best + FAR * (middle - best)
    corner = np.where(usual > best, np.minimum(worst, usual), worst)
    return best, np.where(corner > best, corner, best + np.maximum(np.abs(best), 1.0))


def lengths(reached: Floats, scale: tuple[Floats, Floats]) -> Floats:
    """How far losses [r, m] get from the corner in each direction: [r, L]."""
    best, corner = scale
    gain = np.maximum((corner - reached) / (corner - best), 0.0)
    found: Floats = (gain[:, None, :] / directions_of(reached.shape[1])).min(axis=2)
    return found


@lru_cache(maxsize=8)
def directions_of(m: int) -> Floats:
    """Fixed directions of the positive orthant, evenly spread: [L, m], of length 1, no entry 0."""
    if m == 2:
        angles = (np.arange(DIRECTIONS[2]) + 0.5) / DIRECTIONS[2] * math.pi / 2
        return np.stack([np.cos(angles), np.sin(angles)], axis=1)
    count = DIRECTIONS.get(m, MORE_DIRECTIONS)
    found = np.maximum(np.abs(_normals(count, m)), 1e-3)
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True))


@lru_cache(maxsize=8)
def _draws(m: int) -> Floats:
    """Fixed draws of m independent standard normals: [m, DRAWS]."""
    return _normals(DRAWS, m).T


EDGES = (-2.6, -1.9, -1.35, -0.9, -0.5, -0.1, 0.4, 1.0)
FEW_EDGES = (-1.6, -0.8, -0.2, 0.6)
"""Where the range of a loss is cut into nodes, in standard deviations: finer where it is good; for the second of two
unknown ones."""


@lru_cache(maxsize=4)
def _nodes(unknown: tuple[bool, bool]) -> tuple[Floats, Floats]:
    """What two losses may turn out to be: normals [2, k] and their weights [k], the mean of each part of the range."""
    normal = NormalDist()
    nodes, weights = [], []
    for j, is_unknown in enumerate(unknown):
        cuts = () if not is_unknown else FEW_EDGES if j and unknown[0] else EDGES
        mass = np.diff([0.0, *(normal.cdf(cut) for cut in cuts), 1.0])
        nodes.append(-np.diff([0.0, *(normal.pdf(cut) for cut in cuts), 0.0]) / mass)
        weights.append(mass)
    first, second = len(weights[0]), len(weights[1])
    both = np.stack([np.repeat(nodes[0], second), np.tile(nodes[1], first)])
    return both, np.repeat(weights[0], second) * np.tile(weights[1], first)


def _normals(n: int, m: int) -> Floats:
    """A low-discrepancy set of normals [n, m]: Halton's sequence, and an even grid in the first column."""
    inverse = NormalDist().inv_cdf
    primes = [p for p in range(2, 100) if all(p % q for q in range(2, p))][: m - 1]
    uniform = [[(i + 0.5) / n, *(_radical(i + 1, p) for p in primes)] for i in range(n)]
    return np.array([[inverse(u) for u in row] for row in uniform])


def _radical(i: int, base: int) -> float:
    found, share = 0.0, 1.0
    while i:
        share /= base
        found += share * (i % base)
        i //= base
    return found


def _predict(models: Sequence[Surrogate], x: Floats) -> Predicted:
    covariances = [(model.posterior, model.posterior.covariances(x)) for model in models]
    return np.stack([p.mean(k) for p, k in covariances]), np.stack([p.sd(k) for p, k in covariances])
