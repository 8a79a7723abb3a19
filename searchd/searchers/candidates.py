"""Where a model looks for its next config: candidates from the whole space and near the best, better round by round.

`Ground` is a space as a model and the user's prior see it; `hunt` ranks candidates by a score; `take` makes a config of
the first one that may be tried. (`auto` has candidates of its own, on the same ground: see `offers`.)
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from searchd.searchers import gp
from searchd.searchers.base import History
from searchd.searchers.columns import columns_of
from searchd.searchers.features import Features
from searchd.searchers.prior import Prior
from searchd.searchers.vocabularies import Vocabularies
from spaces.config import Config
from spaces.space import Space

Floats = NDArray[np.float64]

RANDOM, FAR, NEAR, ROUNDS = 250, (0.1, 0.5), 100, ((0.1, 0.3), (0.03, 0.5), (0.01, 1.0))
"""Candidates: uniform ones, steps of (sd, share of the coordinates) from the best configs of the past, and in each
round so many steps from the best so far."""
BEST = 5
"""From so many points steps are taken."""
LOOKS = 50
"""So many candidates are usually looked at for one that is feasible and new."""


class Ground:
    """A space as the model and the user's prior see it."""

    def __init__(self, space: Space) -> None:
        self.features = Features(space)
        self._vocabularies = Vocabularies(space)
        names = len(self.features.names)
        self.groups: NDArray[np.intp] = np.concatenate([self.features.groups, names + self._vocabularies.groups])
        """The number of the parameter, or behind them of the vocabulary, that a column of `rows` belongs to."""
        self._prior = Prior(space)
        self._columns = columns_of(space)
        self._at = [column.at for column in self._columns]

    def rows(self, units: Floats) -> Floats:
        """Features of snapped points [n, width], and behind them how often each option of a vocabulary was taken."""
        x = self.features(units)
        return np.hstack([x, self._vocabularies(units)]) if self._vocabularies.d else x

    def hyper(self) -> gp.Hyper:
        """Where a model of `rows` begins: features and counts add up."""
        features, more = self.features, self._vocabularies.many
        return gp.start(len(features.names), features.active, features.d if more else None, more)

    def draw(self, n: int, rng: Generator) -> Floats:
        """Points of the whole space [n, width]; half of them by the user's prior where there is one."""
        if not self._prior:
            return self.features.draw(n, rng)
        units = rng.random((n, self.features.width))
        units[: n // 2, self._at] = self._prior.sample(self._columns, n // 2, rng)
        return self.features.snap(units)

    def belief(self, units: Floats) -> Floats:
        """The log of the user's prior at points [n, width]; 0 without one."""
        return self._prior.log(self._columns, units[:, self._at]) if self._prior else np.zeros(len(units))


def _any(_: Config) -> bool:
    return True


def hunt(
    ground: Ground, best: Floats, score: Callable[[Floats], Floats], rng: Generator, draws: int = RANDOM
) -> Floats:
    """Candidates [m, width] by falling score: `draws` random ones, steps from `best`, then from the best so far."""
    features = ground.features
    units = np.vstack([ground.draw(draws, rng), _near(features, best, 50, *FAR, rng)])
    scores = score(units)
    for sd, often in ROUNDS:
        near = _near(features, units[np.argsort(-scores, kind="stable")[:BEST]], NEAR, sd, often, rng)
        units, scores = np.vstack([units, near]), np.concatenate([scores, score(near)])
    return np.asarray(units[np.argsort(-scores, kind="stable")])


def _near(features: Features, units: Floats, n: int, sd: float, often: float, rng: Generator) -> Floats:
    """About `n` steps from these points."""
    starts = np.repeat(units, n // len(units), axis=0)
    shape = (len(starts), 1)
    return features.jitter(starts, np.full(shape, sd), np.full(shape, often), rng)


def take(
    history: History, candidates: Floats, rng: Generator, allowed: Callable[[Config], bool] = _any, looks: int = LOOKS
) -> Config:
    """The first of `looks` candidates that is feasible, new and `allowed`; else the best repaired, or a random one."""
    space = history.space
    known = {c.digest for c in history.rejected} | {record.config.digest for record in history.records}
    for u in candidates[:looks]:
        config = space.decode(u)
        if config.digest not in known and space.feasible(config) and allowed(config):
            return config
    repaired = space.from_unit(np.nan_to_num(candidates[0], nan=0.5))
    return repaired if repaired.digest not in known else space.sample(rng)
