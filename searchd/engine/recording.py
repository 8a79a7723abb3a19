"""A worker's message → rows and events. Everything that came before, or of an older attempt, is ignored and counted.

The first commit wins: a report counts once a (trial, step), whoever sends it how often. `attempt` fences: once a job
was given up as lost, what its former worker still sends changes nothing.
"""

from __future__ import annotations

import logging
from typing import Any

from searchd.engine.completing import completed
from searchd.engine.describing import described
from searchd.engine.measuring import measured
from searchd.engine.racing import crown, cut_losers, races
from searchd.engine.results import below, fault
from searchd.engine.turn import BY_USER, STUDY_ENDED, Turn
from searchd.engine.verifying import exported
from searchd.lines import about
from searchd.search.events import Failed, Finished, Lost, Measured, Reported, Stopped
from searchd.store.base import CheckpointRow, JobRow, JobStatus, PointRow, ReportRow
from searchd.transport import Up
from searchd.wire import REFUSED, Beat, Begun, Cause, CheckpointRef, Ended, Report, cause_of

log = logging.getLogger("searchd.engine")

ATTEMPTS = 5
"""A job that was lost this often is given up, and its trial fails: what loses every worker is no bad luck."""

REFUSALS = 100
"""And one that was refused this often, and twice for each slot that there is, since the study last went on, faults it.
Whoever refused a study gets no job of it, so this is no fleet where nobody may serve it, which waits; it is one where
what was learned does not hold."""

_ENDED: frozenset[JobStatus] = frozenset({"finished", "lost", "failed", "stopped", "cancelled"})


def record(turn: Turn, message: Up) -> None:
    """Apply one message of a worker, or of the leases in a worker's name."""
    with about(study=turn.id, trial=message.trial, job=message.job, attempt=message.attempt):
        _record(turn, message)


def _record(turn: Turn, message: Up) -> None:
    job = turn.tx.job(message.job)
    known = job is not None and job.study == turn.id and job.trial == message.trial
    if job is None or not known or message.attempt != job.attempt or job.status in _ENDED:
        _ignore(turn, message)
        return
    if job.status != "running" and not (isinstance(message, Ended) and message.outcome == "lost"):
        job = _begin(turn, job, message)
    elif isinstance(message, Begun):
        _ignore(turn, message)
    match message:
        case Report():
            _report(turn, job, message)
        case Ended():
            _ended(turn, job, message)
        case Begun() | Beat():
            pass


def _ignore(turn: Turn, message: Up) -> None:
    if not isinstance(message, Beat):
        turn.tx.count_duplicate(turn.id)
        log.info("ignored: %s of job %s attempt %d", message.kind, message.job, message.attempt)


def _begin(turn: Turn, job: JobRow, message: Up) -> JobRow:
    """The first sign of life of an attempt: its `Begun`, or whatever arrived when that one was lost."""
    device = message.device if isinstance(message, Begun) else ""
    turn.tx.set_job(job.id, status="running", worker=message.worker, device=device, begun_at=turn.now)
    turn.log("begun", {"job": job.id, "trial": job.trial, "attempt": job.attempt, "worker": message.worker,
                       "device": device, "kind": job.kind, "since": job.since, "until": job.until,
                       "warm": isinstance(message, Begun) and message.warm})  # fmt: skip
    fresh = turn.tx.job(job.id)
    return job if fresh is None else fresh


