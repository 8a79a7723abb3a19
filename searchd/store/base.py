"""The store's contract: one append-only log of events a study, and views written in the same transaction.

The daemon is the only writer. Readers (HTTP, `searchd front`, the page) may open the same database at any
time. Times are Unix seconds (float) given by the caller: a store reads no clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal, Protocol

from searchd.values import value

StudyStatus = Literal["queued", "running", "paused", "verifying", "done", "stopped", "faulted"]
TrialStatus = Literal["waiting", "running", "paused", "done", "stopped", "failed", "vetoed"]
Scope = Literal["read", "submit", "admin"]
"""How far a token reaches; each holds the one before it."""
JobStatus = Literal["outbox", "queued", "running", "finished", "lost", "failed", "stopped", "cancelled"]
IN_FLIGHT: frozenset[JobStatus] = frozenset({"outbox", "queued", "running"})


@value
class StudyRow:
    """`spec` is `Study.dump()`; `status_reason` is for a person; `artifacts` the root folder or URL of its files."""

    id: str
    name: str
    spec: Mapping[str, Any]
    status: StudyStatus
    status_reason: str
    created_at: float
    started_at: float | None
    ended_at: float | None
    artifacts: str


@value
class EventRow:
    study: str
    seq: int
    at: float
    kind: str
    payload: Mapping[str, Any]


@value
class TrialRow:
    """`step`: the last step reported. `signature`: what was measured for it."""

    study: str
    trial: int
    config: Mapping[str, Any]
    status: TrialStatus
    step: int
    bracket: int
    reason: str
    error: str
    signature: str | None
    created_at: float
    ended_at: float | None


@value
class JobRow:
    """`attempt` is the fencing token; `spec` the JobSpec that goes down, without `attempt` and `checkpoint`."""

    id: str
    study: str
    trial: int
    kind: str
    since: int
    until: int
    attempt: int
    status: JobStatus
    worker: str
    device: str
    reason: str
    stop_reason: str | None
    spec: Mapping[str, Any]
    created_at: float
    begun_at: float | None
    ended_at: float | None


@value
class RunRow:
    """What a view of thousands of jobs needs of each: a JobRow without its spec, which takes most of the reading."""

    trial: int
    kind: str
    since: int
    attempt: int
    status: JobStatus
    worker: str
    reason: str
    begun_at: float | None
    ended_at: float | None


@value
class ReportRow:
    """One report: metrics by name (NaN where diverged) and the operating points, at a step of a trial."""

    study: str
    trial: int
    step: int
    job: str
    attempt: int
    at: float
    seconds: float
    metrics: Mapping[str, float]
    points: Sequence[Mapping[str, Any]]


@value
class CheckpointRow:
    study: str
    trial: int
    step: int
    path: str
    sha256: str
    bytes: int
    at: float


@value
class PointRow:
    """An operating point of a trial at a step, merged (training + describe + measured) and signed off by `Search`.

    `verified`: the metrics were taken again at the end, alone, from the exported file.
    """

    study: str
    trial: int
    point: int
    step: int
    metrics: Mapping[str, Any]
    violation: float
    verified: bool


@value
class DeviceRow:
    """A device that somebody registered, by the name (class) under which its workers serve it.

    `runtime`: what measures there. `facts`: what its figures hold for (`runtime`, `driver`, `clocks`, `threads`), as a
    worker said last. `profile`: `searchd.devices.profile`, None before the first. `profiling`: how the last profile
    goes or went.
    """

    name: str
    identity: str
    runtime: str
    facts: Mapping[str, str]
    profile: Mapping[str, Any] | None
    profiling: Mapping[str, Any] | None
    added_at: float


@value
class TokenRow:
    """A bearer token: `sha256` of its secret in hex; `expires_at` None: never."""

    name: str
    scope: Scope
    sha256: str
    created_at: float
    expires_at: float | None


class Reader(Protocol):
    """Read-only questions; each sees one consistent state."""

    def studies(self) -> list[StudyRow]: ...
    def study(self, study: str) -> StudyRow | None: ...
    def events(
        self, study: str, after: int = 0, limit: int | None = None, kinds: Iterable[str] | None = None
    ) -> list[EventRow]:
        """The log after `seq` `after`, oldest first; of these `kinds` only, where given."""
        ...
    def told(self, study: str, after: int = 0, limit: int | None = None) -> list[EventRow]:
        """The log after `seq` `after` without the events `begun`, a quarter of it, which nothing follows from."""
        ...
    def gapless(self, study: str) -> bool:
        """Whether the log's `seq` are 1, 2, 3, … to its last event, the events `begun` included."""
        ...
    def resumed(self, study: str) -> list[EventRow]:
        """The events `begun` of jobs that went on from a checkpoint, whose `since` is above 0, oldest first."""
        ...
    def trials(self, study: str) -> list[TrialRow]: ...
    def trial(self, study: str, trial: int) -> TrialRow | None: ...
    def jobs(self, study: str | None = None, statuses: Iterable[JobStatus] | None = None) -> list[JobRow]: ...
    def runs(self, study: str) -> list[RunRow]:
        """The jobs of a study in the order in which they were made, without their specs."""
        ...
    def job(self, job: str) -> JobRow | None: ...
    def reports(self, study: str, trial: int | None = None, steps: Iterable[int] | None = None) -> list[ReportRow]:
        """By trial and step: of one trial, at these steps."""
        ...
    def last_reports(self, study: str) -> list[ReportRow]:
        """The report of each trial at its largest step, by trial."""
        ...
    def has_report(self, study: str, trial: int, step: int) -> bool: ...
    def checkpoint(self, study: str, trial: int, step: int | None = None) -> CheckpointRow | None:
        """The newest durable checkpoint of a trial, or the one at `step`."""
        ...
    def points(self, study: str) -> list[PointRow]:
        """The points of every trial at the last step that it reported at a rung."""
        ...
    def measurement(self, device: str, signature: str) -> Mapping[str, Any] | None: ...
    def devices(self) -> list[DeviceRow]:
        """Every registered device, by name."""
        ...
    def device(self, name: str) -> DeviceRow | None: ...
    def tokens(self) -> list[TokenRow]:
        """Every bearer token, by name."""
        ...
    def hook(self, hook: str) -> float | None:
        """Since when a receiver of webhooks is told; None: it is not known yet."""
        ...
    def notices(self, hook: str) -> set[tuple[str, int]]:
        """(study, seq) of the ends that are settled with a receiver: delivered, or given up."""
        ...
    def tally(self) -> Mapping[tuple[str, str, str], int]:
        """How many rows: (`studies`, status, ""), (`jobs`, kind, status), (`trials`, status, ""), and `reports`,
        `duplicates` of all studies as (name, "", "")."""
        ...
    def counts(self, study: str) -> Mapping[str, int]:
        """`reports`, `steps` (sum over trials of the last step), `duplicates`, `events`, `trials`."""
        ...


