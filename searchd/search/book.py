"""What a search knows of its trials: the records, the order in which it learned, and the same in columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from searchd.schedulers.events import Losses, TrialId
from searchd.searchers.record import Record
from searchd.searchers.table import Table
from spaces.space import Space


class Book:
    """`records` by trial id, in the order of the ids. `version` counts every change. `tally`: see `Record`.

    The table is brought up to now when somebody reads it: who never does pays one set entry a change.
    """

    __slots__ = ("_stale", "_table", "records", "tally", "version")

    def __init__(self, space: Space, objectives: int) -> None:
        self.records: dict[TrialId, Record] = {}
        self.version = 0
        self.tally = 0
        self._stale: set[TrialId] = set()
        self._table = Table(space, objectives)

    def put(self, record: Record) -> None:
        """A trial is new, or is this from now on."""
        self.records[record.trial] = record
        self._stale.add(record.trial)
        self.version += 1

    def change(self, trial: TrialId, **changes: Any) -> None:
        """Some fields of a record are these from now on."""
        self.put(replace(self.records[trial], **changes))

    def enter(self, trial: TrialId, step: int, losses: tuple[Losses, ...]) -> None:
        """A trial's report entered a rung; it takes the next number."""
        record = self.records[trial]
        self.change(
            trial,
            losses=MappingProxyType({**record.losses, step: losses}),
            heard=self._next(record, step),
        )

    def fail(self, trial: TrialId, reason: str) -> None:
        """A trial failed; on its way to a rung it takes the next number there."""
        self.change(trial, state="failed", reason=reason)
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
        return MappingProxyType({**record.heard, step: self.tally - 1})
