"""`portfolio`: chooses among searchers as it goes.

Each trial is suggested by one arm, drawn by StABL (`stabl`). An arm's loss is how its trial compares at its first
rung with the latest WINDOW trials there: the share that is better. With several objectives trials are compared by
the hypervolume that they added when they came. Who failed or diverged has lost against all.

Nothing is kept that the history does not say: which arm suggested a trial follows from the seed and from what had
been heard when the trial was born, so the whole game is played again after a restart, and goes on from where it
stood while a search grows. A trial that the user brought is counted for the arm that would have had its turn.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf

import numpy as np
from numpy.random import Generator, Philox
from numpy.typing import NDArray

from searchd.schedulers.events import Losses, TrialId
from searchd.schedulers.front import hypervolume, non_dominated, reference_point
from searchd.schedulers.order import finite
from searchd.searchers.base import History, Morphed, Searcher, remark_of
from searchd.searchers.stabl import Stabl
from searchd.searchers.table import Table
from spaces.config import Config

Ints = NDArray[np.int64]

WINDOW = 50
"""A trial is compared with so many before it."""

Key = tuple[float, float]
"""Violation, then loss or minus the hypervolume that was added: less is better."""


class PortfolioSearcher:
    """`arms`: searchers by name. `explore`: see `Stabl`. `seed`: of the draws between the arms."""

    def __init__(self, seed: int, arms: Mapping[str, Searcher], *, explore: float = 0.1) -> None:
        self._seed = seed
        self._arms = arms
        self._explore = explore
        self._kept: tuple[Table, tuple[int, ...], _Game] | None = None
        self.remark: str | None = None

    def suggest(self, trial: TrialId, history: History, rng: Generator) -> Config | Morphed:
        name = self.arm(trial, history)
        said = self._arms[name].suggest(trial, history, rng)
        self.remark = remark_of(self._arms[name]) or ""
        return said

    def arm(self, trial: TrialId, history: History) -> str:
        """The name of the searcher whose turn it is."""
        return list(self._arms)[self._game(history).draw(trial)]

    def shares(self, history: History) -> dict[str, float]:
        """How probable each searcher is for the next trial."""
        return dict(zip(self._arms, self._game(history).bandit.shares().tolist(), strict=True))

    def _game(self, history: History) -> _Game:
        """What has been played so far."""
        table = history.table
        if self._kept is None or self._kept[0] is not table or self._kept[1] != table.steps:
            self._kept = (table, table.steps, _Game(self._seed, Stabl(len(self._arms), self._explore)))
        self._kept[2].catch_up(history)
        return self._kept[2]


@dataclass(slots=True)
class _Game:
    """Rounds in the order of the tally. `drawn`: arm and probability of each trial that was born; `played`: how many
    events are over, the last one at `tally`; `seen`: keys by rung column; `fronts`: non-dominated points [n, m] by
    rung column."""

    seed: int
    bandit: Stabl
    drawn: dict[int, tuple[int, float]] = field(default_factory=dict)
    played: int = 0
    tally: int = -1
    seen: dict[int, list[Key]] = field(default_factory=dict)
    fronts: dict[int, NDArray[np.float64]] = field(default_factory=dict)

    def draw(self, trial: TrialId) -> int:
        """The arm of a trial that is born now."""
        key = np.array([self.seed % 2**64, trial + 2**63], dtype=np.uint64)
        chance = Generator(Philox(key=key)).random()
        edges = self.bandit.shares().cumsum()
        return min(int(np.searchsorted(edges, chance * edges[-1], side="right")), self.bandit.arms - 1)

    def catch_up(self, history: History) -> None:
        """Births and first losses that are new, in their order."""
        over, events = _events(history.table, self.tally)
        for tally, row, column in events[self.played - over :].tolist():
            if column < 0:
                arm = self.draw(history.records[row].trial)
                self.drawn[row] = (arm, float(self.bandit.shares()[arm]))
            else:
                arm, probability = self.drawn[row]
                self.bandit.hear(arm, self._loss(history, row, column), probability)
            self.tally = tally
        self.played = over + len(events)

    def _loss(self, history: History, row: int, column: int) -> float:
        """The share of the latest trials at the first rung of this one, a column, that are better; equal ones count
        half."""
        key = self._key(history, row, column)
        before = self.seen.setdefault(column, [])
        worth = 1.0 if key[0] == inf else 0.5
        if before and key[0] < inf:
            worth = sum((other < key) + 0.5 * (other == key) for other in before) / len(before)
        before.append(key)
        del before[:-WINDOW]
        return worth

    def _key(self, history: History, row: int, column: int) -> Key:
        table = history.table
        violation = float(table.violation[row, column])
        if violation == inf or history.objectives == 1:
            return (violation, float(table.loss[row, column]))
        points = history.records[row].losses[table.steps[column]]
        return (violation, -self._added(column, points, violation))

    def _added(self, column: int, points: tuple[Losses, ...], violation: float) -> float:
        """The hypervolume that these points add to the rung's front, as a share of the box of all that is known."""
        new = np.array([p.values for p in points if finite(p) and max(p.violation, 0.0) == violation])
        old = self.fronts.get(column)
        if violation > 0:
            return 0.0
        whole = new if old is None else np.vstack([old, new])
        self.fronts[column] = whole[non_dominated(whole)]
        if old is None:
            return 0.0
        low, high = whole.min(axis=0), np.array(reference_point(whole))
        scaled = (whole - low) / (high - low)
        corner = (1.0,) * whole.shape[1]
        return hypervolume(scaled, corner) - hypervolume(scaled[: len(old)], corner)


def _events(table: Table, since: int) -> tuple[int, Ints]:
    """Births (column -1) and first entries into a rung, from tally `since` on: how many came before, and the others as
    rows (tally, row, column) in the order in which they happened.

    A birth at tally b comes before the entry that was heard as number b. Without tallies births come first."""
    never = np.iinfo(np.int64).max
    entered = table.entered
    known = entered.any(axis=1)
    times = np.where(entered, table.heard, never)
    heard = times.min(axis=1, initial=never)
    births = np.minimum(table.born, heard)
    born = known | (table.born >= 0)
    over = int((born & (births < since)).sum() + (known & (heard < since)).sum())
    begun, came = np.flatnonzero(born & (births >= since)), np.flatnonzero(known & (heard >= since))
    rows = np.concatenate([begun, came])
    firsts = times[came].argmin(axis=1) if len(came) else came
    columns = np.concatenate([np.full(len(begun), -1), firsts])
    tallies = np.concatenate([births[begun], heard[came]])
    order = np.lexsort((rows, columns >= 0, tallies))
    return over, np.stack([tallies, rows, columns], axis=1)[order]
