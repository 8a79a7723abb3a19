"""Is a schedule worth its knots? The best trial with a schedule beside the best one whose parameters stay constant.

Source: Adriaensen and others (2022), JAIR, automated dynamic algorithm configuration: the static best as baseline.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from searchd.store.base import PointRow, TrialRow
from searchd.views.plain import Goal, number
from spaces.space import Space
from spaces.tree import schedules


def static_best(
    space: Space, trials: Sequence[TrialRow], points: Sequence[PointRow], objective: Goal
) -> dict[str, Any] | None:
    """`{"step", "objective", "scheduled", "constant"}`, the last two `{"trial", "value"}` or null: by the objective, of
    the points that break bounds least, at the deepest step where there are any of both kinds, else of one. None where
    nothing has a schedule or nothing was reported."""
    knots = schedules(space.nodes)
    if not knots:
        return None
    constant = {t.trial: is_constant(t.config, knots) for t in trials if t.status != "failed"}
    found: dict[int, dict[bool, tuple[float, float, int, float]]] = {}
    for point in points:
        value = number(point.metrics.get(objective.name))
        if value is None or point.trial not in constant:
            continue
        best = found.setdefault(point.step, {})
        key = (point.violation, objective.loss(value), point.trial, value)
        kind = constant[point.trial]
        best[kind] = min(best.get(kind, key), key)
    if not found:
        return None
    step = max(found, key=lambda s: (len(found[s]), s))

    def shown(kind: bool) -> dict[str, Any] | None:
        at = found[step].get(kind)
        return None if at is None else {"trial": at[2], "value": at[3]}

    return {"step": step, "objective": objective.name, "scheduled": shown(False), "constant": shown(True)}


def is_constant(config: Mapping[str, Any], knots: Mapping[str, Sequence[str]]) -> bool:
    """Whether no parameter of a config changes while it trains."""
    return all(len({config[name] for name in names if name in config}) <= 1 for names in knots.values())
