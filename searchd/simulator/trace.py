"""What a simulated run leaves: every report in order of time, and the account of what was spent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from searchd.schedulers.events import TrialId
from searchd.search.search import Search
from spaces.study import Study

Ended = Literal["complete", "seconds", "budget", "hopeless"]


class Seen(NamedTuple):
    """One report: when (virtual seconds), of which trial and step, and what; `known` False: the world guessed it."""

    seconds: float
    trial: TrialId
    step: int
    metrics: Mapping[str, Any]
    points: tuple[Mapping[str, Any], ...] = ()
    known: bool = True


@dataclass(slots=True)
class Counts:
    """What a run did. `events`: steps, ends and troubles; `repeated`: steps trained again after a lost job;
    `guessed`: steps that the world did not know; `busy_s`: worker seconds spent on jobs."""

    events: int = 0
    asked: int = 0
    told: int = 0
    jobs: int = 0
    steps: int = 0
    repeated: int = 0
    guessed: int = 0
    measured: int = 0
    described: int = 0
    vetoed: int = 0
    finished: int = 0
    stopped: int = 0
    failed: int = 0
    lost: int = 0
    busy_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Run:
    """A finished run. `seconds`: its virtual length; `ended`: what ended it; `trace`: every report in order of time."""

    study: Study
    seed: int
    workers: int
    seconds: float
    ended: Ended
    trace: list[Seen]
    counts: Counts
    decision_cpu_s: float
    search: Search
    note: str = ""
