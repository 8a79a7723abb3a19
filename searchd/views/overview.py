"""A study at a glance: states, budget, front, how good, how busy, how long still."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from searchd.schedulers.front import hypervolume, reference_point
from searchd.search.points import merge
from searchd.store.base import PointRow, Reader, RunRow, StudyRow, TrialRow, TrialStatus
from searchd.views.clock import Span, overlap, overlaps, spans
from searchd.views.clock import seconds as total
from searchd.views.fleet import ends, waits
from searchd.views.fronts import best, members, unvalued
from searchd.views.noted import noted
from searchd.views.parents import parents
from searchd.views.plain import Goal, goals, losses, plain, the
from searchd.views.predicted import accuracy, predicted
from searchd.views.specs import ladders, study_of
from searchd.views.static import static_best

FIRST = 10
"""So many rung reports set the hypervolume's reference point; after them it never moves."""


def _by_report(row: StudyRow) -> bool:
    """Whether a trial's last step is not how many steps it trained: it jumped there, or began with another's."""
    task, search = row.spec.get("task"), row.spec.get("search")
    races = isinstance(task, Mapping) and bool(task.get("instances"))
    return races or (isinstance(search, Mapping) and search.get("scheduler") == "pbt")


def summary(reader: Reader, study: str, now: float) -> dict[str, Any]:
    """Everything in one flat answer; `now` in Unix seconds. Unknown numbers (nothing reported yet) are null.

    `seconds`: while it ran, without pauses and daemons that were away. `busy_fraction`: run time of jobs ÷ time of the
    slots that the study could use. `hypervolume`: of the front, up to `reference` (both in the user's own sense and
    units); comparable over time once ten reports are in. `time_left_s`: an estimate from the budget that ends first.
    """
    row = the(reader, study)
    objectives = goals(row)
    counts = reader.counts(study)
    reader = noted(reader, study)
    jobs = reader.runs(study)
    rows = reader.trials(study)
    states = Counter(t.status for t in rows)
    trials = {status: states.get(status, 0) for status in get_args(TrialStatus)}
    points = reader.points(study)
    on_front = members(row, rows, points)
    reference = _reference(reader, row, rows, objectives)
    ran = spans(reader, row, now)
    seconds = total(ran)
    budget = dict(row.spec.get("budget") or {})
    search = row.spec.get("search") or {}
    answer: dict[str, Any] = {
        "id": row.id,
        "name": row.name,
        "status": row.status,
        "reason": row.status_reason,
        "remark": remark(reader, study),
        "waits": waits(reader, row),
        "created": row.created_at,
        "seconds": seconds,
        "trials": {**trials, "total": sum(trials.values())},
        "steps_done": counts["reports"] if _by_report(row) else counts["steps"],
        "reports": counts["reports"],
        "duplicates": counts["duplicates"],
        "front": len(on_front),
        "unvalued": unvalued(objectives, rows, points),
        "hypervolume": None,
        "reference": None,
        "busy_fraction": _busy(row, jobs, reader, ran, now),
        "resumed": _resumed(reader, study),
        "inherited": _inherited(reader, row),
        "best": best(objectives, on_front),
        "objectives": [
            {"name": o.name, "goal": o.goal, "at_most": o.at_most, "at_least": o.at_least} for o in objectives
        ],
        "ends": ends(reader, study, rows),
        "budget": budget,
        "device": row.spec.get("device", "cpu"),
        "needs": dict(row.spec.get("needs") or {}),
        "priority": row.spec.get("priority", 1.0),
        "scheduler": search.get("scheduler"),
        "searcher": search.get("searcher"),
        "unit": search.get("unit"),
        "ladders": ladders(row),
        "jobs": {
            "queued": sum(j.status in ("outbox", "queued") for j in jobs),
            "running": sum(j.status == "running" for j in jobs),
        },
        "retrying": _retrying(jobs),
        "time_left_s": _left(row, budget, trials, counts["steps"], seconds),
        "artifacts": row.artifacts,
        "predicted": accuracy(points),
        "static": _static(row, rows, points, objectives),
    }
    if reference is not None:
        feasible = [p for p in on_front if p.violation == 0]
        found = [v for p in feasible if (v := losses(objectives, p.metrics)) is not None]
        answer["hypervolume"] = hypervolume(found, reference) if found else 0.0
        answer["reference"] = [o.loss(v) for o, v in zip(objectives, reference, strict=True)]
    result: dict[str, Any] = plain(answer)
    return result


def _retrying(jobs: Sequence[RunRow]) -> list[dict[str, Any]]:
    """Jobs that were lost and are to run again, or do: `trial`, `attempt` (the next), and why the last one was lost."""
    going = [j for j in jobs if j.attempt > 1 and j.status in ("outbox", "queued", "running")]
    return [{"trial": j.trial, "attempt": j.attempt, "reason": j.reason} for j in going[:FIRST]]


