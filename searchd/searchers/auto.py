"""`auto`: where to try next, by a Gaussian process that trusts each rung as far as it has proved to be worth.

The first trials fill the space. Then a suggestion is the candidate with the greatest expected improvement on a target
*below* the best predicted loss, by a random part of a standard deviation drawn for each suggestion (random optimism:
plain expected improvement sits in corners), at some distance from everything tried. Candidates are drawn from the
whole space, around the best predicted trials, and as these with some parameters drawn anew; the winner is refined once.

Every fourth trial is suggested by `tpe` instead: ranks and densities see what a smooth model does not, where reports
are noise, trainings diverge, or most of the space is a plateau.

With earlier studies (`warm_start`) the first trials are their best configs.

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
from searchd.searchers import gp
from searchd.searchers.base import History
from searchd.searchers.batches import Batches, Known
from searchd.searchers.columns import columns_of
from searchd.searchers.earlier import first_configs
from searchd.searchers.features import Features
from searchd.searchers.judges import Front, Judge, OneLoss, Predicted, lengths, scale_of
from searchd.searchers.needs import need
from searchd.searchers.prior import Prior, weight
from searchd.searchers.several import Several
from searchd.searchers.surrogate import LEAST, Climbed, ends, surrogate
from searchd.searchers.table import Table
from searchd.searchers.tpe import TpeSearcher
from spaces.config import Config
from spaces.space import Space

Floats = NDArray[np.float64]

FILL = 8
"""The first trials fill the space: the farthest of TRIED random points each."""
TRIED = 16
DRAWN, NEAR, MOVED, REFINED = 150, 150, 100, 50
"""Candidates of a model: so many from the whole space, so many near the trials with the best predictions, and so many
that differ from them in some parameters altogether; and so many around the winner."""
EDGE = 0.2
"""Those parameters are drawn from a range wider by this at both ends and cut: the best is often at an end."""
DENSITIES = 4
"""Every so manieth trial is suggested by `tpe`."""
EXPLORE = 10
"""Every so manieth trial fills the space as the first ones do: at a low rung that costs little, and it finds the good
region where most of the space is a plateau."""
APART = 0.03
"""No suggestion is nearer than this to another trial in every feature …"""
TRIES = 25
"""… unless the best so many candidates are."""


@dataclass(frozen=True, slots=True)
class _Pool:
    """A judge and the candidates that are offered to the trials of its batch: points, features, what is said of them,
    and the log of the user's prior, weighed."""

    judge: Judge
    units: Floats
    x: Floats
    predicted: Predicted
    belief: Floats
    weight: float


@dataclass(frozen=True, slots=True)
class _Served:
    """What serves a batch; hyperparameters of each loss. No pool: not enough is known yet."""

    climbed: tuple[Climbed, ...]
    pool: _Pool | None = None


