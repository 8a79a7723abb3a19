"""R is raised by the study itself, where it says how far: the search is complete, and the winner was still improving.

The decision is the engine's and not the search's, like the command `deepen`: it is in the log as an event that the
search was told, with the reason, so that a replay need not decide it again. It begins from the facts alone, and asks
each time as far as eta; the next one needs a winner at the new R. No budget is exceeded by it: a search that ends
because a budget is spent is not raised, and neither is one where nobody would train on.
"""

from __future__ import annotations

import copy
from math import isfinite

from searchd.engine.commands import rewrite
from searchd.engine.turn import Turn
from searchd.schedulers.events import Losses, Resume, Start
from searchd.search.events import Deepened
from searchd.search.points import losses
from spaces.raising import TOLERANCE


def raised(turn: Turn) -> bool:
    """Raise R by eta if the study says so and its best trial's curve falls on; whether it was."""
    spec = turn.study.search
    most = spec.options.get("max_resource")
    if most is None or spec.R * spec.eta > most:
        return False
    why = _improving(turn)
    if why is None or not _anybody(turn, spec.R * spec.eta):
        return False
    turn.tell(Deepened(spec.R * spec.eta), kind="deepened", why=why)
    rewrite(turn, {**turn.row.spec, "search": {**turn.row.spec["search"], "R": spec.R * spec.eta}})
    return True


def _anybody(turn: Turn, R: int) -> bool:
    """Whether the scheduler has a job at the new R: somebody goes on, or starts where a config can be found."""
    scheduler = copy.deepcopy(turn.search.scheduler)
    scheduler.tell(Deepened(R))
    answer = scheduler.peek()
    return isinstance(answer, Resume) or (isinstance(answer, Start) and not turn.search.note)


def _improving(turn: Turn) -> str | None:
    """Why R is too small, in words: the winner at R improved by more than the tolerance, relative to its value at
    R / eta. None where it did not, or there is no winner, or no report as early."""
    spec = turn.study.search
    k = _judge(turn)
    best: tuple[float, int] | None = None
    for trial, record in turn.search.trials.items():
        value = _least(record.losses.get(spec.R, ()), k, feasible=True)
        if value is not None and record.state not in ("failed", "vetoed"):
            best = min(best or (value, trial), (value, trial))
    if best is None:
        return None
    after, trial = best
    rows = [row for row in turn.tx.reports(turn.id, trial) if row.step <= spec.R // spec.eta]
    if not rows:
        return None
    row = max(rows, key=lambda report: report.step)
    merged = turn.search.merged(trial, row.step, row.metrics, tuple(row.points))
    before = _least(tuple(losses(turn.study.objectives, point) for point in merged), k, feasible=False)
    tol = float(spec.options.get("deepen_tol", TOLERANCE))
    if before is None or not before - after > tol * abs(before):
        return None
    share = f" by {100 * (before - after) / abs(before):.3g} %" if before else ""
    return f"trial {trial}, the best, still improved{share} from {spec.unit} {row.step} to {spec.R}"


def _judge(turn: Turn) -> int:
    """The number of the objective whose curve is looked at."""
    name = turn.study.search.options.get("objective")
    return next((k for k, o in enumerate(turn.study.objectives) if o.name == name), 0)


def _least(points: tuple[Losses, ...], k: int, *, feasible: bool) -> float | None:
    """The best finite value of an objective over points; None without any."""
    values = [p.values[k] for p in points if isfinite(p.values[k]) and (p.violation == 0 or not feasible)]
    return min(values, default=None)