class Transaction(Reader, Protocol):
    """Everything that is written, in one transaction: all of it or nothing."""

    def expect(self, study: str, jobs: Iterable[str]) -> None:
        """Messages of these jobs come next: read at once what each of them will ask for."""
        ...
    def add_study(self, row: StudyRow) -> None: ...
    def set_study(self, study: str, **changes: Any) -> None: ...
    def append(self, study: str, kind: str, payload: Mapping[str, Any], at: float) -> int:
        """Add an event; returns its `seq` (1, 2, 3, … a study, without gaps)."""
        ...
    def put_trial(self, row: TrialRow) -> None: ...
    def set_trial(self, study: str, trial: int, **changes: Any) -> None: ...
    def put_job(self, row: JobRow) -> None: ...
    def set_job(self, job: str, **changes: Any) -> None: ...
    def add_report(self, row: ReportRow) -> bool:
        """False, and nothing written, when (study, trial, step) is recorded already: the first commit wins."""
        ...
    def put_checkpoint(self, row: CheckpointRow) -> None: ...
    def put_points(self, study: str, trial: int, points: Sequence[PointRow]) -> None:
        """Replace all points of the trial."""
        ...
    def put_measurement(self, device: str, signature: str, result: Mapping[str, Any], at: float) -> None: ...
    def put_device(self, row: DeviceRow) -> None:
        """Register a device, or replace all that is known of it."""
        ...
    def drop_device(self, name: str) -> None:
        """Forget a device and its profile; one that is not there changes nothing."""
        ...
    def put_token(self, row: TokenRow) -> None:
        """Add a token, or replace the one of that name."""
        ...
    def drop_token(self, name: str) -> None:
        """Forget a token; one that is not there changes nothing."""
        ...
    def put_hook(self, hook: str, since: float) -> None: ...
    def put_notice(self, hook: str, study: str, seq: int, state: str, at: float) -> None: ...
    def count_duplicate(self, study: str, n: int = 1) -> None: ...


class Store(Protocol):
    @property
    def moved(self) -> int:
        """How many transactions of this store that put or changed a job were committed, or may have been: while it
        stays, no job has changed, for one process alone writes."""
        ...
    def transaction(self) -> AbstractContextManager[Transaction]:
        """Commits at the end of the block, rolls back on an exception."""
        ...
    def reading(self) -> AbstractContextManager[Reader]: ...
    def lead(self, holder: str) -> int:
        """Become the one that writes, over this and every later process: raises the fencing token and answers it.

        From then on each transaction of a store that led before is Fenced. A store that never led is not compared.
        """
        ...
    def check_lead(self) -> None:
        """Fenced when another store leads since; a question that writes nothing."""
        ...
    def close(self) -> None: ...
