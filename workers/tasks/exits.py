"""Early exits as arithmetic: which exit answers, what that costs, and the operating points of a trained network.

A sample leaves at the first exit whose largest softmax probability is at least the threshold; the last exit always
answers (ALGORITHMS.md 14.2 a). Confidences are computed once, so a threshold costs O(n K) (14.4).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

ALWAYS_LAST = 2.0
"""A threshold that no probability reaches: every sample goes to the last exit."""

QUANTILES = (0.02, 0.05, 0.1, 0.15, 0.25, 0.4, 0.6, 0.85)
"""Of the validation confidences at the exits before the last: where thresholds are put. Denser at the low end: sending
the few least confident samples on is what lowers the error most for the time that it costs."""

Floats = NDArray[np.floating[Any]]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a threshold does to n samples: error in percent, and the share that leaves at each exit (sums to 1)."""

    threshold: float
    error: float
    rates: tuple[float, ...]

    def as_point(self) -> dict[str, Any]:
        """The point as it is reported: `threshold`, `val_error` in percent, `exit_rates`."""
        return {"threshold": self.threshold, "val_error": self.error, "exit_rates": list(self.rates)}


def softmax(logits: Floats) -> Floats:
    """Probabilities along the last axis, in float64; NaN where the logits are not finite."""
    z = logits.astype(np.float64)
    with np.errstate(invalid="ignore"):  # a network that diverged is no reason to warn
        e = np.exp(z - z.max(axis=-1, keepdims=True))
        return np.asarray(e / e.sum(axis=-1, keepdims=True))


def judge(logits: Sequence[Floats], y: NDArray[np.integer[Any]]) -> tuple[Floats, Bools]:
    """Confidence and correctness [n, K] from the logits [n, classes] of K exits. NaN logits are sure and wrong."""
    confidence, right = [], []
    for exit_logits in logits:
        p = softmax(exit_logits)
        confidence.append(np.nan_to_num(p.max(axis=1), nan=1.0))
        right.append((p.argmax(axis=1) == y) & np.isfinite(p).all(axis=1))
    return np.stack(confidence, axis=1), np.stack(right, axis=1)


def outcomes(confidence: Floats, right: Bools, threshold: float) -> Outcome:
    """The exit rule applied to [n, K] confidences at one shared `threshold`."""
    leaves = confidence >= threshold
    leaves[:, -1] = True
    taken = leaves.argmax(axis=1)
    n, k = confidence.shape
    rates = np.bincount(taken, minlength=k) / n
    error = 100.0 * float(1.0 - right[np.arange(n), taken].mean())
    return Outcome(float(threshold), error, tuple(float(r) for r in rates))


def sweep(confidence: Floats, right: Bools) -> tuple[Outcome, ...]:
    """The operating points, from "the first exit always" to "the last always"; those with equal rates once.

    With one exit there is one point.
    """
    if confidence.shape[1] == 1:
        return (outcomes(confidence, right, 0.0),)
    inner = np.quantile(confidence[:, :-1], QUANTILES).tolist()
    points: dict[tuple[float, ...], Outcome] = {}
    for threshold in (0.0, *inner, ALWAYS_LAST):
        outcome = outcomes(confidence, right, threshold)
        points.setdefault(outcome.rates, outcome)
    return tuple(points.values())


def expected_cost(rates: Sequence[float], cumulative: Sequence[float]) -> float:
    """Σ P_k c_k: rates of the exits times the cost up to and with each exit, all earlier heads included (14.3)."""
    return float(sum(r * c for r, c in zip(rates, cumulative, strict=True)))
