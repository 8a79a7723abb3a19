"""The front: points of trials that no other point beats, feasible ones first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from searchd.schedulers.front import non_dominated
from searchd.store.base import PointRow, Reader, StudyRow, TrialRow
from searchd.views.parents import parents
from searchd.views.plain import Goal, goals, losses, number, plain, the

ENDED = ("done", "stopped")


def front(reader: Reader, study: str) -> list[dict[str, Any]]:
    """`[{"trial", "point", "step", "config", "metrics", "violation", "verified", "parent"}]`, by the first objective.

    While the study runs: of every trial's points at its last rung, as `Search.front` has it. Once it has ended and
    some points were verified (taken again alone, from the exported files): of those only. While nothing is feasible,
    less violation is one more objective. Points without a finite value of every objective are on no front; of points
    with equal objectives the first is shown. `parent`: whose weights the trial began with (`views.parents`), or null.
    """
    row = the(reader, study)
    rows = reader.trials(study)
    configs = {t.trial: t.config for t in rows}
    above = parents(reader, row)
    return [
        {"trial": p.trial, "point": p.point, "step": p.step, "config": plain(configs.get(p.trial, {})),
         "metrics": plain(p.metrics), "violation": plain(p.violation), "verified": p.verified,
         "parent": above.get(p.trial)}
        for p in members(row, rows, reader.points(study))
    ]  # fmt: skip


def members(row: StudyRow, trials: Sequence[TrialRow], points: Sequence[PointRow]) -> list[PointRow]:
    """The rows of the front among `points`, in the order in which they are shown. Failed trials have none on it."""
    failed = {t.trial for t in trials if t.status == "failed"}
    points = [p for p in points if p.trial not in failed]
    if row.status in ENDED and any(p.verified for p in points):
        points = [p for p in points if p.verified]
    objectives = goals(row)
    found = [
        ((p.violation, *values), p)
        for p in points
        if (values := losses(objectives, p.metrics)) is not None and math.isfinite(p.violation)
    ]
    if any(at[0] == 0 for at, _ in found):
        found = [(at, p) for at, p in found if at[0] == 0]
    if not found:
        return []
    unique: dict[tuple[float, ...], PointRow] = {}
    for (at, p), keep in zip(found, non_dominated([at for at, _ in found]), strict=True):
        if keep:
            unique.setdefault(at, p)
    return [unique[at] for at in sorted(unique)]


def unvalued(objectives: Sequence[Goal], trials: Sequence[TrialRow], points: Sequence[PointRow]) -> dict[str, int]:
    """How many points of trials that did not fail lack a finite value, by objective; only those that some lack."""
    failed = {t.trial for t in trials if t.status == "failed"}
    points = [p for p in points if p.trial not in failed]
    counts = {o.name: sum(number(p.metrics.get(o.name)) is None for p in points) for o in objectives}
    return {name: count for name, count in counts.items() if count}


def best(objectives: tuple[Goal, ...], points: Sequence[PointRow]) -> dict[str, float | None]:
    """The best value of each objective among the points of a front (each from whatever point has it)."""
    return {o.name: o.better([float(p.metrics[o.name]) for p in points]) for o in objectives}
