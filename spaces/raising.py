"""R may be raised by the study itself: `options: {max_resource: 81, deepen_tol: 0.05}`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from spaces.problems import Problems

TOLERANCE = 0.01
"""`deepen_tol` where only `max_resource` is given."""


def check_raising(
    scheduler: str, R: int, eta: int, options: Mapping[str, Any], objectives: Sequence[str], problems: Problems
) -> None:
    """How far R may go is R · eta^k (k below 0 where it was raised beyond that by hand), and one objective judges."""
    most = options.get("max_resource")
    if most is None:
        if "deepen_tol" in options:
            said = "deepen_tol says when R is raised: add max_resource, how far it may be, or leave it out"
            problems.add(("search", "options", "deepen_tol"), said)
        return
    at = ("search", "options", "max_resource")
    if isinstance(most, bool) or not isinstance(most, int) or most < 1:
        return  # the table of options says so
    low, high = min(R, most), max(R, most)
    step = low
    while step < high:
        step *= eta
    if step != high:
        below = R
        while below * eta < most:
            below *= eta
        near = f"{below} or {below * eta}" if below > R else str(R * eta)
        problems.add(at, f"{most} is not R = {R} times a power of eta = {eta}: choose {near}")
    if scheduler == "acband":
        problems.add(at, "acband spends R instances by a table made for it, and R cannot be raised: leave it out")
    elif len(objectives) > 1 and options.get("order") != "single":
        said = "of several objectives none says whose curve still falls: add order: single with objective: NAME"
        problems.add(at, f"{said}, or leave it out")
