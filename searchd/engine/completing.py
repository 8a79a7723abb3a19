"""What searchd adds to a report before it is recorded: the seconds of training so far and the study's formulas, where
an objective asks for them, and the joules that the device spent, where it has a counter.

They are in the log and in the report's row like any other metric, so that a replay, the views and later studies need
not know where they came from.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from searchd.engine.turn import Turn
from searchd.search.pace import counts_seconds
from searchd.wire import Report
from spaces.formulas import TRAIN_ENERGY_J, TRAIN_S
from spaces.study import Objective

SHARED = "train_energy_shared"


def needed(objectives: Iterable[Objective]) -> list[str]:
    """The metrics that objectives are made of, in their order, each once."""
    return list(dict.fromkeys(name for o in objectives for name in sorted(o.reads)))


def completed(turn: Turn, trial: int, message: Report) -> Report:
    """The report as it is recorded. `train_s` counts each step once, by the report that came first."""
    objectives = turn.study.objectives
    metrics: dict[str, Any] = dict(message.metrics)
    if TRAIN_S not in metrics and counts_seconds(turn.study):
        before = sum(row.seconds for row in turn.tx.reports(turn.id, trial) if row.step < message.step)
        metrics[TRAIN_S] = before + message.seconds
    if message.energy_j is not None:
        metrics |= _energy(turn, trial, message)
    names = [o.name for o in objectives if o.formula is not None]
    points: tuple[dict[str, Any], ...] = tuple(dict(point) for point in message.points)
    if names:
        merged = turn.search.merged(trial, message.step, metrics, points)
        for into, found in zip(points or (metrics,), merged, strict=True):
            into.update((name, found[name]) for name in names if name in found)
    if metrics == message.metrics and not names:
        return message
    return message.model_copy(update={"metrics": metrics, "points": points})


def _energy(turn: Turn, trial: int, message: Report) -> dict[str, float]:
    """`train_energy_j` up to this step. Counters count the whole device: once another job ran there beside one of the
    steps, the figure is nobody's alone, and `train_energy_shared` is 1."""
    if TRAIN_ENERGY_J in message.metrics:
        return {}
    before = [row.metrics for row in turn.tx.reports(turn.id, trial) if row.step < message.step]
    last = before[-1] if before else {}
    job = turn.tx.job(message.job)
    beside = any(
        other.id != message.job and job is not None and other.device == job.device
        for other in turn.tx.jobs(statuses=("running",))
    )
    found = {TRAIN_ENERGY_J: float(last.get(TRAIN_ENERGY_J, 0.0)) + float(message.energy_j or 0.0)}
    shared = beside or bool(last.get(SHARED))
    return found | ({SHARED: 1.0} if shared else {})
