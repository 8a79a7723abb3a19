"""`auto`: where to try next, by a Gaussian process that trusts each rung as far as it has proved to be worth.

The first trials fill the space. Then a suggestion is the candidate with the greatest expected improvement on a target
*below* the best predicted loss, by a random part of a standard deviation drawn for each suggestion (random optimism:
plain expected improvement sits in corners), at some distance from everything tried. Candidates are drawn from the
whole space and around the best predicted trials; the winner is refined once.

Stateless: see `batches` for how one model serves several trials.

Source: RESEARCH.md, part 2, 1c. Expected improvement: Jones, Schonlau, Welch (1998).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator, Philox
from numpy.typing import NDArray

from searchd.schedulers.events import TrialId
from searchd.schedulers.improvement import log_improvement
from searchd.searchers import gp
from searchd.searchers.base import History
from searchd.searchers.batches import Batches, Known
from searchd.searchers.features import Features
from searchd.searchers.surrogate import LEAST, Climbed, Surrogate, ends, surrogate
from searchd.searchers.table import Table
from spaces.config import Config
from spaces.space import Space

Floats = NDArray[np.float64]

FILL = 8
"""The first trials fill the space: the farthest of TRIED random points each."""
TRIED = 16
DRAWN, NEAR, PARENTS = 150, 150, 5
"""Candidates of a model: so many from the whole space, so many near the trials with the best predictions."""
BEST, OTHERS, REFINED = 70, 20, 50
"""Of those the best means and some others are looked at closely; and so many around the winner."""
EXPLORE = 10
"""Every so manieth trial fills the space as the first ones do: at a low rung that costs little, and it finds the good
region where most of the space is a plateau."""
OPTIMISM = 0.8
"""The target is up to so many standard deviations of the losses below the best prediction."""
APART = 0.03
"""No suggestion is nearer than this to another trial in every feature …"""
TRIES = 25
"""… unless the best so many candidates are."""


@dataclass(frozen=True, slots=True)
class _Pool:
    """A model and the candidates that it offers to the trials of its batch: points, features, means, deviations."""

    model: Surrogate
    units: Floats
    x: Floats
    mean: Floats
    sd: Floats


@dataclass(frozen=True, slots=True)
class _Served:
    """What serves a batch. No pool: not enough is known yet."""

    climbed: Climbed
    pool: _Pool | None = None


class AutoSearcher:
    """`seed`: of the candidates that trials of a batch share."""

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._space: Space | None = None
        self._features = Features(Space(()))
        self._batches = Batches(self._build, FILL)
        self._table: Table | None = None
        self._x = np.zeros((0, 0))
        self._rows = 0

    def suggest(self, trial: TrialId, history: History, rng: Generator) -> Config:
        if history.space is not self._space:
            self._space, self._features = history.space, Features(history.space)
            self._table = None
        if not self._features.d:
            return history.space.sample(rng)
        table = history.table
        self._learn(table)
        tried = self._tried(trial, history)
        pool = self._batches.at(trial, table).pool if trial >= FILL else None
        if pool is None or trial % EXPLORE == 0:
            return self._far(tried, rng)
        return self._best(pool, tried, rng)

    # ------------------------------------------------------------ what is known
    def _learn(self, table: Table) -> None:
        """Feature rows of the table's trials; those of before stand."""
        if table is not self._table:
            self._table, self._rows, self._x = table, 0, np.zeros((64, self._features.d))
        n = len(table)
        if n > self._rows:
            while n > len(self._x):
                self._x = np.vstack([self._x, np.zeros_like(self._x)])
            self._x[self._rows : n] = self._features(table.units[self._rows :])
            self._rows = n

    def _tried(self, trial: TrialId, history: History) -> Floats:
        """Features of every other trial, and of what was refused for this one: [d, n]."""
        rows = self._x[: self._rows][history.table.trials != trial]
        if history.rejected:
            refused = self._features(np.array([history.space.encode(config) for config in history.rejected]))
            rows = np.vstack([rows, refused])
        return np.ascontiguousarray(rows.T)

    # ------------------------------------------------------------ models
    def _build(self, known: Known, first: TrialId, before: _Served | None) -> _Served:
        features = self._features
        climbed = Climbed(gp.start(len(features.names), features.active)) if before is None else before.climbed
        found = ends(known)
        if len(found.rows) < LEAST:
            return _Served(climbed)
        model, climbed = surrogate(found, self._x, known.pending, features.groups, climbed)
        rng = Generator(Philox(key=np.array([self._seed % 2**64, first], dtype=np.uint64), counter=[0, 0, 0, 1]))
        parents = model.rows[np.argsort(model.means, kind="stable")[:PARENTS]]
        start = known.table.units[parents[rng.integers(len(parents), size=NEAR)]]
        steps = 10 ** rng.uniform(-2.3, -0.4, (NEAR, 1))
        near = features.jitter(start, steps, rng.random((NEAR, 1)), rng)
        units = np.vstack([features.draw(DRAWN, rng), near])
        x = features(units)
        covariances = model.posterior.covariances(x)
        mean = model.posterior.mean(covariances)
        close = np.concatenate([np.argpartition(mean, BEST)[:BEST], rng.integers(len(units), size=OTHERS)])
        sd = model.posterior.sd(covariances[close])
        return _Served(climbed, _Pool(model, units[close], x[close], mean[close], sd))

    # ------------------------------------------------------------ suggestions
    def _far(self, tried: Floats, rng: Generator) -> Config:
        """The farthest of a few random points from everything tried."""
        units = self._features.draw(TRIED, rng)
        x = self._features(units)
        if not tried.size:
            return self._config(units[:1], rng)
        gap = np.abs(x[:, :, None] - tried[None]).max(axis=1).min(axis=1)
        return self._config(units[np.argsort(-gap, kind="stable")], rng)

    def _best(self, pool: _Pool, tried: Floats, rng: Generator) -> Config:
        model, features = pool.model, self._features
        target = float(model.means.min()) - OPTIMISM * rng.random()
        score = log_improvement(pool.mean, pool.sd, target)
        winner = self._pick(pool.units, pool.x, score, tried)
        sd = 10 ** rng.uniform(-2.5, -0.8, (REFINED, 1))
        around = features.jitter(np.tile(winner, (REFINED, 1)), sd, np.full((REFINED, 1), 0.4), rng)
        units = np.vstack([winner[None], around])
        x = features(units)
        covariances = model.posterior.covariances(x)
        score = log_improvement(model.posterior.mean(covariances), model.posterior.sd(covariances), target)
        return self._config(self._pick(units, x, score, tried)[None], rng)

    def _pick(self, units: Floats, x: Floats, score: Floats, tried: Floats) -> Floats:
        """The candidate with the best score that is not too near to anything tried."""
        order = np.argsort(-score, kind="stable").tolist()
        apart = (i for i in order[:TRIES] if np.abs(tried - x[i][:, None]).max(axis=0).min() >= APART)
        picked: Floats = units[next(apart, order[0])]
        return picked

    def _config(self, ranked: Iterable[Floats], rng: Generator) -> Config:
        """The first of these points that honours the constraints; else the first one, repaired."""
        space = self._features.space
        first: Config | None = None
        for u in ranked:
            config = space.walk(lambda name, domain, u=u: domain.decode(u[space[name].columns].tolist()))  # type: ignore[misc]
            if space.feasible(config):
                return config
            first = first or config
        return space.repair(first or space.sample(rng), rng)
