"""The end of a study: the numbers of the front taken again, one trial at a time, from the exported files.

Only the built-in task can be exported; for the others the front stays as it was reported.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from searchd.engine.asking import put_job
from searchd.engine.measuring import alone
from searchd.engine.refitting import refit
from searchd.engine.reproducing import rows as again
from searchd.engine.reproducing import wanted
from searchd.engine.turn import Turn
from searchd.search.points import compute
from searchd.search.predictions import LATENCY
from searchd.store.base import JobRow, PointRow
from spaces.describe import NAMES

PREDICTED = "predicted_latency_ms"
"""Of a verified point: what the search took its latency for."""


def verify(turn: Turn) -> None:
    """Go on with a study that is `verifying`: the next export once nothing runs, or its end."""
    if turn.row.status != "verifying":
        return
    turn.mind.settled = True  # until a job ends
    if turn.in_flight():
        return
    task = turn.study.task.built_in
    if task is not None and task.exported:
        front: dict[int, list[int]] = defaultdict(list)
        steps: dict[int, int] = {}
        for member in turn.search.front():
            front[member.trial].append(member.point)
            steps[member.trial] = member.step
        for trial in sorted(front):
            if (trial, steps[trial]) in turn.mind.verified:
                continue
            if turn.tx.checkpoint(turn.id, trial) is None:
                _unverified(turn, trial, steps[trial], None, "it has no durable checkpoint")
                continue
            _export(turn, trial, steps[trial], sorted(front[trial]))
            return
    refit(turn)
    turn.set_status(turn.mind.then, turn.mind.reason)


def _export(turn: Turn, trial: int, step: int, points: list[int]) -> None:
    rows = {row.point: row for row in turn.tx.points(turn.id) if row.trial == trial}
    asked = wanted(turn.study) or [{**rows[point].metrics, "point": point} for point in points if point in rows]
    job = put_job(turn, trial, "export", step, step, points=asked)
    points = [int(point["point"]) for point in asked]
    turn.log("exporting", {"trial": trial, "step": step, "job": job.id, "points": points})


def exported(turn: Turn, job: JobRow, result: Mapping[str, Any] | None, *, reason: str = "", error: str = "") -> None:
    """An export job ended: its numbers replace those of the front's points, or the reason why not is kept."""
    found = {} if result is None else {p["point"]: p["metrics"] for p in result.get("points", ())}
    if result is None or not found:
        _unverified(turn, job.trial, job.until, job.id, reason or "the export brought no points", error)
        return
    rows: list[PointRow] = []
    predicts = turn.study.latency == "predicted" and turn.study.predictor is not None
    predicted: dict[int, float] = {}
    for row in turn.tx.points(turn.id):
        if row.trial != job.trial:
            continue
        if row.point in found and row.step == job.until:
            computed = {o.name for o in turn.study.objectives if o.formula is not None}
            if predicts and LATENCY in row.metrics and not row.verified:
                predicted[row.point] = row.metrics[LATENCY]
            old = {**row.metrics, **({PREDICTED: predicted[row.point]} if row.point in predicted else {})}
            metrics = {name: v for name, v in {**old, **found[row.point]}.items() if name not in computed}
            compute(turn.study.objectives, metrics)
            rows.append(
                dataclasses.replace(row, metrics=metrics, violation=turn.search.violation(metrics), verified=True)
            )
        else:
            rows.append(row)
    turn.tx.put_points(turn.id, job.trial, again(turn, job, found) if wanted(turn.study) else rows)
    turn.mind.verified.add((job.trial, job.until))
    turn.log("verified", {
        "trial": job.trial, "job": job.id, "step": job.until, "ok": True, "alone": alone(turn, job), "reason": "",
        "points": [{"point": point, "metrics": metrics} for point, metrics in sorted(found.items())],
        **_named(result["points"]),
        "files": list(result.get("files", ())), "cumulative_ms": list(result.get("cumulative_ms", ())),
        **({"predicted": {str(point): ms for point, ms in sorted(predicted.items())}} if predicted else {}),
    })  # fmt: skip


def _named(points: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """`networks`: what names the network of each exported point, by point, where a trial brings many; where it has
    early exits, what they cost too."""
    kept = (*NAMES, "cumulative_ms")
    found = {str(p["point"]): {name: p[name] for name in kept if name in p} for p in points}
    return {"networks": found} if any(found.values()) else {}


def _unverified(turn: Turn, trial: int, step: int, job: str | None, reason: str, error: str = "") -> None:
    turn.mind.verified.add((trial, step))
    turn.log("verified", {"trial": trial, "job": job, "step": step, "ok": False, "alone": False, "reason": reason,
                          "error": error, "points": [], "files": [], "cumulative_ms": []})  # fmt: skip
