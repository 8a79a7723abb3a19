"""How good a predictor is: on architectures that it has not seen, beside how well the figures repeat themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from searchd.latency.fit import Architecture, fit

WANTED_ERROR = 0.05
WANTED_TAU = 0.85
NOISY = 1.5
"""The wanted error is this many times the spread of the figures themselves, where that is more."""
FOLDS = 4


@dataclass(frozen=True, slots=True)
class Quality:
    """`error`: median |predicted − measured| / measured on held-out architectures; `tau`: Kendall's rank correlation
    there; `spread`: median relative difference between two measurements of the same; `measured`: how many."""

    error: float
    tau: float
    spread: float
    measured: int

    @property
    def bound(self) -> float:
        """The error that is wanted here."""
        return max(WANTED_ERROR, NOISY * self.spread)

    @property
    def good(self) -> bool:
        """Whether the error and the ranks are as wanted."""
        return self.error <= self.bound and self.tau >= WANTED_TAU

    def as_json(self) -> dict[str, Any]:
        return {"error": self.error, "tau": self.tau, "spread": self.spread, "measured": self.measured,
                "bound": self.bound, "good": self.good}  # fmt: skip


def judge(table: Mapping[str, float], measured: Sequence[Architecture], spread: float) -> Quality:
    """By cross-validation in `FOLDS` parts, each predicted from the others: every architecture is held out once."""
    predicted = np.full(len(measured), np.nan)
    for fold in range(FOLDS):
        rest = [a for i, a in enumerate(measured) if i % FOLDS != fold]
        if not rest:
            continue
        predictor = fit(table, rest)
        for i in range(fold, len(measured), FOLDS):
            predicted[i] = predictor.ms(measured[i].counts)
    actual = np.array([a.ms for a in measured])
    error = float(np.median(np.abs(predicted - actual) / actual)) if len(measured) else float("nan")
    return Quality(error, kendall(predicted, actual), spread, len(measured))


def kendall(a: Sequence[float] | NDArray[np.float64], b: Sequence[float] | NDArray[np.float64]) -> float:
    """Kendall's τ-b of two sequences [n]; NaN without any spread (Kendall, 1945, Biometrika)."""
    x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    upper = np.triu_indices(len(x), 1)
    p, q = np.sign(x[:, None] - x)[upper], np.sign(y[:, None] - y)[upper]
    scale = float(np.sqrt(float((p != 0).sum()) * float((q != 0).sum())))
    return float((p * q).sum()) / scale if scale > 0 else float("nan")
