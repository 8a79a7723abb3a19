"""Races over problem instances: the limit that a run gets, the runs that a winner cuts, the row of who leads.

Racing decides nothing in the search: a run that was cut reports more than the winner's time, as it would have anyway.
So replay needs no knowledge of it, and a cut that gets lost costs time only.
"""

from __future__ import annotations

from searchd.engine.turn import Turn
from searchd.store.base import JobRow, PointRow
from searchd.wire import cut

RUN_TIME = "run_time_s"


def races(turn: Turn) -> bool:
    """Whether the time of a run is the one objective, so that a run is lost once it has taken longer."""
    objectives = turn.study.objectives
    return bool(turn.study.task.instances) and [(o.name, o.goal) for o in objectives] == [(RUN_TIME, "minimize")]


def limit_s(turn: Turn, instance: int) -> float | None:
    """The least time that anybody took on an instance so far, in s; None when nobody has run it."""
    if not races(turn):
        return None
    times = [at[0].values[0] for r in turn.search.trials.values() if (at := r.losses.get(instance))]
    return min(times, default=None)


def cut_losers(turn: Turn, job: JobRow) -> None:
    """A run reported: the others on its instance that still go on have lost once they take longer than the best."""
    best = limit_s(turn, job.until)
    if best is None:
        return
    for other in turn.in_flight():
        if other.kind == "train" and other.until == job.until and other.id != job.id and other.stop_reason is None:
            turn.stops[other.id] = cut(best, f"trial {job.trial} was faster on instance {job.until}")


def crown(turn: Turn) -> None:
    """The table of points holds one row: the config that leads, with the means of its runs."""
    if not turn.study.task.instances:
        return
    wanted = [
        PointRow(turn.id, p.trial, p.point, p.step, dict(p.metrics), p.violation, verified=False)
        for p in turn.search.front()
    ]
    for row in turn.tx.points(turn.id):
        if all(row.trial != new.trial for new in wanted):
            turn.tx.put_points(turn.id, row.trial, [])
    for new in wanted:
        turn.tx.put_points(turn.id, new.trial, [new])
