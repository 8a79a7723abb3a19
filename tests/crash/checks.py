"""What must hold after a run, whatever happened in it: asked of the store, the broker, the disk and the witness."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from searchd.replay import replay
from searchd.store.base import EventRow, Reader, StudyRow
from searchd.wire import LEASE_S, UP
from tests.crash.crash_tasks import error
from tests.crash.world import Notes, World

ENDS = frozenset({"paused", "done", "stopped"})
"""What a trial of an ended study may be; `failed` too if its job was lost five times."""
LOST_TOO_OFTEN = "lost 5 times"


def check(world: World) -> list[str]:
    """Everything that does not hold, each as a line; call it when every study has ended and the fleet still runs."""
    notes = world.witness()
    said = world.read(lambda reader: [line for row in reader.studies() for line in _study(reader, row, notes)])
    if said is None:
        return ["the database does not answer"]
    return [*said, *_broker(world)]


def _study(reader: Reader, row: StudyRow, notes: Notes) -> Iterator[str]:
    """One study. Statuses are legal by the database's own constraints; here: that they fit what happened."""
    log = reader.events(row.id)
    if row.status != "done":
        yield f"{row.id} is {row.status} ({row.status_reason})"
    if [event.seq for event in log] != list(range(1, len(log) + 1)):
        yield f"{row.id}: the log has gaps"
    found = replay(reader, row.id)
    if not found.equal:
        yield f"{row.id}: a replay decides otherwise: {found.differences}"
    trials = reader.trials(row.id)
    if len(trials) != row.spec["budget"]["trials"]:
        yield f"{row.id}: {len(trials)} trials, the budget has {row.spec['budget']['trials']}"
    for trial in trials:
        if trial.status not in ENDS and trial.reason != LOST_TOO_OFTEN:
            yield f"{row.id} trial {trial.trial} is {trial.status} ({trial.reason}: {trial.error[-300:]})"
    yield from _reports(reader, row, notes)
    yield from _jobs(reader, row, log)
    yield from _checkpoints(reader, row)


def _reports(reader: Reader, row: StudyRow, notes: Notes) -> Iterator[str]:
    """Every report once, none missing, with the value that its step has; and the search was told of each rung once."""
    stopped = {t.trial for t in reader.trials(row.id) if t.status in ("stopped", "failed")}
    stored: dict[int, list[int]] = defaultdict(list)
    pids: dict[tuple[str, int], set[int]] = defaultdict(set)
    for report in reader.reports(row.id):
        stored[report.trial].append(report.step)
        trial = reader.trial(row.id, report.trial)
        assert trial is not None
        wanted = {"error": error(trial.config["x"], report.step), "count": float(report.step)}
        found = dict(report.metrics)
        pids[report.job, report.attempt].add(int(found.pop("pid")))
        if found != wanted:
            yield f"{row.id} trial {report.trial} step {report.step} has {found}, not {wanted}"
    if shared := {key: sorted(who) for key, who in pids.items() if len(who) > 1}:
        yield f"{row.id}: two processes reported as one attempt: {shared}"
    computed = {(trial, step) for study, trial, step in notes if study == row.id}
    for trial, steps in stored.items():
        if sorted(steps) != list(range(1, max(steps) + 1)):
            yield f"{row.id} trial {trial}: steps {sorted(steps)} are recorded"
    recorded = {(trial, step) for trial, steps in stored.items() for step in steps}
    if invented := recorded - computed:
        yield f"{row.id}: recorded and never computed: {sorted(invented)}"
    if missing := {(trial, step) for trial, step in computed - recorded if trial not in stopped}:
        yield f"{row.id}: computed and not recorded: {sorted(missing)}"
    told = Counter(told_of(reader.events(row.id, kinds=("told",))))
    if twice := [key for key, times in told.items() if times > 1]:
        yield f"{row.id}: told twice: {twice}"


