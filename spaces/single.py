"""The objective that ranks the trials of a rung alone: `options: {order: single, objective: NAME}`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from spaces.problems import Problems
from spaces.suggest import did_you_mean


def check_single(options: Mapping[str, Any], objectives: Sequence[str], problems: Problems) -> None:
    """The order by one objective names one of the study's `objectives`, and no other order names any."""
    alone, single = options.get("objective"), options.get("order") == "single"
    if single and alone is None:
        said = f"single needs the objective that ranks: add objective: {' or '.join(objectives)}"
        problems.add(("search", "options", "order"), said)
    elif single and isinstance(alone, str) and alone not in objectives:
        said = f"{alone!r} is no objective of this study: {did_you_mean(alone, objectives)}"
        problems.add(("search", "options", "objective"), said)
    elif isinstance(alone, str) and not single:
        said = f"objective: {alone} goes with order: single: add it, or leave objective out"
        problems.add(("search", "options", "objective"), said)