def _report(turn: Turn, job: JobRow, message: Report) -> None:
    if job.kind != "train" or not 0 < message.step <= job.until:
        _ignore(turn, message)
        return
    message = completed(turn, job.trial, message)
    row = ReportRow(turn.id, job.trial, message.step, job.id, job.attempt, turn.now, message.seconds, message.metrics,
                    message.points)  # fmt: skip
    fresh = turn.tx.add_report(row)
    if message.inherited is not None and job.spec.get("morphed"):
        parent = job.spec["morphed"]
        turn.log("inherited", {"trial": job.trial, "job": job.id, "attempt": job.attempt, "parent": parent["trial"],
                               "step": parent["step"], "ok": message.inherited.ok,
                               "reason": message.inherited.reason})  # fmt: skip
    _keep(turn, job, message.checkpoint)  # of a report that came before too: this attempt wrote its own
    if not fresh:
        _ignore(turn, message)
        return
    trial = turn.tx.trial(turn.id, job.trial)
    if trial is not None and message.step > trial.step:
        turn.tx.set_trial(turn.id, job.trial, step=message.step)
    if not turn.search.is_rung(job.trial, message.step):
        return
    if turn.study.task.instances:
        event = Reported(job.trial, message.step, message.metrics, message.points)
        turn.tell(event, job=job.id, **_peak(turn, message))
        cut_losers(turn, job)
        crown(turn)
        return
    _points(turn, job, message)
    turn.tell(Reported(job.trial, message.step, message.metrics, message.points), job=job.id, **_peak(turn, message))


def _peak(turn: Turn, message: Report | Ended) -> dict[str, Any]:
    """What the event of a message says of memory."""
    if message.peak_bytes is None:
        return {}
    turn.mind.held({"trial": message.trial, "peak_bytes": message.peak_bytes})
    return {"peak_bytes": message.peak_bytes}


def _points(turn: Turn, job: JobRow, message: Report) -> None:
    merged = turn.search.merged(job.trial, message.step, message.metrics, message.points)
    rows = [
        PointRow(turn.id, job.trial, index, message.step, metrics, turn.search.violation(metrics), verified=False)
        for index, metrics in enumerate(merged)
    ]
    turn.tx.put_points(turn.id, job.trial, rows)


def _keep(turn: Turn, job: JobRow, ref: CheckpointRef | None) -> None:
    """Record a durable checkpoint; not one at `until` whose report never came: the step must then be run again."""
    if ref is None or job.kind != "train" or not below(ref.path):
        return
    if 0 < ref.step < job.until or (ref.step == job.until and turn.tx.has_report(turn.id, job.trial, ref.step)):
        turn.tx.put_checkpoint(CheckpointRow(turn.id, job.trial, ref.step, ref.path, ref.sha256, ref.bytes, turn.now))


def _ended(turn: Turn, job: JobRow, message: Ended) -> None:
    _keep(turn, job, message.checkpoint)
    match message.outcome:
        case "finished":
            _finished(turn, job, message)
        case "lost":
            lose(turn, job, message.reason or "the worker gave it up", cause=message.cause)
        case "failed" if message.reason == REFUSED:
            _refused(turn, job, message.error)
        case "failed":
            reason = message.reason or "exception"
            cause = message.cause or cause_of("failed", reason)
            if cause == "out_of_memory" and not job.spec.get("alone") and job.stop_reason is None:
                lose(turn, job, reason, give_up=False, cause=cause, alone=True)
            else:
                _fail(turn, job, reason, message.error, cause=cause)
        case "stopped":
            if job.stop_reason is None:
                lose(turn, job, "the worker stopped it unasked")
            else:
                _close(turn, job, "stopped", job.stop_reason)
                _stopped(turn, job)


def _finished(turn: Turn, job: JobRow, message: Ended) -> None:
    if why := fault(job.kind, message.result):
        _fail(turn, job, "no result", why)
        return
    if job.kind == "measure":
        _close(turn, job, "finished", "")
        turn.tell(measured(turn, job, message.result or {}), job=job.id)
        return
    if job.kind == "describe":
        _close(turn, job, "finished", "")
        turn.tell(described(job, message.result or {}), job=job.id)
        return
    if job.kind == "export":
        _close(turn, job, "finished", "")
        exported(turn, job, message.result)
        return
    if message.step < job.until:
        _fail(turn, job, f"ended at step {message.step}", f"the training function returned after step {message.step}, "
              f"before step {job.until}: let its loop run over trial.steps() to the end")  # fmt: skip
        return
    if not turn.tx.has_report(turn.id, job.trial, job.until):
        lose(turn, job, f"it finished without a report at step {job.until}")
        return
    _close(turn, job, "finished", "")
    turn.tell(Finished(job.trial, job.until), job=job.id, **_peak(turn, message))
    crown(turn)
    if job.stop_reason is not None:
        _stopped(turn, job)


