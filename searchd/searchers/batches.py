"""Models that serve several suggestions, and yet equal a cold recomputation.

Trials are cut into batches by their ids. All trials of a batch are suggested by one model: that of the history as the
batch's first trial could know it (trials with lower ids; reports with a tally below its `born`). So whoever knows any
later history can build the same model again. Batches grow with the number of trials, which bounds what a search
spends on models; each batch starts from the hyperparameters of the one before.

`Batches` keeps what it computed for one table (the one that a search lets grow); for another it starts anew.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from searchd.schedulers.events import TrialId
from searchd.searchers.table import Table

Model = TypeVar("Model")

GROW, GROW_SEVERAL = 60, 30
"""One more suggestion a model for every so many trials, with one objective and with several (a model is dearer) …"""
MANY, MOST = 200, 60
"""… and the square of one for every so many, up to the most: where trials are cheap, decisions have to be …"""
PENDING = 8
"""… and for every so many trials of which nothing was known: a great fleet asks for many at once."""


@dataclass(frozen=True, slots=True)
class Known:
    """What the first trial of a batch could know: the table's first `n` rows, and of those what is `entered` [n, K]."""

    table: Table
    n: int
    entered: NDArray[np.bool_]

    @property
    def pending(self) -> NDArray[np.intp]:
        """Rows of which nothing was known yet."""
        return np.flatnonzero(~self.entered.any(axis=1))

    def column(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """A column of the table [≥ n, K], NaN where it was not known: [n, K]."""
        return np.where(self.entered, values[: self.n], np.nan)


@dataclass(frozen=True, slots=True)
class Batch(Generic[Model]):
    """Trials `first` to `end` - 1 are suggested by `model`, which knows what had a tally below `tally`."""

    first: TrialId
    end: TrialId
    tally: int
    model: Model


class Batches(Generic[Model]):
    """`build(known, trials, before)`: the model of a batch of trials from what is known and the model of the batch
    before it (None for the first). `start`: the first trial that any model serves."""

    def __init__(self, build: Callable[[Known, range, Model | None], Model], start: TrialId) -> None:
        self._build = build
        self._start = start
        self._of: tuple[Table, tuple[int, ...]] | None = None
        self._last: Batch[Model] | None = None  # the latest whose first trial has started: for good
        self._next: Batch[Model] | None = None  # the one after it, as of a tally

    def at(self, trial: TrialId, table: Table) -> Model:
        """The model that suggests `trial`, which is `start` or later."""
        last = self._last
        anew = self._of is None or self._of[0] is not table or self._of[1] != table.steps
        if anew or (last is not None and trial < last.first):
            self._of, self._last, self._next, last = (table, table.steps), None, None, None
        while last is None or trial >= last.end:
            first = self._start if last is None else last.end
            started = _born(table, first)
            tally = table.tally if started is None else started
            if self._next is None or (self._next.first, self._next.tally) != (first, tally):
                self._next = self._batch(table, first, tally, None if last is None else last.model)
            if started is None:
                return self._next.model
            last = self._last = self._next
        return last.model

    def _batch(self, table: Table, first: TrialId, tally: int, before: Model | None) -> Batch[Model]:
        n = int(np.searchsorted(table.trials, first))
        known = Known(table, n, table.entered[:n] & (table.heard[:n] < tally))
        grow = GROW if table.objectives == 1 else GROW_SEVERAL
        size = 1 + first // grow + min((first // MANY) ** 2, MOST) + len(known.pending) // PENDING
        return Batch(first, first + size, tally, self._build(known, range(first, first + size), before))


def _born(table: Table, trial: TrialId) -> int | None:
    """The tally when a trial was started; None when it was not yet."""
    row = int(np.searchsorted(table.trials, trial))
    if row == len(table) or table.trials[row] != trial or table.born[row] < 0:
        return None
    return int(table.born[row])
