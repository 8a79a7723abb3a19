"""Bounds on objectives that no value can keep, told before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeGuard

from spaces.problems import Problems

ABOVE_ZERO: tuple[str, ...] = ("latency_ms", "latency_p95_ms", "expected_ms", "bytes")
"""Every network takes some; the other metrics of built-in tasks are at least 0."""
PERCENT: tuple[str, ...] = ("val_error",)


def check_bounds(objectives: Any, metrics: tuple[str, ...], problems: Problems) -> None:
    """A problem for each bound on one of a built-in task's `metrics` that lies outside of what the metric can be."""
    for name, said in (objectives if isinstance(objectives, Mapping) else {}).items():
        if not isinstance(said, Mapping) or name not in metrics or said.get("formula") is not None:
            continue
        most, least = said.get("at_most"), said.get("at_least")
        if _number(most) and (most < 0 or (most == 0 and name in ABOVE_ZERO)):
            least_of_all = "always above 0" if name in ABOVE_ZERO else "never below 0"
            problems.add(("objectives", name, "at_most"), f"{name} is {least_of_all}, but at_most = {most}: raise it")
        if _number(least) and name in PERCENT and least > 100:
            said_so = f"{name} is never above 100 percent, but at_least = {least}: lower it"
            problems.add(("objectives", name, "at_least"), said_so)


def _number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