def told_of(log: list[EventRow]) -> Iterator[tuple[int, int]]:
    """(trial, step) of each report that the search was told of."""
    for event in log:
        if event.payload["event"] == "reported":
            yield event.payload["trial"], event.payload["step"]


def _jobs(reader: Reader, row: StudyRow, log: list[EventRow]) -> Iterator[str]:
    """No job is held by anybody, none was asked for twice, and each attempt follows a loss that the log has."""
    jobs = reader.jobs(row.id)
    if held := [job.id for job in jobs if job.status in ("outbox", "queued", "running")]:
        yield f"{row.id}: still in flight: {held}"
    spans = Counter((job.trial, job.kind, job.since, job.until) for job in jobs)
    if twice := [key for key, times in spans.items() if times > 1]:
        yield f"{row.id}: asked for twice: {twice}"
    lost = Counter(e.payload["job"] for e in log if e.kind == "lost" and e.payload["retried"])
    for job in jobs:
        if job.attempt != 1 + lost[job.id]:
            yield f"{job.id} is at attempt {job.attempt} after {lost[job.id]} losses"
        if job.until > row.spec["search"]["R"]:
            yield f"{job.id} goes to {job.until}, beyond R"
    begun = Counter((e.payload["job"], e.payload["attempt"]) for e in log if e.kind == "begun")
    if twice_begun := [key for key, times in begun.items() if times > 1]:
        yield f"{row.id}: begun twice: {twice_begun}"


def _checkpoints(reader: Reader, row: StudyRow) -> Iterator[str]:
    """The newest checkpoint of each trial is on the disk, as it was written."""
    for trial in reader.trials(row.id):
        kept = reader.checkpoint(row.id, trial.trial)
        if kept is None:
            if trial.status in ("paused", "done"):
                yield f"{row.id} trial {trial.trial} is {trial.status} without a checkpoint"
            continue
        file = Path(row.artifacts) / kept.path
        if not file.exists():
            yield f"{row.id} trial {trial.trial}: its checkpoint {kept.path} does not exist"
        elif hashlib.sha256(file.read_bytes()).hexdigest() != kept.sha256:
            yield f"{row.id} trial {trial.trial}: its checkpoint {kept.path} is damaged"


def _broker(world: World) -> Iterator[str]:
    """Nothing waits to be recorded, nobody is asked to stop, and who is said to live does."""
    redis = world.broker.direct

    def asked() -> list[Any]:
        """Requests to stop that nobody would ever take back; those of a job that ended expire, and stop nobody."""
        return [key for key in redis.scan_iter("searchd:stop:*") if redis.ttl(key) < 0]

    def still() -> bool:
        return not redis.xlen(UP) and not asked()

    try:
        world.until(still, "the stream is empty", 20)
    except AssertionError:
        yield f"left in the broker: {redis.xlen(UP)} entries, {asked()}"
    for key in redis.scan_iter("searchd:worker:*"):
        if not 0 < redis.ttl(key) <= LEASE_S:
            yield f"{key} lives for ever"
    if poison := redis.xlen("searchd:poison"):
        yield f"{poison} messages were unreadable"


def repeated(notes: Notes) -> int:
    """Steps that were computed again."""
    return sum(len(times) - 1 for times in notes.values())


def repeats(reader: Reader, notes: Notes) -> tuple[int, dict[tuple[str, int], int]]:
    """(lost attempts, for each trial that lost any: steps computed again beyond one for each loss, where there are)."""
    total, beyond = 0, {}
    for row in reader.studies():
        again: Counter[int] = Counter()
        for (study, trial, _), times in notes.items():
            if study == row.id:
                again[trial] += len(times) - 1
        lost = Counter(e.payload["trial"] for e in reader.events(row.id, kinds=("lost",)))
        total += lost.total()
        beyond |= {(row.id, trial): again[trial] - lost[trial] for trial in again if again[trial] > lost[trial]}
    return total, beyond
