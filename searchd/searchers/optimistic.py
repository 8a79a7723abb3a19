"""`config`: constrained Bayesian optimisation by optimism, of the objective and of every bound.

On the deepest rung that knows enough, a Gaussian process models the loss and one each bound. A new config has the
lowest lower confidence bound of the loss among those whose lower confidence bounds keep every bound. Where not one
candidate does, no config of the space probably keeps them all, and that is said (`remark`); the candidate that comes
nearest is tried all the same. Running trials take away uncertainty where they are.

Source: Xu, Jiang, Svetozarevic, Jones (2023), ICML, CONFIG: constrained efficient global optimisation.
"""

from __future__ import annotations

from math import sqrt

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from searchd.schedulers.events import TrialId
from searchd.searchers.base import History
from searchd.searchers.candidates import Ground, hunt, take
from searchd.searchers.gp import Hyper, Posterior
from searchd.searchers.merit import deepest
from searchd.searchers.outcomes import Climbs, Outcomes
from searchd.searchers.prior import weight
from searchd.searchers.table import RUNNING
from spaces.config import Config

Floats = NDArray[np.float64]

DRAWS = 1000
"""Candidates from the whole space."""
FAR = 1e6
"""What a broken bound costs in the score: more than any loss can make up for."""
PENDING = 100
"""Running trials in the model at most: the latest."""
LOOKS = 2000
"""Candidates that are looked at for one whose exact metrics keep the bounds."""
DECLARE = 5
"""Trials a parameter that it takes to declare a study infeasible: lengths of a model of fewer say little …"""
SURE = 2.0
"""… and bounds so many times as wide: a model that just found a region may be too sure of the rest."""
INFEASIBLE = (
    "probably no config of this space keeps {}: by what was reported not one might; loosen a bound, or widen the space"
)


class ConfigSearcher:
    """`beta`: confidence bounds are sqrt(beta) standard deviations from the mean. `startup`: a rung needs
    max(startup, d + 1) trials. `remark`: whether the bounds were declared infeasible with the last suggestion."""

    def __init__(self, *, beta: float = 4.0, startup: int = 10) -> None:
        self._width = sqrt(beta)
        self._startup = startup
        self._ground: Ground | None = None
        self._climbs = Climbs()
        self.remark: str | None = None

    def suggest(self, trial: TrialId, history: History, rng: Generator) -> Config:
        self.remark = ""
        space, table = history.space, history.table
        if self._ground is None or self._ground.features.space is not space:
            self._ground, self._climbs = Ground(space), Climbs()
        ground = self._ground
        features = ground.features
        rung = deepest(history, self._startup)
        if rung is None or not features.d:
            return space.sample(rng)
        seen = Outcomes.of(history, rung)
        hypers = self._climbs.at(history, rung, seen, features, self._startup)
        weights: Floats = rng.dirichlet(np.ones(seen.goals.shape[1]))
        known, kept = len(seen), bool((seen.violation <= 0).any())
        best = table.units[seen.rows[seen.order(weights)[:5]]]
        seen = seen.capped()
        x = features(table.units[seen.rows])
        busy = np.flatnonzero((table.state <= RUNNING) & (table.trials != trial) & ~table.entered[:, rung.column])
        pending = features(table.units[busy[-PENDING:]])
        loss = _posterior(hypers[0], x, seen.targets(weights), features.groups, pending)
        limits = []
        for j, hyper in enumerate(hypers[1:]):
            at, y, edge = seen.limits(j)
            limits.append((_posterior(hyper, x[at], y, features.groups, pending), edge))

        def broken(rows: Floats, width: float) -> Floats:
            """The sum of what lower confidence bounds are beyond the bounds [n]; 0: it may keep them all."""
            beyond = np.zeros(len(rows))
            for model, edge in limits:
                beyond += np.maximum(_lowest(model, rows, width) - edge, 0.0)
            return beyond

        def score(units: Floats) -> Floats:
            rows = features(units)
            belief = weight(known) * ground.belief(units)
            return np.asarray(belief - _lowest(loss, rows, self._width) - FAR * broken(rows, self._width))

        found = hunt(ground, best, score, rng, DRAWS)
        sure = bool(limits) and known >= DECLARE * features.active and not kept
        if sure and broken(features(found), SURE * self._width).min() > 0:
            names = " and ".join(dict.fromkeys(bound.name for bound in history.bounds))
            self.remark = INFEASIBLE.format(f"the bounds on {names}" if names else "the bounds")
        return take(history, found, rng, lambda config: may_start(history, config), LOOKS)


def may_start(history: History, config: Config) -> bool:
    """Whether the exact metrics of a config, where they are known before it runs, keep the bounds."""
    if not history.bounds:
        return True
    (metrics,) = history.describe([config])
    return metrics is None or not any(bound.broken(metrics) for bound in history.bounds)


def _lowest(model: Posterior, rows: Floats, width: float) -> Floats:
    """Lower confidence bounds [n]."""
    cross = model.covariances(rows)
    return np.asarray(model.mean(cross) - width * model.sd(cross))


def _posterior(hyper: Hyper, x: Floats, y: Floats, groups: NDArray[np.intp], pending: Floats) -> Posterior:
    return Posterior(hyper, x, y, np.zeros(len(y)), groups, pending)
