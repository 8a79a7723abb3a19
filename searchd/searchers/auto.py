"""`auto`: where to try next, by a Gaussian process that trusts each rung as far as it has proved to be worth.

The first trials fill the space. Then a suggestion is the candidate with the greatest expected improvement on a target
*below* the best predicted loss, by a random part of a standard deviation drawn for each suggestion (random optimism:
plain expected improvement sits in corners), at some distance from everything tried. Candidates are drawn from the
whole space, around the best predicted trials, and as these with some parameters drawn anew; the winner is refined once.

Every fourth trial is suggested by `tpe` instead (by one model where a batch has several such trials): ranks and
densities see what a smooth model does not, where reports are noise, trainings diverge, or most of the space is a
plateau. A model that does not predict trials left out of it (a mosaic: neighbours say nothing) keeps a third of its
trials; `tpe` and random draws get the others.

With several objectives each has a model, of normal scores of its ranks, and a candidate promises what its front would
gain. Objectives that a description says before any training (see `described`) need no model: the first trials are
spread over them.

With earlier studies (`warm_start`) the first trials are their best configs.

Stateless: see `batches` for how one model serves several trials.

Source: RESEARCH.md, part 2, 1c. Expected improvement: Jones, Schonlau, Welch (1998).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.random import Generator, Philox
from numpy.typing import NDArray

from searchd.schedulers.events import TrialId
from searchd.searchers.apart import apart
from searchd.searchers.base import History
from searchd.searchers.batches import Batches, Known
from searchd.searchers.candidates import Ground
from searchd.searchers.described import Described
from searchd.searchers.earlier import Foreign, first_configs
from searchd.searchers.judges import Front, Judge, OneLoss, lengths, scale_of
from searchd.searchers.needs import need
from searchd.searchers.offers import Offers
from searchd.searchers.several import Several
from searchd.searchers.surrogate import LEAST, Climbed, Surrogate, ends, surrogate
from searchd.searchers.table import Table
from searchd.searchers.tpe import Drawn, Together, TpeSearcher, compose
from spaces.config import Config
from spaces.space import Space

Floats = NDArray[np.float64]

FILL = 8
"""The first trials fill the space: the farthest of TRIED random points each."""
TRIED = 16
DENSITIES = 4
"""Every so manieth trial is suggested by `tpe`."""
EXPLORE = 10
"""Every so manieth trial fills the space as the first ones do: at a low rung that costs little, and it finds the good
region where most of the space is a plateau."""

TRUST, JUDGED = 0.4, 20
"""A model of at least so many trials that explains less than this share of the variance it did not see is not trusted.
On smooth problems the share is .65 and more, on mosaics below .3."""


@dataclass(frozen=True, slots=True)
class _Served:
    """What serves a batch; hyperparameters of each loss. No offers: not enough is known yet. `trusted`: no other
    searcher takes trials from the model. `densities`: what `tpe` suggests."""

    climbed: tuple[Climbed, ...]
    offers: Offers | None = None
    trusted: bool = True
    densities: Together | None = None


class AutoSearcher:
    """`seed`: of the candidates that trials of a batch share. Missing without scipy."""

    def __init__(self, seed: int = 0) -> None:
        need("auto", "scipy")
        self._seed = seed
        self._tpe = TpeSearcher()
        self._earlier: Sequence[Foreign] = ()
        self._asked: tuple[tuple[TrialId, int], Drawn | None] = ((-1, -1), None)
        self._space: Space | None = None
        self._ground = Ground(Space(()))
        self._batches = Batches(self._build, FILL)
        self._several = Several()
        self._goals: tuple[tuple[str, float], ...] = ()
        self._described = Described(History(Space(())), self._ground, seed)
        self._table: Table | None = None
        self._x = np.zeros((0, 0))
        self._columnwise = np.zeros((0, 0))
        self._rows = 0

    def suggest(self, trial: TrialId, history: History, rng: Generator) -> Config:
        if history.space is not self._space or history.goals != self._goals:
            self._space, self._ground, self._table = history.space, Ground(history.space), None
            self._goals = history.goals
            self._described = Described(history, self._ground, self._seed)
        if not self._ground.features.d:
            return history.space.sample(rng)
        begin = first_configs(history.earlier, FILL // 2) if history.earlier else []
        if trial < len(begin) and not history.rejected and history.space.feasible(begin[trial]):
            return begin[trial]
        kind = self._kind(trial, history.objectives)
        if kind == "design" and not history.rejected and history.space.feasible(self._described.design[trial]):
            return self._described.design[trial]
        table = history.table
        self._learn(table)
        self._earlier = history.earlier
        if kind == "densities":
            together = self._batches.at(trial, table).densities
            drawn = (together and together.of(trial)) or self._alone(trial, history, rng)
            config = None if drawn is None else compose(history.space, drawn.at(len(history.rejected)), rng)
            if config is not None and history.space.feasible(config):
                return config
            return self._tpe.suggest(trial, history, rng)
        tried = self._tried(trial, history)
        served = self._batches.at(trial, table) if kind == "model" else None
        if served is not None and not served.trusted and trial % 3:
            return self._tpe.suggest(trial, history, rng) if trial % 3 == 1 else history.space.sample(rng)
        offers = None if served is None else served.offers
        if offers is None:
            return self._far(tried, rng)
        offer = None if history.rejected else offers.of(trial)
        return self._config((offer or offers.another(tried, rng)).best(tried)[None], rng)

    # ------------------------------------------------------------ what is known
    def _learn(self, table: Table) -> None:
        """Feature rows of the table's trials; those of before stand."""
        if table is not self._table:
            self._table, self._rows, self._x = table, 0, np.zeros((64, len(self._ground.groups)))
            self._columnwise = np.zeros((len(self._ground.groups), 64))
        n = len(table)
        if n > self._rows:
            while n > len(self._x):
                self._x = np.vstack([self._x, np.zeros_like(self._x)])
                self._columnwise = np.hstack([self._columnwise, np.zeros_like(self._columnwise)])
            self._x[self._rows : n] = self._ground.rows(table.units[self._rows :])
            self._columnwise[:, self._rows : n] = self._x[self._rows : n].T
            self._rows = n

    def _tried(self, trial: TrialId, history: History) -> Floats:
        """Features of every other trial, and of what was refused for this one: [d, n]."""
        trials = history.table.trials
        if not history.rejected and (not len(trials) or trials[-1] < trial):
            return self._columnwise[:, : self._rows]
        rows = self._x[: self._rows][trials != trial]
        if history.rejected:
            refused = self._ground.rows(np.array([history.space.encode(config) for config in history.rejected]))
            rows = np.vstack([rows, refused])
        return np.ascontiguousarray(rows.T)

    # ------------------------------------------------------------ models
    def _build(self, known: Known, trials: range, before: _Served | None) -> _Served:
        return replace(self._model(known, trials, before), densities=self._densities(known, trials))

    def _densities(self, known: Known, trials: range) -> Together | None:
        """What `tpe` suggests to the trials of a batch; a single one asks it when it starts, and knows more."""
        served = [trial for trial in trials if self._kind(trial, known.table.objectives) == "densities"]
        if len(served) < 2:
            return None
        rng, earlier = self._rng(trials, 2), self._earlier
        return Together(served, lambda: self._tpe.several(known, earlier, len(served), rng))

    def _alone(self, trial: TrialId, history: History, rng: Generator) -> Drawn | None:
        """What `tpe` suggests to a single trial: drawn once, however often it is refused."""
        now = (trial, history.table.version)
        if self._asked[0] != now or not history.rejected:
            self._asked = now, self._tpe.drawn(history, rng)
        return self._asked[1]

    def _rng(self, trials: range, stream: int) -> Generator:
        """What the trials of a batch share, for one purpose."""
        key = np.array([self._seed % 2**64, trials[0]], dtype=np.uint64)
        return Generator(Philox(key=key, counter=[0, 0, 0, stream]))

    def _model(self, known: Known, trials: range, before: _Served | None) -> _Served:
        table, m = known.table, known.table.objectives
        served = [trial for trial in trials if self._kind(trial, m) == "model"]
        fresh = Climbed(self._ground.hyper())
        climbed = (fresh,) * m if before is None else before.climbed
        if not served:
            return _Served(climbed)
        violation = known.column(table.violation)
        if m == 1:
            losses = known.column(table.loss)[:, :, None]
        else:
            losses = self._several.losses(known, trials[0])
        found = [ends(losses[:, :, j], violation) for j in range(m)]
        if len(found[0].rows) < LEAST:
            return _Served(climbed)
        if m == 1:
            worth = found[0].mean + 0.5 * np.sqrt(found[0].variance)
        else:
            reached = np.stack([each.chain.unwarp(each.mean) for each in found], axis=1)
            scale = scale_of(reached)
            length = lengths(reached, scale)
            worth = -(length / np.maximum(length.max(axis=0), 1e-12)).max(axis=1)
        pending = known.pending
        unknown = [j for j in range(m) if j not in self._described.at]
        models: list[Surrogate | None] = [None] * m
        for j in unknown:
            models[j], after = surrogate(found[j], worth, self._x, pending, self._ground.groups, climbed[j], m > 1)
            climbed = (*climbed[:j], after, *climbed[j + 1 :])
        judge: Judge
        if m == 1 and models[0] is not None:
            judge = OneLoss(models[0])
        else:
            rows, units = found[0].rows, table.units[pending]
            judge = Front(models, self._described, rows, reached, scale, self._x[pending], units)
        tried = self._columnwise[:, : known.n]
        model = models[0] if m == 1 else None
        away = 0.0 if model is None else apart(model.x, losses[model.rows, :, 0])
        rng = self._rng(trials, 1)
        offers = Offers(self._ground, judge, len(found[0].rows), table.units, tried, served, rng, away)
        trusted = model is None or len(found[0].rows) < JUDGED or model.explained() >= TRUST
        return _Served(climbed, offers, trusted)

    # ------------------------------------------------------------ suggestions
    def _far(self, tried: Floats, rng: Generator) -> Config:
        """The farthest of a few random points from everything tried."""
        units = self._ground.draw(TRIED, rng)
        x = self._ground.rows(units)
        if not tried.size:
            return self._config(units[:1], rng)
        far = np.zeros((len(x), tried.shape[1]))
        for here, there in zip(x.T, tried, strict=True):
            np.maximum(far, np.abs(here[:, None] - there), out=far)
        gap = far.min(axis=1)
        return self._config(units[np.argsort(-gap, kind="stable")], rng)

    def _config(self, ranked: Iterable[Floats], rng: Generator) -> Config:
        """The first of these points that honours the constraints; else the first one, repaired."""
        space = self._ground.features.space
        first: Config | None = None
        for u in ranked:
            config = space.decode(u)
            if space.feasible(config):
                return config
            first = first or config
        return space.repair(first or space.sample(rng), rng)

    def _kind(self, trial: TrialId, objectives: int) -> Literal["far", "design", "densities", "model"]:
        """What suggests a trial, where enough is known for a model."""
        if trial < len(self._described.design):
            return "design"
        if trial < FILL or (objectives == 1 and trial % EXPLORE == 0):
            return "far"
        return "densities" if trial % DENSITIES == 1 else "model"
