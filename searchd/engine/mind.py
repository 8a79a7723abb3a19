"""What the engine remembers of a study between two transactions. All of it is a function of the log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from searchd.collector import uncollected
from searchd.errors import NotFound, Refused
from searchd.replay import Replayer, last_rebase, walk
from searchd.search.search import Search
from searchd.store.base import EventRow, Reader, StudyRow, StudyStatus
from searchd.wire import cause_of
from spaces.study import Study

Hopeless = Literal["failed", "vetoed"]
"""Ends of a trial that, when there is nothing else, speak against the task and not against a config."""


@dataclass(slots=True)
class Mind:
    """The study as its budget is now, the search, and the few counts that no table has.

    Thrown away after an exception and rebuilt from the log. `seen`: trials that the log knows. `states`: the state of
    each as written to its row. `dispatched`: jobs asked for, by (trial, kind), for their ids. `verified`: (trial, step)
    whose export ended. `seconds`: how long the study ran while a daemon lived. `slots`: as last logged. `then` and
    `reason`: what follows `verifying`. `forgiven`: how many trials had failed or were vetoed when the study last went
    on. `settled`: the search had no job to give, and nothing happened since.
    `remark`: what the searcher said last. `waits`: why the study waits, as last logged. `handed_back`: how often each
    job came back from a worker that was asked to leave; `refused`: from one that would not do it, and `refused_since`
    the study last went on. `peaks`: the most memory that each trial held [bytes]; `short`: how often memory did not
    suffice.
    """

    study: Study
    search: Search
    seen: set[int] = field(default_factory=set)
    states: dict[int, str] = field(default_factory=dict)
    dispatched: Counter[tuple[int, str]] = field(default_factory=Counter)
    verified: set[tuple[int, int]] = field(default_factory=set)
    seconds: float = 0.0
    slots: int | None = None
    then: StudyStatus = "done"
    reason: str = ""
    forgiven: Mapping[str, int] = field(default_factory=dict)
    settled: bool = False
    remark: str = ""
    waits: str = ""
    handed_back: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    refused_since: Counter[str] = field(default_factory=Counter)
    peaks: dict[int, int] = field(default_factory=dict)
    short: int = 0

    def came_back(self, payload: Mapping[str, Any]) -> None:
        """Take what an event `lost` says of memory, and of workers that left or refused."""
        cause = payload.get("cause") or cause_of("lost", payload["reason"])
        self.handed_back[payload["job"]] += cause == "preempted"
        self.refused[payload["job"]] += cause == "refused"
        self.refused_since[payload["job"]] += cause == "refused"
        self.short += cause == "out_of_memory"

    def goes_on(self) -> None:
        """The study begins or goes on: what failed and who refused before is not held against it."""
        self.forgiven = forgiven(self.search)
        self.refused_since.clear()

    def held(self, payload: Mapping[str, Any]) -> None:
        """Take the memory that an event says its trial held."""
        peak, trial = payload.get("peak_bytes"), payload.get("trial")
        if peak and trial is not None:
            self.peaks[trial] = max(peak, self.peaks.get(trial, 0))


def remember(row: StudyRow, reader: Reader) -> Mind:
    """The mind that the log of a study leaves. Refused when it does not replay, naming the first event that differs."""
    with uncollected():
        return _remembered(row, reader)


def _remembered(row: StudyRow, reader: Reader) -> Mind:
    gapless = reader.gapless(row.id)  # else event by event, to name the gap
    replayer = Replayer(last_rebase(reader, row.id), gapless=gapless)
    mind: Mind | None = None
    for event in walk(reader, row.id, told=gapless):
        if found := replayer.play(event):
            raise Refused(
                f"the log of study {row.id!r} does not replay at {found}: another version of searchd decided it, or a "
                "file that the study reads has changed; go on with the version that wrote it, or let this one decide "
                "from here on, with everything that was trained: `searchd rebase STUDY` (`searchd run FILE --rebase`)"
            )
        if mind is None and replayer.search is not None:
            mind = Mind(Study.parse(dict(row.spec)), replayer.search)
        if mind is not None and replayer.search is not None:
            mind.search = replayer.search  # another one from a rebase on
            _note(mind, event)
    if mind is None:
        raise NotFound(f"study {row.id!r} has no log")
    mind.seen = set(mind.search.trials)
    mind.states = {trial: known.state for trial, known in mind.search.trials.items()}
    return mind


def forgiven(search: Search) -> Mapping[str, int]:
    """How many trials failed so far, and how many were vetoed: a study that goes on is not judged by them."""
    return Counter(trial.state for trial in search.trials.values() if trial.state in get_args(Hopeless))


def _note(mind: Mind, event: EventRow) -> None:
    payload = event.payload
    match event.kind:
        case "asked":
            if payload["answer"] == "job":
                mind.dispatched[payload["trial"], payload["kind"]] += 1
        case "told":
            if "peak_bytes" in payload:
                mind.held(payload)
        case "exporting":
            mind.dispatched[payload["trial"], "export"] += 1
        case "verified":
            mind.verified.add((payload["trial"], payload["step"]))
        case "budget":
            mind.seconds = payload["seconds"]
        case "capacity":
            mind.slots = payload["slots"]
        case "remarked":
            mind.remark = payload["text"]
        case "waits":
            mind.waits = payload["text"]
        case "lost":
            mind.came_back(payload)
        case "status":
            if payload["status"] == "verifying":
                mind.then = payload["then"]
                mind.reason = payload["reason"]
            elif payload["status"] == "running":
                mind.goes_on()
