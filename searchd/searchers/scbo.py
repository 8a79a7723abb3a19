"""`scbo`: constrained Bayesian optimisation in a trust region, by Thompson sampling.

On the deepest rung that knows enough, a Gaussian process models the loss and one each bound. A new config comes from a
box around the best trial: of the candidates there for which one draw of every function keeps the bounds, the one with
the least drawn loss; where there is none, the one that breaks them least. The box widens on success, narrows
on failure and is given up when it is tiny (`region`); then the search begins anew elsewhere, and the models
keep what they know.

With several objectives without a bound, each suggestion draws weights between them, and success is to be better than
all before in some of them.

Source: Eriksson and Poloczek (2021), AISTATS, SCBO: scalable constrained Bayesian optimisation. The paper's models
forget the trials of earlier regions; candidates are uniform in the box instead of a Sobol sequence.
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from searchd.schedulers.events import TrialId
from searchd.searchers.base import History
from searchd.searchers.candidates import Ground, take
from searchd.searchers.features import Features
from searchd.searchers.merit import deepest
from searchd.searchers.optimistic import LOOKS, may_start
from searchd.searchers.outcomes import Climbs, Outcomes
from searchd.searchers.paths import Path
from searchd.searchers.region import Region, region
from spaces.config import Config

Floats = NDArray[np.float64]

CANDIDATES = 2000
MOVED = 20
"""Of a candidate about so many coordinates differ from the centre, one that is active at least."""


class ScboSearcher:
    """`startup`: a rung needs max(startup, d + 1) trials, and so many begin each new region."""

    def __init__(self, *, startup: int = 10) -> None:
        self._startup = startup
        self._ground: Ground | None = None
        self._climbs = Climbs()

    def suggest(self, trial: TrialId, history: History, rng: Generator) -> Config:
        space, table = history.space, history.table
        if self._ground is None or self._ground.features.space is not space:
            self._ground, self._climbs = Ground(space), Climbs()
        features = self._ground.features
        rung = deepest(history, self._startup)
        if rung is None or not features.d:
            return space.sample(rng)
        seen = Outcomes.of(history, rung)
        heard = table.heard[seen.rows, rung.column]
        here = region(seen, table.born[seen.rows], heard, len(features.names), self._startup)
        begun = int(((table.born >= here.since) & (table.trials != trial)).sum())
        if begun < self._startup or not len(here.members):
            return space.sample(rng)
        hypers = self._climbs.at(history, rung, seen, features, self._startup)
        weights: Floats = rng.dirichlet(np.ones(seen.goals.shape[1]))
        ours = seen.take(here.members)
        centre = table.units[ours.rows[ours.order(weights)[0]]]
        seen = seen.capped()
        x = features(table.units[seen.rows])
        units = candidates(features, centre, here, rng)
        at = features(units)
        loss = Path(hypers[0], x, seen.targets(weights), features.groups, rng)(at)
        broken = np.zeros(len(units))
        for j, hyper in enumerate(hypers[1:]):
            known, y, edge = seen.limits(j)
            broken += np.maximum(Path(hyper, x[known], y, features.groups, rng)(at) - edge, 0.0)
        return take(history, units[np.lexsort((loss, broken))], rng, lambda config: may_start(history, config), LOOKS)


def candidates(features: Features, centre: Floats, here: Region, rng: Generator) -> Floats:
    """Points [m, width] of the box around the centre [width], snapped to configs. What has no order is drawn anew, the
    less often the smaller the box, and so is what a changed choice switches on."""
    width = features.width
    often = np.full((CANDIDATES, 1), min(1.0, MOVED / width))
    moved = features.moved(np.tile(centre, (CANDIDATES, 1)), often, rng)
    anew = rng.random((CANDIDATES, width))
    steps = here.side * (rng.random((CANDIDATES, width)) - 0.5)
    kinds = features.unordered & (rng.random((CANDIDATES, width)) < here.side)
    units = np.where(moved & ~features.unordered, centre + steps, centre)
    units = np.where(np.isnan(centre) | (moved & kinds), anew, units)
    return features.snap(units)
