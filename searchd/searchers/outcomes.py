"""What one rung says of the goals and of each bound, for models of each of them.

Objectives that have a bound are constraints here and no goals, unless each has one. Several goals become one by
augmented Chebyshev weights. Losses are replaced by the normal quantiles of their ranks, so that no outlier counts;
excesses keep their sign and lose their tails.

Sources: Eriksson and Poloczek (2021), AISTATS, SCBO, Gaussian copula and bilog; Knowles (2006), IEEE TEC, ParEGO.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from searchd.schedulers.order import finite
from searchd.searchers import gp
from searchd.searchers.base import History
from searchd.searchers.features import Features
from searchd.searchers.merit import Rung
from searchd.searchers.refits import FIRST_STEPS, STEPS, sizes
from searchd.searchers.table import Table

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

RHO = 0.05
"""Weight of the sum beside the largest weighted goal."""
MOST = 250
"""Rows of a model: of more, the best half and the latest."""

_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class Outcomes:
    """A rung's trials in the order in which they entered: `rows` [n] of the table, `goals` [n, m] losses (lower is
    better, +inf diverged), `excess` [n, c] (above 0: that bound is broken; NaN diverged), `violation` [n]."""

    rows: Ints
    goals: Floats
    excess: Floats
    violation: Floats

    @classmethod
    def of(cls, history: History, rung: Rung) -> Outcomes:
        """Of several points of a trial the one of least violation, then of least losses, the first goal first: what
        others report changes nothing. Without bounds that are known one by one, a violation counts as one bound."""
        table, m = history.table, history.objectives
        rows = rung.rows
        violation = table.violation[rows, rung.column]
        bound = {b.objective for b in history.bounds}
        goals = [j for j in range(m) if j not in bound] or list(range(m))
        entries = table.points(rung.step)
        values = np.full((len(rows), m), np.inf)
        for i, trial in enumerate(table.trials[rows].tolist()):
            if np.isfinite(violation[i]):
                able = (p.values for p in entries[trial] if finite(p) and max(p.violation, 0.0) == violation[i])
                values[i] = min(able, key=lambda v: ([v[j] for j in goals], v))
        sound = np.isfinite(violation)
        excess = np.full((len(rows), len(history.bounds)), np.nan)
        for j, one in enumerate(history.bounds):
            excess[sound, j] = [one.excess(losses) for losses in values[sound]]
        if not history.bounds and (violation[sound] > 0).any():
            excess = np.where(sound, np.where(violation > 0, violation, -1.0), np.nan)[:, None]
        return cls(rows, values[:, goals], excess, violation)

    def __len__(self) -> int:
        return len(self.rows)

    def first(self, n: int) -> Outcomes:
        """The n that entered first."""
        return self.take(np.arange(min(n, len(self))))

    def take(self, at: Ints) -> Outcomes:
        """Those at these places."""
        return Outcomes(self.rows[at], self.goals[at], self.excess[at], self.violation[at])

    def capped(self, most: int = MOST) -> Outcomes:
        """At most so many: the best half and the latest of the others."""
        if len(self) <= most:
            return self
        order = self.order(np.full(self.goals.shape[1], 1 / self.goals.shape[1]))
        best = order[: most // 2]
        rest = np.setdiff1d(np.arange(len(self)), best)[-(most - len(best)) :]
        return self.take(np.sort(np.concatenate([best, rest])))

    def scalar(self, weights: Floats) -> Floats:
        """One loss a trial [n] by the weights of the goals [m]; +inf diverged."""
        if self.goals.shape[1] == 1:
            return self.goals[:, 0]
        sound = np.isfinite(self.violation)
        out = np.full(len(self), np.inf)
        if sound.any():
            known = self.goals[sound]
            low, high = known.min(axis=0), known.max(axis=0)
            scaled = weights * (known - low) / np.where(high > low, high - low, 1.0)
            out[sound] = scaled.max(axis=1) + RHO * scaled.sum(axis=1)
        return out

    def order(self, weights: Floats) -> Ints:
        """Places by (violation, loss), the best first: what keeps every bound comes before what does not."""
        return np.lexsort((self.scalar(weights), self.violation))

    def targets(self, weights: Floats) -> Floats:
        """Standardised quantiles of the losses [n]; the diverged as the worst of all."""
        return copula(self.scalar(weights))

    def limits(self, j: int) -> tuple[Ints, Floats, float]:
        """Of bound `j`: where its excess is known [k], targets there [k], and the target of an excess of 0."""
        at = np.flatnonzero(~np.isnan(self.excess[:, j]))
        raw = self.excess[at, j]
        size = float(np.median(np.abs(raw))) if len(raw) else 1.0
        shrunk = bilog(raw / (size or 1.0))
        center, spread = (float(shrunk.mean()), float(shrunk.std())) if len(raw) else (0.0, 1.0)
        spread = spread if spread > 1e-9 else 1.0
        return at, (shrunk - center) / spread, -center / spread


def copula(losses: Floats) -> Floats:
    """Normal quantiles of ranks [n], (rank − 1/2) / n; equal losses share their mean rank."""
    ordered = np.sort(losses)
    low = np.searchsorted(ordered, losses, side="left")
    high = np.searchsorted(ordered, losses, side="right")
    shares = (low + high) / (2 * len(losses))
    return np.array([_NORMAL.inv_cdf(share) for share in shares.tolist()])


def bilog(x: Floats) -> Floats:
    """sign(x) · log(1 + |x|): 0 stays 0, tails become short."""
    return np.asarray(np.sign(x) * np.log1p(np.abs(x)))


class Climbs:
    """Hyperparameters of one process a loss and bound, climbed at fixed numbers of rows, each from the one before: what
    is kept for a table is what a cold start would compute again."""

    def __init__(self) -> None:
        self._of: tuple[Table, int, int] | None = None
        self._fits: list[list[gp.Hyper]] = []

    def at(self, history: History, rung: Rung, seen: Outcomes, features: Features, startup: int) -> list[gp.Hyper]:
        """For the loss, then for each bound [1 + c]."""
        table, many = history.table, 1 + seen.excess.shape[1]
        known = (table, rung.step, many)
        if self._of is None or self._of[0] is not table or self._of[1:] != known[1:]:
            self._of, self._fits = known, []
        weights = np.full(seen.goals.shape[1], 1 / seen.goals.shape[1])
        for number, size in enumerate(sizes(startup, len(seen))):
            if number < len(self._fits):
                continue
            part = seen.first(size).capped()
            x = features(table.units[part.rows])
            data: list[tuple[Floats, Floats]] = [(x, part.targets(weights))]
            for j in range(many - 1):
                at, y, _ = part.limits(j)
                data.append((x[at], y))
            before = self._fits[-1] if self._fits else [gp.start(len(features.names), features.active)] * many
            steps = STEPS if self._fits else FIRST_STEPS
            self._fits.append([
                gp.climb(hyper, rows, y, np.zeros(len(y)), features.groups, steps) if len(y) else hyper
                for hyper, (rows, y) in zip(before, data, strict=True)
            ])  # fmt: skip
        return self._fits[-1]