def _reference(
    reader: Reader, row: StudyRow, rows: Sequence[TrialRow], objectives: Sequence[Goal]
) -> tuple[float, ...] | None:
    """Losses [m]: the worst of the first reports' points and 10 % of their range more, from the log alone.

    Those points are merged as the search merged them: with what was measured before, and what a config describes.
    """
    from searchd.log import event_of

    if not objectives:
        return None
    known = {t.trial: t for t in rows}
    study = study_of(row)
    measured: dict[str, Any] = {}
    by_jobs: dict[str, Mapping[str, float]] = {}  # by config: what describe jobs found
    found: list[tuple[float, ...]] = []
    reports, after = 0, 0
    while reports < FIRST and (events := reader.events(row.id, after, 100, ("told",))):
        after = events[-1].seq
        for event in events:
            payload = event.payload
            if payload.get("event") == "measured":
                measured[payload["signature"]] = event_of(payload)
            if payload.get("event") == "described" and payload["trial"] in known:
                by_jobs.setdefault(_digest(known[payload["trial"]]), payload["metrics"])
            if payload.get("event") != "reported" or reports >= FIRST:
                continue
            reports += 1
            trial = known.get(payload["trial"])
            described = {} if trial is None else by_jobs.get(_digest(trial)) or _described(study, trial.config)
            seen = None if trial is None else predicted(study, trial.config) or measured.get(trial.signature or "")
            points = [losses(objectives, point) for point in _merged(described, seen, payload)]
            found.extend(values for values in points if values is not None)
    return reference_point(found) if found else None


def _digest(trial: TrialRow) -> str:
    from spaces.config import Config

    return Config(trial.config).digest


def _described(study: Any, config: Mapping[str, Any]) -> Mapping[str, float]:
    from spaces.config import Config
    from spaces.describe import describe
    from spaces.errors import SpaceError

    if study is None:
        return {}
    try:
        description = describe(study.task, study.space, Config(config))
    except SpaceError:
        return {}
    return {} if description is None else dict(description.metrics)


def _merged(described: Mapping[str, float], seen: Any, payload: Mapping[str, Any]) -> list[dict[str, Any]]:
    return merge(described, seen, payload["metrics"], payload["points"])


def _static(
    row: StudyRow, rows: Sequence[TrialRow], points: Sequence[PointRow], objectives: Sequence[Goal]
) -> dict[str, Any] | None:
    study = study_of(row)
    if study is None or not objectives:
        return None
    return static_best(study.space, rows, points, objectives[0])


def remark(reader: Reader, study: str) -> str:
    """What the searcher says of the study now, and how far it raised R itself; "" for nothing."""
    said = [event.payload["text"] for event in reader.events(study, kinds=("remarked",))]
    deepened = [event.payload for event in reader.events(study, kinds=("deepened",)) if event.payload.get("why")]
    raised = [f"R was raised to {payload['R']}, for {payload['why']}" for payload in deepened[-1:]]
    return "; ".join(filter(None, [*said[-1:], *raised]))


def _busy(row: StudyRow, jobs: Sequence[RunRow], reader: Reader, ran: list[Span], now: float) -> float | None:
    if not ran:
        return None
    busy = overlaps(ran, [(j.begun_at, now if j.ended_at is None else j.ended_at)
                          for j in jobs if j.begun_at is not None])  # fmt: skip
    offered = _offered(row, jobs, reader, ran)
    return min(1.0, busy / offered) if offered > 0 else None


def _resumed(reader: Reader, study: str) -> dict[str, int]:
    """Jobs that went on with a trial, `warm` of them in the process that had the checkpoint in memory."""
    begun = [e.payload for e in reader.resumed(study) if e.payload.get("kind") == "train"]
    warm = [bool(b.get("warm")) for b in begun]
    return {"total": len(warm), "warm": sum(warm)}


def _inherited(reader: Reader, row: StudyRow) -> dict[str, int]:
    """Trials that have a parent, and of these `fresh`: its weights could not be taken, they began from nothing."""
    found = parents(reader, row).values()
    return {"total": len(found), "fresh": sum(parent["taken"] is False for parent in found)}


def _offered(row: StudyRow, jobs: Sequence[RunRow], reader: Reader, ran: list[Span]) -> float:
    """Slot seconds that the study could have used while it ran, from the logged changes of capacity."""
    most = (row.spec.get("budget") or {}).get("parallel")
    changes = [(e.at, int(e.payload["slots"])) for e in reader.events(row.id, kinds=("capacity",))]
    if not changes:
        changes = [(ran[0][0], len({j.worker for j in jobs if j.worker}))]
    offered = 0.0
    for (at, slots), (until, _) in zip(changes, [*changes[1:], (ran[-1][1], 0)], strict=True):
        offered += (slots if most is None else min(slots, most)) * overlap(ran, at, until)
    return offered


def _left(
    row: StudyRow, budget: Mapping[str, Any], trials: Mapping[str, int], steps: int, seconds: float
) -> float | None:
    if row.status in ("done", "stopped", "faulted"):
        return 0.0
    if row.status != "running" or seconds <= 0:
        return None
    ended = sum(n for status, n in trials.items() if status not in ("waiting", "running"))
    shares = [(ended, budget.get("trials")), (steps, budget.get("steps")), (seconds / 3600, budget.get("hours"))]
    estimates = [seconds * max(0.0, limit - spent) / spent for spent, limit in shares if limit and spent]
    return min(estimates, default=None)
