"""`mobster`: asynchronous Bayesian optimisation over config × resource (Klein et al., 2020, arXiv:2003.10865).

A joint Gaussian process (`joint_gp`, `curves`) sees the losses at all rungs. A new config has the largest expected
improvement at the deepest rung with at least THRESHOLD losses. Trials that run are pending at the next rung that they
will reach: EI is averaged over joint draws of their losses. Goes with any scheduler: with `asha` it is MOBSTER, with
`stopping` its stopping variant, with one rung plain Bayesian optimisation.

A prior of the user multiplies the expected improvement with a power that fades (`prior`).

Hyperparameters are fitted when the number of losses passes fixed sizes, each fit from the one before on the losses
heard first, so that a restart, which goes through the same sizes, has the same model.
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from searchd.schedulers.events import TrialId
from searchd.searchers.base import History
from searchd.searchers.candidates import Ground, hunt, take
from searchd.searchers.curves import Family, family
from searchd.searchers.features import Features
from searchd.searchers.joint_gp import Data, Fit, JointPosterior, climb, expected_improvement, start
from searchd.searchers.observations import Observations, targets
from searchd.searchers.pace import Pace
from searchd.searchers.prior import weight
from searchd.searchers.refits import FIRST_STEPS, STEPS, sizes
from searchd.searchers.table import Table
from spaces.config import Config
from spaces.space import Space

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

THRESHOLD = 3
"""Losses that a rung needs to be the one whose loss is improved."""
FANTASIES = 20
"""Joint draws of the pending losses."""
PENDING = 200
"""Pending trials that a model holds at most; the latest."""


class MobsterSearcher:
    """`kernel`: a family of `curves`. `pending`: EI over `fantasies` of pending losses, or at their means
    (`believer`). `startup`: so many trials have to report before the model suggests. `rows`: of the model, at most.
    `cost`: EI is divided by the predicted seconds of a step of training to this power; 1 is EI per second."""

    def __init__(
        self, *, kernel: str = "exp-decay", pending: str = "fantasies", startup: int = 6, rows: int = 300,
        cost: float = 0.0,
    ) -> None:  # fmt: skip
        self._kernel = kernel
        self._believer = pending == "believer"
        self._startup = startup
        self._rows = rows
        self._cost = cost
        self._ground: Ground | None = None
        self._fitted: tuple[Table, tuple[int, ...], list[Fit]] | None = None

    def suggest(self, trial: TrialId, history: History, rng: Generator) -> Config:  # noqa: ARG002
        space, table = history.space, history.table
        ground = self._ground_of(space)
        features = ground.features
        seen = Observations.of(table)
        reported = int(np.isfinite(table.violation).any(axis=1).sum())
        if not features.d or reported < max(self._startup, 1):
            return space.sample(rng)
        curves = family(self._kernel, table.steps)
        fit = self._fit(history, seen, curves, features)
        seen = seen.capped(self._rows)
        weights = _weights(history.objectives, rng)
        y = targets(history, seen, weights, by_rung=curves.by_rung)
        tried, place = np.unique(seen.row, return_inverse=True)
        x = features(table.units[tried])
        waiting, due = _pending(history)
        pending = features(table.units[waiting])
        normals = None if self._believer else rng.standard_normal((len(waiting), FANTASIES))
        data = Data(x[place], seen.rung, y)
        posterior = JointPosterior(fit, data, curves, features.groups, (pending, due), normals)
        target = _target_rung(table)
        means, _ = posterior.at(np.vstack([x, pending]), target)
        incumbent = means.min(axis=0)
        pace = Pace(features(table.units), table.pace) if self._cost else None

        def score(units: Floats) -> Floats:
            mean, sd = posterior.at(features(units), target)
            improvement: Floats = expected_improvement(mean, sd[:, None], incumbent).mean(axis=1)
            found = np.log(improvement + 1e-12 * sd) + weight(reported) * ground.belief(units)
            return np.asarray(found if pace is None else found - self._cost * pace.log(features(units)))

        best = table.units[tried[np.argsort(means[: len(x)].mean(axis=1), kind="stable")[:5]]]
        return take(history, hunt(ground, best, score, rng), rng)

    def _ground_of(self, space: Space) -> Ground:
        if self._ground is None or self._ground.features.space is not space:
            self._ground = Ground(space)
        return self._ground

    def _fit(self, history: History, seen: Observations, curves: Family, features: Features) -> Fit:
        """The fit of the last scheduled size; those of a table are kept while it grows."""
        table = history.table
        if self._fitted is None or self._fitted[0] is not table or self._fitted[1] != table.steps:
            self._fitted = (table, table.steps, [])
        fits = self._fitted[2]
        weights = np.full(history.objectives, 1 / history.objectives)
        for number, size in enumerate(sizes(self._startup, len(seen), self._rows)):
            if number < len(fits):
                continue
            part = seen.first(size).capped(self._rows)
            y = targets(history, part, weights, by_rung=curves.by_rung)
            data = Data(features(table.units[part.row]), part.rung, y)
            before = fits[-1] if fits else start(curves, len(features.names), features.active)
            fits.append(climb(before, data, curves, features.groups, STEPS if fits else FIRST_STEPS))
        return fits[-1]


def _weights(objectives: int, rng: Generator) -> Floats:
    """A draw from the simplex [m]."""
    drawn = rng.exponential(size=objectives)
    return np.asarray(drawn / drawn.sum())


def _target_rung(table: Table) -> int:
    """The deepest rung with THRESHOLD finite losses; else the one with most."""
    counts = np.isfinite(table.violation).sum(axis=0)
    able = np.flatnonzero(counts >= THRESHOLD)
    return int(able[-1]) if len(able) else int(counts.argmax())


def _pending(history: History) -> tuple[Ints, Ints]:
    """Rows of trials that run or wait to [p], and the columns of the rungs that they reach next [p]."""
    table = history.table
    rows, due = [], []
    for row in np.flatnonzero(table.state < 2).tolist()[-PENDING:]:
        record = history.records[row]
        bracket = min(record.bracket, len(history.ladders) - 1)
        ladder = history.ladders[bracket] if history.ladders else (record.until,)
        last = max(record.losses, default=0)
        step = next((s for s in ladder if s > last and (s <= record.until or not record.until)), None)
        if step in table.steps:
            rows.append(row)
            due.append(table.column(step))
    return np.array(rows, dtype=np.intp), np.array(due, dtype=np.intp)
