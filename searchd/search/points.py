"""From what a job reports to what people see and what a scheduler compares.

A report's operating points are merged over its metrics and over the exact metrics of the config (bytes, MACs, …).
A point with `exit_rates` gets its expected latency: Σ exit rate × measured cumulative latency up to that exit.
Losses are signed here, once: lower is better from here on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import inf, isfinite, nan
from typing import Any

from searchd.schedulers.events import Losses
from searchd.search.events import Measured
from spaces.formulas import MEASURED, TRAIN_ENERGY_J, formula
from spaces.study import Objective

LATENCIES = ("latency_ms", "latency_p95_ms")
"""The metrics that a measure job brings."""


def merge(
    described: Mapping[str, float], measured: Measured | None, metrics: Mapping[str, Any],
    points: Sequence[Mapping[str, Any]], objectives: Sequence[Objective] = (),
) -> list[dict[str, Any]]:  # fmt: skip
    """One mapping an operating point, at least one, with the formulas of `objectives`. What was reported wins over what
    was computed."""
    base = {**described, **metrics} if described else {**metrics}
    merged = [{**base, **point} for point in points] if points else [base]
    if measured is not None and measured.error is None:
        for point in merged:
            for name, costs in zip(LATENCIES, (measured.cumulative_ms, measured.p95_ms), strict=True):
                cost = expected(point.get("exit_rates"), costs)
                if cost is not None:
                    point.setdefault(name, cost)
            for name in MEASURED:
                if name in measured.extra:
                    point.setdefault(name, measured.extra[name])
    if objectives:
        for point in merged:
            compute(objectives, point)
    return merged


def compute(objectives: Iterable[Objective], point: dict[str, Any]) -> None:
    """Put the value of every formula into a merged point that has none for it yet."""
    for objective in objectives:
        if objective.formula is not None and objective.name not in point:
            value = formula(objective.formula).value(point)
            if value is not None:
                point[objective.name] = value


def expected(rates: Sequence[float] | None, cumulative: Sequence[float]) -> float | None:
    """Σ rate × cumulative cost over the exits [K]; without rates the last exit's cost; None when they do not match."""
    if not cumulative:
        return None
    if rates is None:
        return float(cumulative[-1])
    if len(rates) != len(cumulative):
        return None
    return float(sum(rate * cost for rate, cost in zip(rates, cumulative, strict=True)))


class Reader:
    """Objectives made ready to sign many merged points: what `missing` and `losses` say, in one look."""

    __slots__ = ("_bounded", "_signs")

    def __init__(self, objectives: Sequence[Objective]) -> None:
        self._signs = [(o.name, o.goal == "maximize") for o in objectives]
        self._bounded = [o for o in objectives if o.at_most is not None or o.at_least is not None]

    def __call__(self, points: Sequence[Mapping[str, Any]]) -> tuple[Losses, ...] | None:
        """Merged points for the scheduler; None when one of them lacks an objective."""
        found = []
        for point in points:
            values = []
            for name, turned in self._signs:
                value = point.get(name)
                if type(value) is not float:
                    value = _number(value)
                    if value is None:
                        return None
                values.append(-value if turned else value)
            found.append(Losses(tuple(values), violation(self._bounded, point) if self._bounded else 0.0))
        return tuple(found)


def missing(objectives: Iterable[Objective], point: Mapping[str, Any]) -> list[str]:
    """The metrics of objectives that a merged point does not bring, or brings as something that is no number."""
    lacking = [o for o in objectives if _number(point.get(o.name)) is None]
    return [name for o in lacking for name in sorted(n for n in o.reads if _number(point.get(n)) is None) or [o.name]]


def lacking(objectives: Sequence[Objective], merged: Sequence[Mapping[str, Any]]) -> str:
    """In words: what merged points do not bring, and what the first one has."""
    wanted = sorted({name for point in merged for name in missing(objectives, point)})
    said = f"{', '.join(wanted)}; it has {', '.join(sorted(merged[0])) or 'nothing'}"
    if not {"energy_mj", TRAIN_ENERGY_J}.isdisjoint(wanted):
        said += "; energy needs a counter on the worker: NVML (pip install 'searchd[energy]'), or RAPL that it may read"
    return said


def losses(objectives: Sequence[Objective], point: Mapping[str, Any]) -> Losses:
    """A merged point for the scheduler: one signed value an objective, NaN where it is missing or no number."""
    values = []
    for objective in objectives:
        value = _number(point.get(objective.name))
        value = nan if value is None else value
        values.append(-value if objective.goal == "maximize" else value)
    return Losses(tuple(values), violation(objectives, point))


def violation(objectives: Iterable[Objective], metrics: Mapping[str, Any]) -> float:
    """How far the bounds are broken: Σ excess ÷ size of the bound (÷ 1 for a bound of 0); 0.0 when all hold.

    Infinite when a bounded metric is missing or not finite.
    """
    total = 0.0
    for objective in objectives:
        for bound, sign in ((objective.at_most, 1.0), (objective.at_least, -1.0)):
            if bound is not None:
                value = _number(metrics.get(objective.name))
                if value is None or not isfinite(value):
                    return inf
                total += max(0.0, sign * (value - bound)) / (abs(bound) or 1.0)
    return total


def broken_bound(objectives: Iterable[Objective], metrics: Mapping[str, float]) -> str | None:
    """The first bound on one of these `metrics` that does not hold, in words; None when all hold."""
    for objective in objectives:
        value = metrics.get(objective.name)
        if value is None:
            continue
        if objective.at_most is not None and value > objective.at_most:
            return f"{objective.name} = {value:g}, at most {objective.at_most:g} allowed"
        if objective.at_least is not None and value < objective.at_least:
            return f"{objective.name} = {value:g}, at least {objective.at_least:g} wanted"
    return None


def _number(value: Any) -> float | None:
    if type(value) is float:
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value)
