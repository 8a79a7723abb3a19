"""Studies over problem instances: what a trial's runs say together, and which trial stands for the study."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from searchd.schedulers.events import TrialId

Points = tuple[int, list[dict[str, Any]]]
"""A trial's last step and its merged points."""


@runtime_checkable
class Racing(Protocol):
    """A scheduler that races configs on instances, where losses of two trials compare only within a race."""

    @property
    def incumbent(self) -> TrialId | None:
        """Who has won so far; None before anybody ran."""
        ...


def averaged(before: Points | None, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The means of a trial's metrics over the instances that it ran, with one more run; `instances`: how many."""
    if before is None:
        return {**metrics, "instances": 1}
    known = before[1][0]
    n = int(known["instances"])
    means = {**known, **metrics, "instances": n + 1}
    for name, value in metrics.items():
        if name in known and isinstance(value, int | float) and isinstance(known[name], int | float):
            means[name] = (known[name] * n + value) / (n + 1)
    return means


def standing_for(scheduler: object, points: Mapping[TrialId, Points]) -> Mapping[TrialId, Points]:
    """The points that a front is drawn from: of all trials, or of the one that won its races."""
    if not isinstance(scheduler, Racing):
        return points
    incumbent = scheduler.incumbent
    return {} if incumbent is None or incumbent not in points else {incumbent: points[incumbent]}
