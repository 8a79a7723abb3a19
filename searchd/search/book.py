"""What a search knows of its trials: the records, the order in which it learned, and the same in columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from searchd.schedulers.events import Losses, TrialId
from searchd.searchers.record import Record, State, changed
from searchd.searchers.table import Table
from spaces.space import Space


class Book:
    """`records` by trial id, in the order of the ids, and `rows`, the same as a list (ids have no gaps): row i is
    trial i. `version` counts every change. `tally`: see `Record`.

    The table is brought up to now when somebody reads it: who never does pays one set entry a change.
    """

    __slots__ = ("_changed", "_stale", "_table", "records", "rows", "tally", "version")

    def __init__(self, space: Space, objectives: int) -> None:
        self.records: dict[TrialId, Record] = {}
        self.rows: list[Record] = []
        self.version = 0
        self.tally = 0
        self._stale: set[TrialId] = set()
        self._changed: set[TrialId] = set()
        self._table = Table(space, objectives)

    def put(self, record: Record) -> None:
        """A trial is new, or is this from now on."""
        trial = record.trial
        self.records[trial] = record
        if trial == len(self.rows):
            self.rows.append(record)
        else:
            self.rows[trial] = record
        self._stale.add(trial)
        self._changed.add(trial)
        self.version += 1

    def take_changed(self) -> list[TrialId]:
        """The trials that are new, or other than when this was asked last, by id."""
        found = sorted(self._changed)
        self._changed.clear()
        return found

    def change(self, trial: TrialId, **changes: Any) -> None:
        """Some fields of a record are these from now on."""
        self.put(changed(self.records[trial], changes))

    def enter(self, trial: TrialId, step: int, points: tuple[Losses, ...], pace: float | None = None) -> None:
        """A trial's report entered a rung; it takes the next number. `pace`: seconds a step, where they are counted."""
        old = self.records[trial]
        losses: Mapping[int, tuple[Losses, ...]] = (
            MappingProxyType(old.losses | {step: points})  # type: ignore[operator]  # both are views of dicts
            if old.losses
            else MappingProxyType({step: points})
        )
        self.put(changed(old, {"losses": losses, "heard": self._next(old, step), "pace": pace}))

    def fail(self, trial: TrialId, reason: str, state: State = "failed") -> None:
        """A trial failed, or was vetoed; on its way to a rung it takes the next number there."""
        self.change(trial, state=state, reason=reason)
        record = self.records[trial]
        if record.fell is not None:
            self.change(trial, heard=self._next(record, record.fell))

    def table(self, version: int, ladders: Sequence[Sequence[int]]) -> Table | None:
        """The columns as of now; None when `version` is over, for they cannot go back."""
        if version != self.version:
            return None
        for trial in sorted(self._stale):
            self._table.update(self.records[trial])
        self._stale.clear()
        self._table.reach(ladders)
        return self._table

    def _next(self, record: Record, step: int) -> Mapping[int, int]:
        self.tally += 1
        if not record.heard:
            return MappingProxyType({step: self.tally - 1})
        return MappingProxyType(record.heard | {step: self.tally - 1})  # type: ignore[operator]
