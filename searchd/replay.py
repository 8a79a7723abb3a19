"""The whole search again from its log: how the daemon comes back after a restart, and the proof behind
`searchd replay`.

Configs are read back from the log and never recomputed; every answer and every stop is computed again and compared.
Where a study was rebased (its log has the event `rebased`), what was decided before is taken as it is recorded: the new
rule begins with the facts of that stretch, and from there on everything is compared again.
The log is walked from zero: there is no snapshot (docs/decisions/0003-no-snapshots.md has what that costs).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from searchd.errors import NotFound
from searchd.log import Payload, answer_payload, event_of, stops_payload
from searchd.search.events import Stop
from searchd.search.facts import Facts
from searchd.search.recalling import recall
from searchd.search.search import Search
from searchd.searchers.base import Morphed, Record
from searchd.store.base import EventRow, Reader
from spaces.config import Config
from spaces.study import Study

PAGE = 1000
"""Events read at a time."""


@dataclass(frozen=True, slots=True)
class Difference:
    """The first event whose decision came out otherwise: what the log says, and what was computed now."""

    seq: int
    kind: str
    recorded: Any
    computed: Any
    decided: bool = True
    """False: the log itself is broken, and no other rule would explain it."""

    def __str__(self) -> str:
        return f"seq {self.seq} ({self.kind}): the log says {self.recorded}, computed again it is {self.computed}"


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """What a replay found. `decisions`: answers and stops that were compared; `differences`: empty or the first one.

    `rebased`: the seq of the last rebase, 0 without one; `taken`: decisions before it, taken as they are recorded.
    """

    study: str
    events: int
    decisions: int
    differences: tuple[Difference, ...]
    rebased: int = 0
    taken: int = 0

    @property
    def equal(self) -> bool:
        return not self.differences


class Replayer:
    """Plays a log into a fresh `Search`, one event at a time. `rebased`: the seq of its last rebase (`last_rebase`).
    `gapless`: the log is known to have no gap, and events that nothing follows from may be left out.

    After the log, `search` goes on where the log ended: new trials are suggested by the study's own searcher.
    """

    def __init__(self, rebased: int = 0, *, gapless: bool = False) -> None:
        self.search: Search | None = None
        self.facts = Facts()
        self.events = 0
        self.decisions = 0
        self.taken = 0
        self._rebased = rebased
        self._gapless = gapless
        self._spec: Mapping[str, Any] = {}
        self._configs: dict[int, Config | Morphed] = {}
        self._seen: set[int] = set()

    def play(self, event: EventRow) -> Difference | None:
        """Apply one event; the difference if it decides otherwise than the log says."""
        self.events = event.seq if self._gapless else self.events + 1
        if event.seq != self.events:
            return Difference(event.seq, event.kind, f"seq {event.seq}", f"seq {self.events} was expected: a gap",
                              decided=False)  # fmt: skip
        payload = event.payload
        if event.kind == "submitted":
            self._spec = payload["spec"]
            self.search = self._begin()
            return None
        if self.search is None:
            return Difference(event.seq, event.kind, event.kind, "submitted must come first", decided=False)
        if event.seq <= self._rebased:
            note(self.facts, event)
            self.taken += is_decision(event)
            if event.seq == self._rebased:
                self.search = self._begin()
                recall(self.search, self.facts)
                self._seen = set(self.search.trials)
            return None
        if event.kind == "asked":
            return self._ask(self.search, event)
        if "event" in payload:
            return self._tell(self.search, event)
        return None

    def _begin(self) -> Search:
        search = Search(Study.parse(dict(self._spec)))
        search.recorded = self._configs
        return search

    def _ask(self, search: Search, event: EventRow) -> Difference | None:
        payload = event.payload
        for new in payload["trials"]:
            self._configs[new["trial"]] = _suggestion(new)
        computed: Payload = answer_payload(search.ask())
        computed["trials"] = brought(search, self._seen)
        self.decisions += 1
        for name, value in computed.items():
            if payload.get(name) != value:
                return Difference(event.seq, event.kind, {key: payload.get(key) for key in computed}, computed)
        return None

    def _tell(self, search: Search, event: EventRow) -> Difference | None:
        payload = event.payload
        stops = search.tell(event_of(payload))
        fresh = brought(search, self._seen) if len(search.trials) != len(self._seen) else []
        self.decisions += 1
        if not (stops or fresh or payload["stops"] or payload.get("trials")):  # nearly always
            return None
        computed = {"stops": stops_payload(stops), "trials": fresh}
        recorded = {"stops": payload["stops"], "trials": payload.get("trials", [])}
        return None if recorded == computed else Difference(event.seq, event.kind, recorded, computed)


def brought(search: Search, seen: set[int]) -> list[Payload]:
    """The trials of `search` that are not in `seen` yet, as the log keeps them; they are added to `seen`."""
    known = len(search.trials)
    if known == len(seen):  # ids have no gaps
        return []
    fresh = [trial for trial in range(len(seen), known) if trial not in seen]
    seen.update(fresh)
    return [_trial(search.trials[trial]) for trial in fresh]


def _trial(known: Record) -> Payload:
    said: Payload = {"trial": known.trial, "config": known.config.flat(), "state": known.state}
    if known.morph is not None:
        said["morphed"] = {"parent": known.parent, "step": known.morph}
    return said


def _suggestion(new: Mapping[str, Any]) -> Config | Morphed:
    """What the searcher said of a trial in the log: its parent's step is computed again."""
    config = Config(new["config"])
    return Morphed(config, new["morphed"]["parent"]) if "morphed" in new else config


def replay(reader: Reader, study: str) -> ReplayReport:
    """Prove the log of a study from zero; NotFound when there is no such study. Stops at the first difference."""
    if reader.study(study) is None:
        raise NotFound(f"no study {study!r}")
    rebased = last_rebase(reader, study)
    replayer = Replayer(rebased)
    differences: tuple[Difference, ...] = ()
    for event in walk(reader, study):
        if found := replayer.play(event):
            differences = (found,)
            break
    return ReplayReport(study, replayer.events, replayer.decisions, differences, rebased, replayer.taken)


def walk(reader: Reader, study: str, *, told: bool = False) -> Iterator[EventRow]:
    """The log of a study, oldest first, page by page: a long one is never in memory as a whole. `told`: without what
    nothing follows from (`Reader.told`)."""
    after, read = 0, reader.told if told else reader.events
    while page := read(study, after=after, limit=PAGE):
        yield from page
        after = page[-1].seq


def last_rebase(reader: Reader, study: str) -> int:
    """The seq of the newest event `rebased` of a study; 0 when there is none."""
    return max((event.seq for event in reader.events(study, kinds=("rebased",))), default=0)


def is_decision(event: EventRow) -> bool:
    """Whether the event holds something that the search decided."""
    return event.kind == "asked" or "event" in event.payload


def note(facts: Facts, event: EventRow) -> None:
    """What an event of the log says of the world."""
    payload = event.payload
    for new in payload.get("trials", ()):
        morphed = new.get("morphed")
        facts.came(new["trial"], Config(new["config"]), morphed and (morphed["parent"], morphed["step"]))
    if event.kind == "asked" and payload.get("kind") == "measure":
        facts.measures(payload["trial"], payload["signature"])
    if event.kind == "rebased":
        for report in payload["reports"]:
            facts.reported(report["trial"], report["step"], report["metrics"], tuple(report["points"]))
    if "event" in payload:
        stops = [Stop(stop["trial"], stop["reason"]) for stop in payload.get("stops", ())]
        facts.happened(event_of(payload), stops)
