"""How much better than a random architecture is the one that was found? The relative improvement, and its spread.

RI = 100 (Acc_m - Acc_r) / Acc_r: Acc_m is the accuracy of the method's architecture, Acc_r the mean accuracy of random
architectures of the same space under the same training protocol.
Source: Yang, Esperança, Carlucci (2020, ICLR), NAS evaluation is frustratingly hard.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

from searchd.errors import NotFound, SearchdError


def relative_improvement(method: float, random: float) -> float:
    """RI in percent of two accuracies in one unit."""
    if random <= 0:
        said = f"RI divides by the mean accuracy of random architectures, but it is {random:g}"
        raise SearchdError(f"{said}: train longer")
    return 100.0 * (method - random) / random


def accuracy_of(metric: str, goal: str, value: float) -> float:
    """A metric as an accuracy: an error in percent is taken from 100, what is maximised is one already."""
    if goal == "maximize":
        return value
    if metric.endswith("_error"):
        return 100.0 - value
    rule = "RI needs an error in percent (`…_error`) or a metric that is maximised"
    raise SearchdError(f"{metric!r} is no accuracy: {rule}")


def metric_of(objectives: Sequence[Mapping[str, Any]], wanted: str | None = None) -> tuple[str, str]:
    """(name, goal) of the objective that says the accuracy: the one wanted, else the first that can."""
    for one in objectives:
        name, goal = str(one["name"]), str(one["goal"])
        if wanted in (None, name) and (goal == "maximize" or name.endswith("_error")):
            return name, goal
    what = "no objective" if wanted is None else f"objective {wanted!r} is none that"
    raise NotFound(f"{what} is an accuracy or an error in percent: RI needs one; name it with --metric")


def at_step(curves: Sequence[Mapping[str, Any]], step: int) -> dict[int, float]:
    """The value of each trial at a step, of an answer of `curves`."""
    return {int(c["trial"]): float(c["value"]) for c in curves if c["step"] == step and c["value"] is not None}


def summary(found: float, again: Sequence[float], random: Sequence[float]) -> dict[str, Any]:
    """`found`: the accuracy that the search itself saw; `again`: of that architecture with other seeds; `random`: of
    random architectures. `ri` by the mean of `again`, `ri_found` by what the search saw (the best of many, so too
    good), `ri_seeds` seed by seed. `told_apart`: the means lie further apart than two standard errors."""
    if len(again) < 2 or len(random) < 2:
        raise SearchdError(f"{len(again)} seeds and {len(random)} random architectures: two of each at least")
    mean, base = fmean(again), fmean(random)
    spread, wide = stdev(again), stdev(random)
    error = (spread**2 / len(again) + wide**2 / len(random)) ** 0.5
    return {
        "found": found,
        "again": {"values": list(again), "mean": mean, "sd": spread},
        "random": {"values": list(random), "mean": base, "sd": wide, "best": max(random)},
        "ri": relative_improvement(mean, base),
        "ri_found": relative_improvement(found, base),
        "ri_seeds": [relative_improvement(a, base) for a in again],
        "beaten_by": sum(r > mean for r in random),
        "told_apart": abs(mean - base) > 2 * error,
    }
