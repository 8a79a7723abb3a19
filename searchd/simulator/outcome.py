"""What a run brought, for people and programs: the best over time, what was spent, what the decisions cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from searchd.schedulers.events import Losses, TrialId
from searchd.schedulers.front import hypervolume
from searchd.schedulers.order import finite
from searchd.search.points import losses, missing
from searchd.simulator.trace import Run, Seen
from spaces.suggest import meant


class Incumbent(NamedTuple):
    """The best so far from `seconds` on. `value`: in the user's own sense; `violation`: 0 where all bounds hold."""

    seconds: float
    value: float
    violation: float
    trial: TrialId
    step: int


def incumbents(run: Run, objective: str | None = None, *, step: int | None = None) -> list[Incumbent]:
    """Each time that an objective (the first by default) got better, the bounds being kept first.

    Reports of any step count; with `step` only those at that one (the full resource, say). What the world guessed
    does not count. ValueError for a name that is no objective.
    """
    goals = run.study.objectives
    names = [o.name for o in goals]
    at = 0 if objective is None else names.index(objective)
    sign = -1.0 if goals[at].goal == "maximize" else 1.0
    found: list[Incumbent] = []
    best = (float("inf"), float("inf"))
    for seen in run.trace:
        if not seen.known or (step is not None and seen.step != step):
            continue
        for point in _points(run, seen):
            key = (point.violation, point.values[at])
            if key < best:
                best = key
                found.append(Incumbent(seen.seconds, sign * key[1], key[0], seen.trial, seen.step))
    return found


def hypervolume_over_time(run: Run, reference: Sequence[float]) -> list[tuple[float, float]]:
    """(seconds, dominated hypervolume) whenever it grew, of the points that keep the bounds; signed so that lower is
    better, as `reference` must be (a maximised objective with its sign turned)."""
    front: list[tuple[float, ...]] = []
    found: list[tuple[float, float]] = []
    for seen in run.trace:
        fresh = [p.values for p in _points(run, seen) if seen.known and p.violation == 0]
        fresh = [v for v in fresh if not any(all(a <= b for a, b in zip(old, v, strict=True)) for old in front)]
        if not fresh:
            continue
        front = [old for old in front if not any(all(a <= b for a, b in zip(v, old, strict=True)) for v in fresh)]
        front += fresh
        volume = hypervolume(front, tuple(reference))
        if volume > (found[-1][1] if found else 0.0):
            found.append((seen.seconds, volume))
    return found


def summary(run: Run) -> dict[str, Any]:
    """The run as JSON: what ended it, what was spent, the decisions' CPU; `best`: of all reports, at any step, and when
    it was found; `front_best`: on the front, where each trial stands by its last rung, as `searchd front` shows it."""
    objective = run.study.objectives[0]
    found = incumbents(run)
    best = found[-1] if found else None
    counts = run.counts
    steps = counts.steps + counts.repeated
    return {
        "scheduler": run.study.search.scheduler, "searcher": run.study.search.searcher, "seed": run.seed,
        "workers": run.workers, "ended": run.ended, "note": run.note, "seconds": run.seconds,
        "busy_s": counts.busy_s, "busy_fraction": counts.busy_s / (run.workers * run.seconds) if run.seconds else 0.0,
        "trials": len(run.search.trials), "jobs": counts.jobs, "steps": steps, "repeated": counts.repeated,
        "guessed": counts.guessed, "stopped": counts.stopped, "failed": counts.failed, "lost": counts.lost,
        "events": counts.events, "decision_cpu_s": run.decision_cpu_s, "front": len(run.search.front()),
        "best": None if best is None else {
            "objective": objective.name, "value": best.value, "violation": best.violation, "trial": best.trial,
            "step": best.step, "seconds": best.seconds, "config": run.search.trials[best.trial].config.flat(),
        },
        "front_best": _front_best(run),
    }  # fmt: skip


def unsaid(run: Run) -> str:
    """In words: the objectives that no report at a rung brought, and what the world says instead; empty where there are
    none, or no such report."""
    wanted: set[str] | None = None
    there: set[str] = set()
    for seen in run.trace:
        if not run.search.is_rung(seen.trial, seen.step):
            continue
        for point in run.search.merged(seen.trial, seen.step, seen.metrics, seen.points):
            lacks = set(missing(run.study.objectives, point))
            wanted = lacks if wanted is None else wanted & lacks
            there |= set(point)
        if not wanted:
            return ""
    if not wanted:
        return ""
    near = "".join(f" (as {slip}?)" for name in sorted(wanted) for slip in there - wanted if meant(slip, [name]))
    has = ", ".join(sorted(there)) or "nothing"
    return f"the world has no number for {', '.join(sorted(wanted))}{near}; it has {has}"


def _front_best(run: Run) -> dict[str, Any] | None:
    """The front's best point by the first objective, of those that the world did not guess."""
    objective = run.study.objectives[0]
    sign = -1.0 if objective.goal == "maximize" else 1.0
    guessed = {(seen.trial, seen.step) for seen in run.trace if not seen.known}
    points = [p for p in run.search.front() if (p.trial, p.step) not in guessed]
    if not points:
        return None
    best = min(points, key=lambda p: (p.violation, sign * float(p.metrics[objective.name])))
    return {"objective": objective.name, "value": float(best.metrics[objective.name]), "violation": best.violation,
            "trial": best.trial, "step": best.step}  # fmt: skip


def _points(run: Run, seen: Seen) -> list[Losses]:
    """The operating points of a report that can be compared, signed."""
    merged = run.search.merged(seen.trial, seen.step, seen.metrics, seen.points)
    return [at for at in (losses(run.study.objectives, point) for point in merged) if finite(at)]
