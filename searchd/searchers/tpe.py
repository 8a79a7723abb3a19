"""TPE of our own: what the good trials of a rung have in common that the bad ones have not.

The suggestion comes from the deepest rung step with at least max(startup, d + 1) trials (d searched parameters);
below that many trials it is random. Its good trials (a tenth, at most 25) and its bad ones each have a Parzen
estimator; candidates are drawn from the good one, and the candidate of the highest ratio of densities is suggested.
Running trials count as bad (constant liar), so that parallel suggestions differ; diverged, failed and infeasible
ones too. Columns that are active in the same trials are estimated together.

The formulas are those of Optuna's TPESampler (multivariate, group, constant liar), which is `optuna-tpe` here: a
test holds the two together. The cost of a suggestion hardly grows with the number of trials (`Crowd`).

Sources: Bergstra, Bardenet, Bengio, Kégl (2011), NeurIPS; Falkner, Klein, Hutter (2018), ICML, for the deepest
rung with enough trials; Watanabe (2023), arXiv:2304.11127. Several objectives: see `split`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any
from weakref import ref

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from searchd.schedulers.events import TrialId
from searchd.searchers.base import History
from searchd.searchers.batches import Known
from searchd.searchers.blend import Blend, Density, Likely, LikelyBlend
from searchd.searchers.columns import Column, columns_of
from searchd.searchers.crowd import LEAST, Crowd
from searchd.searchers.earlier import Foreign, share
from searchd.searchers.needs import need
from searchd.searchers.parzen import Columns, Parzen
from searchd.searchers.past import Past
from searchd.searchers.patterns import Patterns
from searchd.searchers.prior import Prior, weight
from searchd.searchers.split import how_many
from searchd.searchers.table import Table
from spaces.config import Config
from spaces.domains import Domain
from spaces.space import Space

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]

TRIES = 16
"""How often an infeasible suggestion is drawn again before the last one is repaired."""


class TpeSearcher:
    """`startup`: a rung needs max(startup, d + 1) trials. `candidates`: drawn for each suggestion.

    Missing without scipy. Priors of the space are followed while suggestions are random; then as many candidates
    again come from them, and their weight in the choice fades with the number of trials (see `prior`). With earlier
    studies nothing is random: their good and bad trials have estimators too, which count less with each own trial.
    """

    def __init__(self, *, startup: int = 10, candidates: int = 24) -> None:
        need("tpe", "scipy")
        self._startup = startup
        self._candidates = candidates
        self._model: _Model | None = None

    def suggest(self, trial: TrialId, history: History, rng: Generator) -> Config:  # noqa: ARG002
        model = self._learned(history)
        if model is None:
            return history.space.sample(rng)
        config = None
        for _ in range(TRIES):
            config = compose(history.space, model.draw(rng, self._candidates)[0].at(0), rng)
            if history.space.feasible(config):
                return config
        return history.space.repair(config or {}, rng)

    def drawn(self, history: History, rng: Generator) -> Drawn | None:
        """What `suggest` would take the best of; None as long as too little is known."""
        model = self._learned(history)
        return None if model is None else model.draw(rng, self._candidates)[0]

    def several(self, known: Known, earlier: Sequence[Foreign], n: int, rng: Generator) -> list[Drawn]:
        """What `n` trials are suggested by what is `known`, together at the price of little more than one; empty as
        long as that is not enough."""
        model = self._of(known.table, earlier)
        return model.draw(rng, self._candidates, n) if model.learn(Past.then(known), self._startup) else []

    def _learned(self, history: History) -> _Model | None:
        model = self._of(history.table, history.earlier)
        return model if model.learn(Past.now(history.table), self._startup) else None

    def _of(self, table: Table, earlier: Sequence[Foreign]) -> _Model:
        if self._model is None or not self._model.of(table):
            self._model = _Model(table, earlier)
        return self._model


@dataclass(frozen=True, slots=True)
class Drawn:
    """Candidates for one trial: of each group its columns of the unit cube, values [m, D] of them, and scores [m]."""

    parts: list[tuple[list[int], Floats, Floats]]

    def at(self, place: int) -> dict[int, float]:
        """The best candidate of each group, or the one that takes this place among different ones: a value for each of
        its columns. A group that has no more gives its last."""
        chosen: dict[int, float] = {}
        for at, x, score in self.parts:
            if place:
                ranked = dict.fromkeys(map(tuple, x[np.argsort(-score, kind="stable")].tolist()))
                best = list(islice(ranked, place + 1))[-1]
            else:
                best = x[int(np.argmax(score))].tolist()
            chosen.update(zip(at, best, strict=True))
        return chosen


class Together:
    """What `trials` are suggested together; `ask` is asked once, when one of them wants to know. It may answer less."""

    def __init__(self, trials: Sequence[TrialId], ask: Callable[[], Sequence[Drawn]]) -> None:
        self._trials, self._ask = tuple(trials), ask
        self._found: dict[TrialId, Drawn] | None = None

    def of(self, trial: TrialId) -> Drawn | None:
        """None for another trial, and where too little was known."""
        if trial not in self._trials:
            return None
        if self._found is None:
            self._found = dict(zip(self._trials, self._ask(), strict=False))
        return self._found.get(trial)


class _Model:
    """What is kept from one suggestion to the next: a cache of the table, and nothing else."""

    def __init__(self, table: Table, earlier: Sequence[Foreign]) -> None:
        self._table = ref(table)
        conditional = any(s.parent is not None or s.repeat is not None for s in table.space.slots)
        self._patterns = Patterns(columns_of(table.space), conditional)
        self._conditional = conditional
        self._columns: dict[tuple[Column, ...], Columns] = {}
        self._crowds: dict[tuple[Column, ...], Crowd] = {}
        self._pairs: list[tuple[Columns, Likely, Density]] = []
        many = [(f.units, how_many(len(f.units))) for f in earlier]
        self._theirs = (_stacked(table, [u[:k] for u, k in many]), _stacked(table, [u[k:] for u, k in many]))
        self._patterns_theirs = np.unique(self._patterns.of(np.vstack(self._theirs)))
        self._prior = Prior(table.space)
        self._weight = 0.0

    def of(self, table: Table) -> bool:
        return self._table() is table

    def learn(self, past: Past, startup: int) -> bool:
        """Estimators of the good and the bad trials at the deepest rung that knows enough, of each group of columns;
        false: none does."""
        self._patterns.look(past.table)
        k = self._deepest(past, startup)
        if k is None:
            return False
        rows, below, above = past.sides(k)
        groups = self._patterns.groups(rows, self._patterns_theirs)
        for gone in self._crowds.keys() - set(groups):
            del self._crowds[gone]
        self._weight = weight(len(rows)) if self._prior else 0.0
        self._pairs = [self._pair(group, past.table, below, above) for group in groups]
        return True

    def _deepest(self, past: Past, startup: int) -> int | None:
        """The place of the deepest rung step that knows enough, somebody there with a finite loss.

        With earlier studies that is the one with the most trials, as long as none knows enough.
        """
        for k in range(len(past.table.steps) - 1, -1, -1):
            rows = past.entered(k)
            if len(rows) >= max(startup, self._patterns.most(rows) + 1) and past.finite(k, rows):
                return k
        if len(self._theirs[0]) and past.table.steps:
            return int(np.argmax((~np.isnan(past.violation)).sum(axis=0)))
        return None

    def draw(self, rng: Generator, candidates: int, times: int = 1) -> list[Drawn]:
        """So many times so many candidates of each group."""
        chosen: list[Drawn] = [Drawn([]) for _ in range(times)]
        for columns, below, above in self._pairs:
            x = below.sample(rng, candidates * times)
            if self._weight:
                x = np.vstack([x, self._prior.sample(columns.all, candidates * times, rng)])
            score = below.log_density(x) - above.log_density(x)
            if self._weight:
                score += self._weight * self._prior.log(columns.all, x)
            at = columns.at.tolist()
            for i, mine in enumerate(chosen):
                mine.parts.append((at, x[i::times], score[i::times]))
        return chosen

    def _pair(
        self, group: tuple[Column, ...], table: Table, below: Rows, above: Rows
    ) -> tuple[Columns, Likely, Density]:
        columns = self._columns.get(group)
        if columns is None:
            columns = self._columns[group] = Columns(group)
        first = group[0].at
        if self._conditional:
            below, above = (rows[~np.isnan(table.units[rows, first])] for rows in (below, above))
        weights = np.ones(len(below)) if table.objectives > 1 else None
        likely: Likely = Parzen(columns, table.units[below][:, columns.at], weights)
        unlikely: Density
        if len(above) < LEAST:
            unlikely = Parzen(columns, table.units[above][:, columns.at])
        else:
            if group not in self._crowds:
                self._crowds[group] = Crowd(columns)
            unlikely = self._crowds[group]
            self._crowds[group].become(above, table.units)
        fine, poor = (units[~np.isnan(units[:, first])][:, columns.at] for units in self._theirs)
        if len(fine) + len(poor):
            trusted = share(len(below) + len(above))
            likely = LikelyBlend(likely, Parzen(columns, fine, np.ones(len(fine))), trusted)
            unlikely = Blend(unlikely, Parzen(columns, poor, np.ones(len(poor))), trusted)
        return columns, likely, unlikely


def _stacked(table: Table, units: Sequence[Floats]) -> Floats:
    return np.vstack([np.zeros((0, table.space.width)), *units])


def compose(space: Space, chosen: dict[int, float], rng: Generator) -> Config:
    """The config of chosen columns; what the past does not know is drawn at random."""

    def choose(name: str, domain: Domain) -> Any:
        columns = space[name].columns
        if columns.start not in chosen:
            return domain.sample(rng)
        return domain.decode([chosen[i] for i in range(columns.start, columns.stop)])

    return space.walk(choose)
