"""The rare events of a study, read once: a view of a study at a glance asks for one kind after the other, and each
question looks at the whole log."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from searchd.store.base import EventRow, Reader

RARE = frozenset({"status", "capacity", "remarked", "deepened", "lost", "waits"})


class _Noted:
    def __init__(self, reader: Reader, study: str) -> None:
        self._reader = reader
        self._study = study
        self._events = reader.events(study, kinds=RARE)

    def events(
        self, study: str, after: int = 0, limit: int | None = None, kinds: Iterable[str] | None = None
    ) -> list[EventRow]:
        wanted = None if kinds is None else frozenset(kinds)
        if study != self._study or limit is not None or wanted is None or not wanted <= RARE:
            return self._reader.events(study, after, limit, wanted)
        return [event for event in self._events if event.kind in wanted and event.seq > after]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)


def noted(reader: Reader, study: str) -> Reader:
    """The same reader, which has the events of `RARE` kinds of this study at hand; for as long as its one state."""
    return cast("Reader", _Noted(reader, study))
