"""Monte-Carlo tree search over the decisions of a space, with bisection.

The parameters of a config are chosen one after the other, so a space is a tree: a node is a partial config, an edge
one decision. Domains with many ordered values (numbers, ordered choices) are halved again and again until one value
is left, or a cell of 2^-resolution of the range (then a draw from the cell), so that neighbours share their
statistics; an unordered choice is one decision, a subset one yes or no an item.

At a node the child with the largest  mean merit + c · sqrt(2 · ln(visits of the node) / visits of the child)  is
taken, one without visits first; below the last node that a trial visited all is random. The merit of a trial is its
quantile in the search so far, over all rungs (see `merit.merits`). Trials without a report yet count as visits of
average merit, so that parallel suggestions part.

The tree is not kept: at a node, the trials that went through it are those whose rows are left after each decision, so
its statistics are a sum over the history, and the whole costs one pass of it.

Sources: Negrinho and Gordon (2017), DeepArchitect, arXiv:1704.08792; Kocsis and Szepesvári (2006), ECML, UCT.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, exp, inf, log, sqrt
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from searchd.schedulers.events import TrialId
from searchd.searchers.base import History
from searchd.searchers.merit import Rows, merits
from spaces.config import Config
from spaces.domains import Choice, Const, Domain, Float, Int, Subset

TRIES = 8
"""How often an infeasible or refused config is asked for again, exploring twice as much each time, before a random one
is taken."""

Floats = NDArray[np.float64]


class MctsSearcher:
    """`c`: weight of the exploration term. `resolution`: how often a range is halved; a low one lets the tree reach the
    later parameters of a wide space. `startup`: so many trials must have reported; before that it is random."""

    def __init__(self, *, c: float = 0.33, resolution: int = 3, startup: int = 5) -> None:
        self._c = c
        self._resolution = resolution
        self._startup = startup

    def suggest(self, trial: TrialId, history: History, rng: Generator) -> Config:  # noqa: ARG002
        space = history.space
        table = history.table
        merit = merits(history)
        known = ~np.isnan(merit)
        if int(known.sum()) < self._startup:
            return space.sample(rng)
        refused = {c.digest for c in history.rejected}
        live = known | (table.state < 2)  # waiting and running trials are visits too
        filled = np.where(known, merit, merit[known].mean())
        for attempt in range(TRIES):
            c = self._c * 2 ** (attempt + len(history.rejected))
            descent = Descent(history, np.flatnonzero(live), filled, c, self._resolution, rng)
            config = space.walk(descent.choose)
            if space.feasible(config) and config.digest not in refused:
                return config
            refused.add(config.digest)
        return space.sample(rng)


@dataclass(slots=True)
class Descent:
    """One way from the root to a leaf. `rows`: the trials that went the same way so far."""

    history: History
    rows: Rows
    merit: Floats
    c: float
    resolution: int
    rng: Generator

    def choose(self, name: str, domain: Domain) -> Any:
        if not len(self.rows):
            return domain.sample(self.rng)
        units = self.history.table.units[self.rows, self.history.space[name].columns]
        match domain:
            case Choice(options, ordered):
                if ordered:
                    return options[self._whole(_places(units[:, 0], len(options)), 0, len(options) - 1)]
                return options[self._option(_places(units[:, 0], len(options)), len(options))]
            case Int(low, _, log_scale, step):
                n = int(domain.count())
                places = _log_places(domain, units[:, 0]) if log_scale else _places(units[:, 0], n)
                return low + step * self._whole(places, 0, n - 1, float(low) if log_scale else None)
            case Float(step=step) if step is not None:
                n = int(domain.count())
                return domain.decode(((self._whole(_places(units[:, 0], n), 0, n - 1) + 0.5) / n,))
            case Float():
                return domain.decode((self._real(units[:, 0]),))
            case Subset(items):
                return self._subset(domain, units > 0.5, len(items))
            case Const(value):
                return value

    def _option(self, places: NDArray[np.int64], n: int) -> int:
        """One of n unordered options; the rows that took it stay."""
        taken = self._best([places == k for k in range(n)])
        self.rows = self.rows[places == taken]
        return taken

    def _whole(self, places: NDArray[np.int64], low: int, high: int, origin: float | None = None) -> int:
        """A whole number in [low, high] by halvings; on a log scale in the middle of the logs, from `origin` on."""
        for _ in range(self.resolution):
            if low == high or not len(self.rows):
                break
            middle = (low + high + 1) // 2
            if origin is not None:
                middle = min(max(ceil(sqrt((origin + low) * (origin + high)) - origin), low + 1), high)
            right = places >= middle
            if self._best([~right, right]):
                low = middle
            else:
                high, right = middle - 1, ~right
            self.rows, places = self.rows[right], places[right]
        if low == high:
            return low
        if origin is not None:
            drawn = exp(self.rng.uniform(log(origin + low - 0.5), log(origin + high + 0.5)))
            return min(max(round(drawn - origin), low), high)
        return int(self.rng.integers(low, high + 1))

    def _real(self, units: Floats) -> float:
        """A point of [0, 1]: halvings, then uniform in the cell."""
        low, width = 0.0, 1.0
        for _ in range(self.resolution):
            if not len(self.rows):
                break
            width /= 2
            right = units >= low + width
            if self._best([~right, right]):
                low += width
            else:
                right = ~right
            self.rows, units = self.rows[right], units[right]
        return low + width * self.rng.random()

    def _subset(self, domain: Subset, inside: NDArray[np.bool_], n: int) -> Any:
        """One yes or no an item, while both can still become an allowed size."""
        taken: list[bool] = []
        for i in range(n):
            must = sum(taken) + n - i <= domain.min
            may = sum(taken) < domain.largest
            if must or not may:
                yes = must
            elif len(self.rows):
                yes = bool(self._best([~inside[:, i], inside[:, i]]))
            else:
                yes = bool(self.rng.random() < 0.5)
            keep = inside[:, i] == yes
            self.rows, inside = self.rows[keep], inside[keep]
            taken.append(yes)
        return domain.decode([0.75 if yes else 0.25 for yes in taken])

    def _best(self, children: Sequence[NDArray[np.bool_]]) -> int:
        """The child to visit by UCT, given which rows went to each; ties at random."""
        merit = self.merit[self.rows]
        total = log(len(merit)) if len(merit) else 0.0
        scores = []
        for went in children:
            visits = int(went.sum())
            if not visits:
                scores.append(inf)
            else:
                scores.append(float(merit[went].mean()) + self.c * sqrt(2 * total / visits))
        best = [k for k, score in enumerate(scores) if score == max(scores)]
        return best[int(self.rng.integers(len(best)))] if len(best) > 1 else best[0]


def _places(units: Floats, n: int) -> NDArray[np.int64]:
    """Unit coordinates of a domain of n evenly spread values as numbers 0 … n − 1."""
    return np.minimum((units * n).astype(np.int64), n - 1)


def _log_places(domain: Int, units: Floats) -> NDArray[np.int64]:
    a, b = log(domain.low - 0.5), log(domain.high + 0.5)
    values = np.rint(np.exp(a + (b - a) * units)).astype(np.int64)
    return np.clip(values, domain.low, domain.high) - domain.low
