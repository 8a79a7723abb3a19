"""What a describe job found."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from searchd.search.events import Described, Failed, Vetoed
from searchd.store.base import JobRow

NOT_SO = "a describe job needs to bring `metrics`, a mapping of names to finite numbers, or `veto`, a reason"


def described(job: JobRow, result: Mapping[str, Any]) -> Described | Vetoed | Failed:
    """The search's event of a describe job that finished; a result that is none fails the trial."""
    if veto := result.get("veto"):
        return Vetoed(job.trial, str(veto))
    metrics = result.get("metrics")
    if not isinstance(metrics, Mapping) or not all(_finite(value) for value in metrics.values()):
        return Failed(job.trial, f"{NOT_SO}, and not {metrics!r}")
    return Described(job.trial, {str(name): float(value) for name, value in metrics.items()})


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
