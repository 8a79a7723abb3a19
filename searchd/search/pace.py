"""How long a step of training takes: read from the reports of a study that counts the seconds."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any

from spaces.formulas import TRAIN_S
from spaces.study import Study


def counts_seconds(study: Study) -> bool:
    """Whether every report is to say the seconds of training so far: an objective or the searcher asks for them.

    They are then a metric of the report in the log, so that a replay needs no clock."""
    return bool(study.search.options.get("cost")) or any(TRAIN_S in o.reads for o in study.objectives)


def pace_of(metrics: Mapping[str, Any], step: int) -> float | None:
    """Seconds a step, in the mean over the steps up to this one; None where the report does not say."""
    if TRAIN_S not in metrics:
        return None
    seconds = metrics[TRAIN_S]
    if not isinstance(seconds, int | float) or not isfinite(seconds) or seconds <= 0:
        return None
    return seconds / step