class AutoSearcher:
    """`seed`: of the candidates that trials of a batch share. Missing without scipy."""

    def __init__(self, seed: int = 0) -> None:
        need("auto", "scipy")
        self._seed = seed
        self._tpe = TpeSearcher()
        self._space: Space | None = None
        self._features = Features(Space(()))
        self._batches = Batches(self._build, FILL)
        self._prior = Prior(self._features.space)
        self._columns = columns_of(self._features.space)
        self._several = Several()
        self._table: Table | None = None
        self._x = np.zeros((0, 0))
        self._columnwise = np.zeros((0, 0))
        self._rows = 0

    def suggest(self, trial: TrialId, history: History, rng: Generator) -> Config:
        if history.space is not self._space:
            self._space, self._features = history.space, Features(history.space)
            self._prior, self._columns = Prior(history.space), columns_of(history.space)
            self._table = None
        if not self._features.d:
            return history.space.sample(rng)
        begin = first_configs(history.earlier, FILL // 2) if history.earlier else []
        if trial < len(begin) and not history.rejected and history.space.feasible(begin[trial]):
            return begin[trial]
        table = history.table
        self._learn(table)
        tried = self._tried(trial, history)
        pool = self._batches.at(trial, table).pool if trial >= FILL else None
        if pool is None or trial % EXPLORE == 0:
            return self._far(tried, rng)
        if trial % DENSITIES == 1:
            return self._tpe.suggest(trial, history, rng)
        return self._best(pool, tried, rng)

    # ------------------------------------------------------------ what is known
    def _learn(self, table: Table) -> None:
        """Feature rows of the table's trials; those of before stand."""
        if table is not self._table:
            self._table, self._rows, self._x = table, 0, np.zeros((64, self._features.d))
            self._columnwise = np.zeros((self._features.d, 64))
        n = len(table)
        if n > self._rows:
            while n > len(self._x):
                self._x = np.vstack([self._x, np.zeros_like(self._x)])
                self._columnwise = np.hstack([self._columnwise, np.zeros_like(self._columnwise)])
            self._x[self._rows : n] = self._features(table.units[self._rows :])
            self._columnwise[:, self._rows : n] = self._x[self._rows : n].T
            self._rows = n

    def _tried(self, trial: TrialId, history: History) -> Floats:
        """Features of every other trial, and of what was refused for this one: [d, n]."""
        trials = history.table.trials
        if not history.rejected and (not len(trials) or trials[-1] < trial):
            return self._columnwise[:, : self._rows]
        rows = self._x[: self._rows][trials != trial]
        if history.rejected:
            refused = self._features(np.array([history.space.encode(config) for config in history.rejected]))
            rows = np.vstack([rows, refused])
        return np.ascontiguousarray(rows.T)

    # ------------------------------------------------------------ models
    def _build(self, known: Known, first: TrialId, before: _Served | None) -> _Served:
        features, table = self._features, known.table
        fresh = Climbed(gp.start(len(features.names), features.active))
        climbed = (fresh,) * table.objectives if before is None else before.climbed
        violation = known.column(table.violation)
        if table.objectives == 1:
            losses = known.column(table.loss)[:, :, None]
        else:
            losses = self._several.losses(known, first)
        found = [ends(losses[:, :, j], violation) for j in range(table.objectives)]
        if len(found[0].rows) < LEAST:
            return _Served(climbed)
        if table.objectives == 1:
            worth = found[0].mean + 0.5 * np.sqrt(found[0].variance)
        else:
            reached = np.stack([each.chain.unwarp(each.mean) for each in found], axis=1)
            scale = scale_of(reached)
            length = lengths(reached, scale)
            worth = -(length / np.maximum(length.max(axis=0), 1e-12)).max(axis=1)
        pending = known.pending
        fits = [surrogate(e, worth, self._x, pending, features.groups, c) for e, c in zip(found, climbed, strict=True)]
        models = [model for model, _ in fits]
        judge: Judge = OneLoss(models[0])
        if table.objectives > 1:
            rows = found[0].rows
            judge = Front(models, [each.chain for each in found], rows, reached, scale, self._x[pending])
        return _Served(tuple(c for _, c in fits), self._pool(judge, table, first, len(found[0].rows)))

    def _pool(self, judge: Judge, table: Table, first: TrialId, n: int) -> _Pool:
        """Candidates for a batch, the most promising of many."""
        features = self._features
        rng = Generator(Philox(key=np.array([self._seed % 2**64, first], dtype=np.uint64), counter=[0, 0, 0, 1]))
        near = table.units[rng.choice(judge.parents, size=NEAR)]
        near = features.jitter(near, 10 ** rng.uniform(-2.3, -0.4, (NEAR, 1)), rng.random((NEAR, 1)), rng)
        moved = table.units[rng.choice(judge.able, size=MOVED)]
        moved = features.redraw(moved, 10 ** rng.uniform(-2.0, -0.4, (MOVED, 1)), EDGE, rng)
        units = np.vstack([self._draw(DRAWN, rng), near, moved])
        x = features(units)
        predicted = judge.predict(x)
        heavy = weight(n)
        belief = heavy * self._belief(units)
        close = judge.closer(predicted, belief, rng)
        means, sds = predicted
        return _Pool(judge, units[close], x[close], (means[:, close], sds[:, close]), belief[close], heavy)

    def _draw(self, n: int, rng: Generator) -> Floats:
        """Points from the whole space [n, width]; half of them by the user's priors where there are any."""
        units = self._features.draw(n, rng)
        if self._prior:
            half = n // 2
            columns = self._columns
            units[:half, [c.at for c in columns]] = self._prior.sample(columns, half, rng)
            units = self._features.snap(np.where(np.isnan(units), rng.random(units.shape), units))
        return units

    def _belief(self, units: Floats) -> Floats:
        """The log of the user's prior at points [n, width]: 0 without one."""
        if not self._prior:
            return np.zeros(len(units))
        return self._prior.log(self._columns, units[:, [c.at for c in self._columns]])

    # ------------------------------------------------------------ suggestions
    def _far(self, tried: Floats, rng: Generator) -> Config:
        """The farthest of a few random points from everything tried."""
        units = self._draw(TRIED, rng)
        x = self._features(units)
        if not tried.size:
            return self._config(units[:1], rng)
        gap = np.abs(x[:, :, None] - tried[None]).max(axis=1).min(axis=1)
        return self._config(units[np.argsort(-gap, kind="stable")], rng)

    def _best(self, pool: _Pool, tried: Floats, rng: Generator) -> Config:
        judge, bold = pool.judge, float(rng.random())
        score = judge.rate(pool.predicted, bold) + pool.belief
        winner = self._pick(pool.units, pool.x, score, tried)
        sd = 10 ** rng.uniform(-2.5, -0.8, (REFINED, 1))
        around = self._features.jitter(np.tile(winner, (REFINED, 1)), sd, np.full((REFINED, 1), 0.4), rng)
        units = np.vstack([winner[None], around])
        x = self._features(units)
        score = judge.rate(judge.predict(x), bold) + pool.weight * self._belief(units)
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
