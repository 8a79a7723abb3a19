"""The history in columns: one row a trial, one column a rung step, grown as the search goes on.

`Search` keeps one table and touches the rows that changed; `Table.of` builds the same from records. Columns are
read-only views, so a suggestion copies nothing.

    table = history.table
    column = table.column(step)                       # of table.steps
    known = table.heard[:, column] < born             # with table.entered[:, column]: what trial `born` could know
    losses = table.loss[known, column]                # one objective; +inf diverged, NaN not reached
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from math import inf, nan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from searchd.schedulers.events import Losses, TrialId
from searchd.schedulers.order import DIVERGED, best_points, standing
from searchd.searchers.record import Record, State
from spaces.space import Space

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

STATES: Mapping[State, int] = {
    "waiting": 0, "running": 1, "paused": 2, "done": 3, "stopped": 4, "failed": 5, "vetoed": 6,
}  # fmt: skip
"""The numbers in `Table.state`; below 2 a trial runs or waits to."""
WAITING, RUNNING, PAUSED, DONE, STOPPED, FAILED, VETOED = STATES.values()
FIRST = 64
"""Rows to begin with; doubled when full."""


class Table:
    """`space` gives the columns of `units`; `loss` is filled for one objective only (see `best_points` for several)."""

    __slots__ = (
        "__weakref__", "_born", "_cached", "_depth", "_heard", "_ladders", "_loss", "_n", "_pace", "_points", "_row",
        "_state", "_steps", "_tally", "_trials", "_units", "_until", "_violation", "objectives", "space", "version",
    )  # fmt: skip

    def __init__(self, space: Space, objectives: int, ladders: Iterable[Sequence[int]] = ()) -> None:
        self.space = space
        self.objectives = objectives
        self.version = 0
        self._ladders = tuple(tuple(ladder) for ladder in ladders)
        self._steps: tuple[int, ...] = tuple(sorted({step for ladder in self._ladders for step in ladder}))
        self._n = 0
        self._tally = 0
        self._row: dict[TrialId, int] = {}
        self._points: dict[int, dict[TrialId, tuple[Losses, ...]]] = {}
        self._cached: dict[int, tuple[int, dict[TrialId, Losses | None]]] = {}
        k = len(self._steps)
        self._trials = np.zeros(FIRST, dtype=np.int64)
        self._units = np.full((FIRST, space.width), nan)
        self._state = np.zeros(FIRST, dtype=np.int8)
        self._depth = np.full(FIRST, -1, dtype=np.int64)
        self._until = np.zeros(FIRST, dtype=np.int64)
        self._born = np.zeros(FIRST, dtype=np.int64)
        self._pace = np.full(FIRST, nan)
        self._loss = np.full((FIRST, k), nan)
        self._violation = np.full((FIRST, k), nan)
        self._heard = np.full((FIRST, k), -1, dtype=np.int64)

    @classmethod
    def of(
        cls, space: Space, objectives: int, ladders: Iterable[Sequence[int]], records: Iterable[Record]
    ) -> Table:  # fmt: skip
        """The table of these records, in their order."""
        table = cls(space, objectives, ladders)
        for record in records:
            table.update(record)
        return table

    # ------------------------------------------------------------ what is known
    def __len__(self) -> int:
        """How many trials, n."""
        return self._n

    @property
    def tally(self) -> int:
        """How many reports and failures were heard: what a trial that starts now is `born` with."""
        return self._tally

    @property
    def steps(self) -> tuple[int, ...]:
        """The rung steps of all ladders, and those that were reported at beside them, ascending: K of them."""
        return self._steps

    @property
    def trials(self) -> Ints:
        """Trial ids [n]; row i is trial i in every history of a search."""
        return _view(self._trials, self._n)

    @property
    def units(self) -> Floats:
        """Configs in the unit cube [n, width] (`Space.encode`), NaN where a parameter is not active."""
        return _view(self._units, self._n)

    @property
    def state(self) -> NDArray[np.int8]:
        """States [n], as numbers of STATES."""
        return _view(self._state, self._n)

    @property
    def depth(self) -> Ints:
        """Index into `steps` of the deepest rung that the trial reported at [n], -1 before the first."""
        return _view(self._depth, self._n)

    @property
    def until(self) -> Ints:
        """The step where the trial's last job goes or went [n], 0 before the first."""
        return _view(self._until, self._n)

    @property
    def born(self) -> Ints:
        """The tally when the trial was started [n], -1 before (see `Record`)."""
        return _view(self._born, self._n)

    @property
    def pace(self) -> Floats:
        """Seconds that a step of the trial's training takes [n], NaN where nobody counted them (see `Record`)."""
        return _view(self._pace, self._n)

    @property
    def loss(self) -> Floats:
        """Value of the best point [n, K] (least violation, then least value): NaN not reached, +inf diverged or
        failed on the way there. Several objectives: NaN, but for +inf."""
        return _view(self._loss, self._n)

    @property
    def violation(self) -> Floats:
        """Violation of that point [n, K], 0 feasible, +inf diverged or failed, NaN not reached: (violation, loss)
        sorts as the scheduler does."""
        return _view(self._violation, self._n)

    @property
    def entered(self) -> NDArray[np.bool_]:
        """Whether the trial counts in that rung [n, K]: it reported there, or failed on its way there."""
        there: NDArray[np.bool_] = ~np.isnan(self._violation[: self._n])
        return there

    @property
    def heard(self) -> Ints:
        """The tally of that entry [n, K], -1 where there is none, or where the record has no tallies."""
        return _view(self._heard, self._n)

    def column(self, step: int) -> int:
        """The index of a rung step in `steps`; KeyError when it is none."""
        at = bisect_left(self._steps, step)
        if at == len(self._steps) or self._steps[at] != step:
            raise KeyError(f"{step} is no rung step: there are {', '.join(map(str, self._steps)) or 'none'}")
        return at

    def row(self, trial: TrialId) -> int:
        """The row of a trial; KeyError when there is none."""
        return self._row[trial]

    def best_points(self, step: int) -> Mapping[TrialId, Losses | None]:
        """For each trial in the rung the point that its rank comes from, None for a diverged or failed one."""
        kept = self._cached.get(step)
        if kept is None or kept[0] != self.version:
            kept = self._cached[step] = (self.version, best_points(self._points.get(step, {})))
        return kept[1]

    def points(self, step: int) -> Mapping[TrialId, tuple[Losses, ...]]:
        """What each trial brought at a rung step, in the order of entry: no point where it failed on its way."""
        return self._points.get(step, {})

    # ------------------------------------------------------------ growing
    def update(self, record: Record) -> None:
        """A trial is new, or changed. What entered a rung stays there as it is."""
        row = self._row.get(record.trial)
        if row is None:
            row = self._add(record)
        self.version += 1
        self._state[row] = STATES[record.state]
        self._until[row] = record.until
        self._born[row] = record.born
        self._pace[row] = nan if record.pace is None else record.pace
        for step, points in record.losses.items():
            self._enter(row, record, step, points)
        fell = record.fell
        if fell is not None:
            self._enter(row, record, fell, ())

    def reach(self, ladders: Sequence[Sequence[int]]) -> None:
        """The ladders are these now (a search was deepened): `steps` follows."""
        if ladders == self._ladders:
            return
        self._ladders = tuple(tuple(ladder) for ladder in ladders)
        self._set_steps({step for ladder in self._ladders for step in ladder} | self._points.keys())

    def _enter(self, row: int, record: Record, step: int, points: tuple[Losses, ...]) -> None:
        entered = self._points.get(step)
        if entered is None:
            if step not in self._steps:
                self._set_steps({*self._steps, step})
            entered = self._points[step] = {}
        if record.trial in entered:
            return
        entered[record.trial] = points
        column = self.column(step)
        kind, violation, best = standing(points)
        if kind >= DIVERGED:
            self._loss[row, column] = self._violation[row, column] = inf
        else:
            self._violation[row, column] = violation
            if self.objectives == 1:
                self._loss[row, column] = best[0][0]
        heard = record.heard.get(step, -1)
        self._heard[row, column] = heard
        self._tally = max(self._tally, heard + 1)
        if step in record.losses:
            self._depth[row] = max(int(self._depth[row]), column)

    def _add(self, record: Record) -> int:
        row = self._n
        if row == len(self._trials):
            self._double()
        self._row[record.trial] = row
        self._trials[row] = record.trial
        self._units[row] = self.space.encode(record.config)
        self._n += 1
        return row

    def _double(self) -> None:
        self._trials, self._state, self._until, self._born = (
            _longer(a, 0) for a in (self._trials, self._state, self._until, self._born)
        )
        self._units, self._loss, self._violation, self._pace = (
            _longer(a, nan) for a in (self._units, self._loss, self._violation, self._pace)
        )
        self._depth, self._heard = (_longer(a, -1) for a in (self._depth, self._heard))

    def _set_steps(self, wanted: Iterable[int]) -> None:
        steps = tuple(sorted(wanted))
        old = {step: k for k, step in enumerate(self._steps)}
        new = {step: k for k, step in enumerate(steps)}
        kept = [step for step in steps if step in old]
        to, since = [new[s] for s in kept], [old[s] for s in kept]
        for name, fill in (("_loss", nan), ("_violation", nan), ("_heard", -1)):
            array = getattr(self, name)
            wider = np.full((len(array), len(steps)), fill, dtype=array.dtype)
            wider[:, to] = array[:, since]
            setattr(self, name, wider)
        moved = np.array([new.get(step, -1) for step in self._steps] + [-1], dtype=np.int64)
        self._depth = moved[self._depth]
        self._steps = steps
        self.version += 1


def _view(array: NDArray[Any], n: int) -> NDArray[Any]:
    view = array[:n]
    view.flags.writeable = False
    return view


def _longer(array: NDArray[Any], fill: float) -> NDArray[Any]:
    grown = np.full((2 * len(array), *array.shape[1:]), fill, dtype=array.dtype)
    grown[: len(array)] = array
    return grown
