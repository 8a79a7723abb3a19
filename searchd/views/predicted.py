"""Latency as it was predicted while a study searched, beside what was measured at its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from searchd.search.events import Measured
from searchd.store.base import PointRow
from searchd.views.plain import number

PREDICTED, MEASURED = "predicted_latency_ms", "latency_ms"


def accuracy(points: Sequence[PointRow]) -> dict[str, Any] | None:
    """`points` that have both figures, `error` (median relative) and `bias` (median of predicted / measured - 1); None
    where nothing was predicted, or nothing was measured yet."""
    pairs = [
        (p, m) for row in points
        if row.verified and (p := number(row.metrics.get(PREDICTED))) and (m := number(row.metrics.get(MEASURED)))
    ]  # fmt: skip
    if not pairs:
        return None
    off = [p / m - 1 for p, m in pairs]
    return {"points": len(pairs), "error": median(abs(o) for o in off), "bias": median(off)}


def predicted(study: Any, config: Mapping[str, Any]) -> Measured | None:
    """What the search took a config to cost when it began; None where latency was measured."""
    from searchd.errors import SearchdError
    from searchd.search.predictions import Predictions
    from spaces.config import Config

    if study is None or study.predictor is None:
        return None
    try:
        return Predictions(study).get(Config(config))
    except SearchdError:
        return None
