"""The whole search again from its log: how the daemon comes back after a restart, and the proof behind
`searchd replay`.

Configs are read back from the log and never recomputed; every answer and every stop is computed again and compared.
The log is walked from zero: there is no snapshot (docs/decisions/0003-no-snapshots.md has what that costs).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numpy.random import Generator

from searchd.errors import NotFound
from searchd.log import Payload, answer_payload, event_of, stops_payload
from searchd.search.search import Search
from searchd.searchers.base import History, Searcher
from searchd.store.base import EventRow, Reader
from spaces.config import Config
from spaces.study import Study


class Recorded:
    """A searcher that answers the logged config of a trial, and asks `then` for a trial that the log has not seen."""

    def __init__(self, then: Searcher | None = None) -> None:
        self.configs: dict[int, Config] = {}
        self.then = then

    def suggest(self, trial: int, history: History, rng: Generator) -> Config:
        """The config of the log; LookupError for a trial that neither the log nor `then` knows."""
        known = self.configs.get(trial)
        if known is not None:
            return known
        if self.then is None:
            raise LookupError(f"the log holds no config of trial {trial}")
        return self.then.suggest(trial, history, rng)


@dataclass(frozen=True, slots=True)
class Difference:
    """The first event whose decision came out otherwise: what the log says, and what was computed now."""

    seq: int
    kind: str
    recorded: Any
    computed: Any

    def __str__(self) -> str:
        return f"seq {self.seq} ({self.kind}): the log says {self.recorded}, computed again it is {self.computed}"


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """What a replay found. `decisions`: answers and stops that were compared; `differences`: empty or the first one."""

    study: str
    events: int
    decisions: int
    differences: tuple[Difference, ...]

    @property
    def equal(self) -> bool:
        return not self.differences


class Replayer:
    """Plays a log into a fresh `Search`, one event at a time.

    After the log, `search` goes on where the log ended: new trials are suggested by the study's own searcher.
    """

    def __init__(self) -> None:
        self.search: Search | None = None
        self.events = 0
        self.decisions = 0
        self._recorded = Recorded()
        self._seen: set[int] = set()

    def play(self, event: EventRow) -> Difference | None:
        """Apply one event; the difference if it decides otherwise than the log says."""
        self.events += 1
        if event.seq != self.events:
            return Difference(event.seq, event.kind, f"seq {event.seq}", f"seq {self.events} was expected: a gap")
        payload = event.payload
        if event.kind == "submitted":
            self.search = self._begin(payload["spec"])
            return None
        if self.search is None:
            return Difference(event.seq, event.kind, event.kind, "submitted must come first")
        if event.kind == "asked":
            return self._ask(self.search, event)
        if "event" in payload:
            return self._tell(self.search, event)
        return None

    def _begin(self, spec: Mapping[str, Any]) -> Search:
        search = Search(Study.parse(dict(spec)))
        self._recorded.then = search.searcher
        search.searcher = self._recorded
        return search

    def _ask(self, search: Search, event: EventRow) -> Difference | None:
        for brought in event.payload["trials"]:
            self._recorded.configs[brought["trial"]] = Config(brought["config"])
        answer = search.ask()
        computed: Payload = {**answer_payload(answer), "trials": self._brought(search)}
        recorded = {key: event.payload.get(key) for key in computed}
        return self._compare(event, recorded, computed)

    def _tell(self, search: Search, event: EventRow) -> Difference | None:
        stops = stops_payload(search.tell(event_of(event.payload)))
        computed = {"stops": stops, "trials": self._brought(search)}
        recorded = {"stops": event.payload["stops"], "trials": event.payload.get("trials", [])}
        return self._compare(event, recorded, computed)

    def _brought(self, search: Search) -> list[Payload]:
        return brought(search, self._seen)

    def _compare(self, event: EventRow, recorded: Any, computed: Any) -> Difference | None:
        self.decisions += 1
        return None if recorded == computed else Difference(event.seq, event.kind, recorded, computed)


def brought(search: Search, seen: set[int]) -> list[Payload]:
    """The trials of `search` that are not in `seen` yet, as the log keeps them; they are added to `seen`."""
    fresh = [trial for trial in range(len(seen), len(search.trials)) if trial not in seen]
    seen.update(fresh)
    return [
        {"trial": trial, "config": search.trials[trial].config.flat(), "state": search.trials[trial].state}
        for trial in fresh
    ]


def replay(reader: Reader, study: str) -> ReplayReport:
    """Prove the log of a study from zero; NotFound when there is no such study. Stops at the first difference."""
    if reader.study(study) is None:
        raise NotFound(f"no study {study!r}")
    replayer = Replayer()
    differences: tuple[Difference, ...] = ()
    for event in reader.events(study):
        if found := replayer.play(event):
            differences = (found,)
            break
    return ReplayReport(study, replayer.events, replayer.decisions, differences)