def _stopped(turn: Turn, job: JobRow) -> None:
    if job.kind == "export":
        exported(turn, job, None)
        return
    by = "user" if job.stop_reason in (BY_USER, STUDY_ENDED) else "scheduler"
    turn.tell(Stopped(job.trial, by=by), job=job.id)
    turn.tx.set_trial(turn.id, job.trial, reason=job.stop_reason)


def lose(
    turn: Turn, job: JobRow, reason: str, *, give_up: bool = True, cause: Cause | None = None, alone: bool = False
) -> None:
    """The job was lost without its fault: the same job again, attempt + 1, from the newest durable checkpoint.

    `give_up`: after ATTEMPTS of them the trial fails; those that a worker handed back because it was asked to leave, or
    refused, do not count. `alone`: from now on it runs where nothing else holds memory.
    """
    if job.stop_reason is not None:
        _close(turn, job, "stopped", job.stop_reason)
        _stopped(turn, job)
        return
    checkpoint = turn.tx.checkpoint(turn.id, job.trial)
    durable = job.kind == "train" and checkpoint is not None and checkpoint.step >= job.until
    if durable and turn.tx.has_report(turn.id, job.trial, job.until):  # only the word `finished` was lost
        _close(turn, job, "finished", reason)
        turn.tell(Finished(job.trial, job.until), job=job.id)
        return
    cause = cause or (cause_of("failed", reason) if reason.startswith(REFUSED) else cause_of("lost", reason))
    counted = job.attempt - turn.mind.handed_back[job.id] - turn.mind.refused[job.id]
    retried = counted < ATTEMPTS or not give_up or cause == "preempted"
    account: dict[str, Any] = {"job": job.id, "attempt": job.attempt, "reason": reason, "cause": cause,
                               "retried": retried, "from": 0 if checkpoint is None else checkpoint.step,
                               **({"alone": True} if alone else {})}  # fmt: skip
    turn.tell(Lost(job.trial), kind="lost", **account)
    turn.mind.came_back(account)
    log.warning("lost: job %s attempt %d of trial %d (%s)", job.id, job.attempt, job.trial, reason)
    if retried:
        turn.tx.set_job(job.id, status="outbox", attempt=job.attempt + 1, worker="", device="", reason=reason,
                        begun_at=None, **({"spec": {**job.spec, "alone": True}} if alone else {}))  # fmt: skip
    else:
        _fail(turn, job, f"lost {ATTEMPTS} times", f"the job was lost {ATTEMPTS} times, at last: {reason}", "lost",
              "lost")  # fmt: skip


def _refused(turn: Turn, job: JobRow, error: str) -> None:
    """The worker will not do the job: no fault of the trial's, and no attempt. Another one may: `Places` does not ask
    this one again, and when all refuse the job waits in the outbox."""
    lose(turn, job, f"{REFUSED}: {error}", give_up=False)
    if turn.mind.refused_since[job.id] >= REFUSALS + 2 * (turn.mind.slots or 0) and job.stop_reason is None:
        turn.set_status("faulted", f"no worker takes its jobs: {error}")


def _fail(
    turn: Turn, job: JobRow, reason: str, error: str, status: JobStatus = "failed", cause: Cause | None = None
) -> None:
    said: dict[str, Any] = {"job": job.id, "cause": cause or cause_of("failed", reason)}
    _close(turn, job, status, reason)
    if job.kind == "measure":
        signature = str(job.spec.get("signature"))
        turn.tell(Measured(signature, error=f"{reason}: {error}" if error else reason), **said)
    elif job.kind == "export":
        exported(turn, job, None, reason=reason, error=error)
    else:
        turn.tell(Failed(job.trial, reason), **said)
        if turn.search.trials[job.trial].state == "failed":
            turn.tx.set_trial(turn.id, job.trial, reason=reason, error=error)


def _close(turn: Turn, job: JobRow, status: JobStatus, reason: str) -> None:
    turn.tx.set_job(job.id, status=status, reason=reason, ended_at=turn.now)
    if job.stop_reason is not None or races(turn):
        turn.stops[job.id] = None
