"""The front of a search: which operating points no other dominates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from searchd.schedulers.events import Losses, TrialId
from searchd.schedulers.front import non_dominated
from searchd.schedulers.order import finite
from searchd.search.points import losses
from searchd.searchers.base import Record
from spaces.config import Config
from spaces.study import Objective


@dataclass(frozen=True, slots=True)
class FrontPoint:
    """One operating point of a trial. `metrics`: merged, in the user's own sense; `violation` 0: feasible."""

    trial: TrialId
    point: int
    step: int
    config: Config
    metrics: Mapping[str, Any]
    violation: float


def front_of(
    objectives: Sequence[Objective],
    records: Mapping[TrialId, Record],
    points: Mapping[TrialId, tuple[int, Sequence[Mapping[str, Any]]]],
) -> list[FrontPoint]:
    """See `Search.front`. Of points with equal objectives only the first trial's first is shown."""
    found: list[tuple[Losses, FrontPoint]] = []
    for trial in sorted(points):
        record = records[trial]
        if record.state == "failed":
            continue
        step, merged = points[trial]
        for number, metrics in enumerate(merged):
            at = losses(objectives, metrics)
            if finite(at):
                found.append((at, FrontPoint(trial, number, step, record.config, metrics, at.violation)))
    if any(at.violation == 0 for at, _ in found):
        found = [(at, point) for at, point in found if at.violation == 0]
    if not found:
        return []
    rows = [(at.violation, *at.values) for at, _ in found]
    unique: dict[tuple[float, ...], FrontPoint] = {}
    for row, keep, (_, point) in zip(rows, non_dominated(rows), found, strict=True):
        if keep:
            unique.setdefault(row, point)
    return [unique[row] for row in sorted(unique)]
