"""Trials, their curves and their rungs."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from searchd.errors import NotFound, SearchdError
from searchd.storage import open_storage
from searchd.store.base import JobRow, PointRow, Reader, ReportRow, RunRow, TrialRow
from searchd.views.kernels import kernels_of
from searchd.views.parents import parents
from searchd.views.plain import Goal, goals, losses, number, plain, the
from searchd.views.specs import ladders
from spaces.suggest import did_you_mean

MAX_FILES = 1000


def trials(reader: Reader, study: str) -> list[dict[str, Any]]:
    """`[{"trial", "status", "config", "step", "bracket", "metrics", "reason", "why", "error", "seconds", "parent"}]`,
    oldest first.

    `metrics`: those of the last report, and the objectives that only the points bring, of the trial's best point.
    `why`: the reason as it reads beside the status; a paused trial has none but that of its last start. `seconds`: of
    its jobs that have ended. `parent`: whose weights it began with (`views.parents`), null for most.
    """
    row = the(reader, study)
    objectives = goals(row)
    last = {r.trial: r for r in reader.last_reports(study)}
    points: dict[int, list[PointRow]] = defaultdict(list)
    for point in reader.points(study):
        points[point.trial].append(point)
    seconds: dict[int, float] = defaultdict(float)
    for job in reader.runs(study):
        seconds[job.trial] += _ran(job)
    above = parents(reader, row)
    return [
        {**_trial(t, objectives, last.get(t.trial), points[t.trial], seconds[t.trial]), "parent": above.get(t.trial)}
        for t in reader.trials(study)
    ]


def trial(reader: Reader, study: str, n: int) -> dict[str, Any]:
    """One of `trials`, with its `reports`, `jobs`, `points`, `kernels` (`views.kernels`) and names of `files`; NotFound
    when there is none."""
    row = the(reader, study)
    known = reader.trial(study, n)
    if known is None:
        raise NotFound(f"study {row.name!r} has no trial {n}: `searchd trials {row.name}` lists them")
    reports = reader.reports(study, n)
    jobs = [j for j in reader.jobs(study) if j.trial == n]
    points = [p for p in reader.points(study) if p.trial == n]
    answer = _trial(known, goals(row), reports[-1] if reports else None, points, sum(map(_ran, jobs)))
    more = {
        "parent": parents(reader, row, jobs).get(n),
        "signature": known.signature,
        "reports": [
            {"step": r.step, "metrics": r.metrics, "points": r.points, "at": r.at, "seconds": r.seconds}
            for r in reports
        ],
        "jobs": [
            {"id": j.id, "kind": j.kind, "since": j.since, "until": j.until, "attempt": j.attempt, "status": j.status,
             "worker": j.worker, "device": j.device, "reason": j.reason, "stop_reason": j.stop_reason,
             "created": j.created_at, "begun": j.begun_at, "ended": j.ended_at}
            for j in jobs
        ],
        "points": [
            {"point": p.point, "step": p.step, "metrics": p.metrics, "violation": p.violation, "verified": p.verified}
            for p in points
        ],
        "kernels": kernels_of(reader, row, known),
        **_files(row.artifacts, n),
    }  # fmt: skip
    return {**answer, **plain(more)}


def curves(reader: Reader, study: str, metric: str) -> list[dict[str, Any]]:
    """`[{"trial", "step", "value"}]`, by trial and step: the metric as reported, else the best of the report's points.

    A metric that only merging brings (latency, bytes) has one value a trial, at the step of its points. NotFound for
    one that is no objective and that no report has, once there are reports.
    """
    row = the(reader, study)
    goal = next((o for o in goals(row) if o.name == metric), Goal(metric, "minimize"))
    found = [
        {"trial": r.trial, "step": r.step, "value": number(_value(r, goal))}
        for r in reader.reports(study)
        if metric in r.metrics or any(metric in p for p in r.points)
    ]
    if found:
        return found
    merged: dict[tuple[int, int], list[float]] = defaultdict(list)
    for p in reader.points(study):
        if (value := number(p.metrics.get(metric))) is not None:
            merged[p.trial, p.step].append(value)
    if not merged and goal not in goals(row) and (near := reported(reader, study)):
        raise NotFound(f"no trial of {row.name} has a metric {metric!r}: {did_you_mean(metric, near)}")
    return [{"trial": t, "step": s, "value": goal.better(values)} for (t, s), values in sorted(merged.items())]


def reported(reader: Reader, study: str) -> list[str]:
    """The metrics that reports have, by themselves or in their points."""
    found = reader.reports(study)
    return sorted({name for r in found for part in (r.metrics, *r.points) for name in part})


def rungs(reader: Reader, study: str) -> list[dict[str, Any]]:
    """`[{"bracket", "step", "trials": [{"trial", "value", "state"}]}]`: who was compared where, the best first.

    `value`: the first objective; null where it diverged. `state`: `promoted` when the trial went on past this rung,
    else the trial's own state. Rungs that nobody reached yet are there, and empty.
    """
    row = the(reader, study)
    objectives = goals(row)
    if not objectives:
        return []
    first = objectives[0]
    steps = {bracket: set(ladder) for bracket, ladder in enumerate(ladders(row))}
    rows = {t.trial: t for t in reader.trials(study)}
    going = {(j.trial, j.since) for j in reader.runs(study) if j.kind == "train" and j.since > 0}
    members: dict[tuple[int, int], list[tuple[float, int, dict[str, Any]]]] = {
        (bracket, step): [] for bracket, ladder in steps.items() for step in ladder
    }
    for report in reader.reports(study, steps={step for _, step in members}):
        known = rows.get(report.trial)
        if known is None or (known.bracket, report.step) not in members:
            continue
        value = number(_value(report, first))
        passed = known.step > report.step or (report.trial, report.step) in going
        entry = {"trial": report.trial, "value": value, "state": "promoted" if passed else known.status}
        rank = float("inf") if value is None else first.loss(value)
        members[known.bracket, report.step].append((rank, report.trial, entry))
    return [
        {"bracket": bracket, "step": step, "trials": [entry for _, _, entry in sorted(found, key=lambda m: m[:2])]}
        for (bracket, step), found in sorted(members.items())
    ]


def _trial(
    row: TrialRow, objectives: Sequence[Goal], last: ReportRow | None, points: Sequence[PointRow], seconds: float
) -> dict[str, Any]:
    metrics: Mapping[str, Any] = {} if last is None else last.metrics
    answer: dict[str, Any] = plain(
        {"trial": row.trial, "status": row.status, "config": row.config, "step": row.step, "bracket": row.bracket,
         "metrics": {**_best(objectives, points), **metrics} or None, "reason": row.reason,
         "why": f"it last began because: {row.reason}" if row.reason and row.status == "paused" else row.reason,
         "error": row.error, "seconds": seconds}
    )  # fmt: skip
    return answer


def _best(objectives: Sequence[Goal], points: Sequence[PointRow]) -> dict[str, Any]:
    """The objectives at the trial's best point: the least violating, then by the objectives in their order."""
    ranked = [(p.violation, values, p) for p in points if (values := losses(objectives, p.metrics)) is not None]
    if not ranked:
        return {}
    point = min(ranked, key=lambda r: (float("inf") if math.isnan(r[0]) else r[0], r[1], r[2].point))[2]
    return {o.name: point.metrics[o.name] for o in objectives}


def _value(report: ReportRow, goal: Goal) -> float | None:
    if goal.name in report.metrics:
        return report.metrics[goal.name]
    return goal.better([v for p in report.points if (v := number(p.get(goal.name))) is not None])


def _ran(job: JobRow | RunRow) -> float:
    if job.begun_at is None or job.ended_at is None:
        return 0.0
    return max(0.0, job.ended_at - job.begun_at)


def _files(artifacts: str, n: int) -> dict[str, Any]:
    """`files`: names relative to the trial's folder, sorted; none when the artifacts are not on this machine.
    `files_unknown`: why a remote storage does not say them; else empty."""
    try:
        return {"files": list(open_storage(artifacts).sizes(f"trials/{n}"))[:MAX_FILES], "files_unknown": ""}
    except SearchdError as e:
        return {"files": [], "files_unknown": str(e)}
