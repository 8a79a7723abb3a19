"""What searchd adds to a report before it is recorded: the seconds of training so far, and the study's formulas.

Only where an objective asks for them, or (the seconds) the searcher. They are in the log and in the report's row like
any other metric, so that a replay, the views and later studies need not know where they came from.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from searchd.engine.turn import Turn
from searchd.search.pace import counts_seconds
from searchd.wire import Report
from spaces.formulas import TRAIN_S
from spaces.study import Objective


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
    names = [o.name for o in objectives if o.formula is not None]
    points: tuple[dict[str, Any], ...] = tuple(dict(point) for point in message.points)
    if names:
        merged = turn.search.merged(trial, message.step, metrics, points)
        for into, found in zip(points or (metrics,), merged, strict=True):
            into.update((name, found[name]) for name in names if name in found)
    if metrics == message.metrics and not names:
        return message
    return message.model_copy(update={"metrics": metrics, "points": points})
