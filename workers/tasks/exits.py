"""Early exits as arithmetic: how sure an exit is, which exit answers, and what that costs.

A sample leaves at the first exit whose score is at least the exit's threshold; the last exit always answers. What the
score is says the rule (ALGORITHMS.md 14.2; `spaces.exits`). Scores are computed once, so a vector of thresholds costs
O(n K) (14.4); `workers.tasks.thresholds` looks for good ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

ALWAYS_LAST = 2.0
"""A threshold that no score reaches (patience apart): every sample goes on."""

QUANTILES = (0.02, 0.05, 0.1, 0.15, 0.25, 0.4, 0.6, 0.85)
"""Where one threshold for all exits is put: quantiles of the confidences before the last. Denser at the low end:
sending the few least confident samples on is what lowers the error most for the time that it costs."""

Floats = NDArray[np.floating[Any]]
Bools = NDArray[np.bool_]
Labels = NDArray[np.integer[Any]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What thresholds do to n samples: error in percent, and the share that leaves at each exit (sums to 1)."""

    thresholds: tuple[float, ...]
    error: float
    rates: tuple[float, ...]


def softmax(logits: Floats) -> Floats:
    """Probabilities along the last axis, in float64; NaN where the logits are not finite."""
    z = logits.astype(np.float64)
    with np.errstate(invalid="ignore"):  # a network that diverged is no reason to warn
        e = np.exp(z - z.max(axis=-1, keepdims=True))
        return np.asarray(e / e.sum(axis=-1, keepdims=True))


def judge(logits: Sequence[Floats], y: Labels) -> tuple[Floats, Bools]:
    """Largest probability and correctness [n, K] from the logits [n, classes] of K exits. NaN logits are sure and
    wrong."""
    return scores("probability", logits), correct(logits, y)


def correct(logits: Sequence[Floats], y: Labels) -> Bools:
    """Whether each exit is right, [n, K]; never where its logits are not finite."""
    stacked = np.stack(logits, axis=1)
    right: Bools = (stacked.argmax(axis=2) == y[:, None]) & np.isfinite(stacked).all(axis=2)
    return right


def scores(rule: str, logits: Sequence[Floats], temperatures: Sequence[float] = ()) -> Floats:
    """How sure each exit is, [n, K], by `rule`, after its logits were divided by its temperature (if given).

    probability: the largest of softmax. entropy: 1 - normalised entropy. margin: the largest minus the second largest.
    All in [0, 1]. patience: how many exits in a row, up to this one, say the same class, from 1 (Zhou et al., 2020,
    NeurIPS, PABEE). Logits that are not finite are as sure as can be.
    """
    stacked = np.stack(logits, axis=1)
    if rule == "patience":
        return streaks(stacked.argmax(axis=2))
    if len(temperatures):
        stacked = stacked / np.asarray(temperatures)[None, :, None]
    p = softmax(stacked)
    match rule:
        case "probability":
            found = p.max(axis=2)
        case "entropy":
            found = 1.0 - entropy(p) / np.log(p.shape[2])
        case "margin":
            two = np.partition(p, -2, axis=2)[:, :, -2:]
            found = two[:, :, 1] - two[:, :, 0]
        case _:
            raise ValueError(f"there is no exit rule {rule!r}: this is a bug")
    return np.asarray(np.nan_to_num(found, nan=1.0))


def entropy(p: Floats) -> Floats:
    """-Σ p ln p along the last axis, in nats."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(-np.where(p == 0, 0.0, p * np.log(p)).sum(axis=-1))


def streaks(said: Labels) -> Floats:
    """Of classes [n, K]: how many exits in a row up to each one said the same, from 1."""
    out = np.ones(said.shape)
    for k in range(1, said.shape[1]):
        out[:, k] = np.where(said[:, k] == said[:, k - 1], out[:, k - 1] + 1, 1)
    return out


def taken(score: Floats, thresholds: Sequence[float]) -> NDArray[np.intp]:
    """The exit, from 0, at which each sample of [n, K] scores leaves; `thresholds`: one for each exit but the last."""
    leaves = np.ones(score.shape, bool)
    leaves[:, :-1] = score[:, :-1] >= np.asarray(thresholds, np.float64)
    return np.asarray(leaves.argmax(axis=1))


def outcome(score: Floats, right: Bools, thresholds: Sequence[float]) -> Outcome:
    """The exit rule applied to [n, K] scores, with a threshold for each exit but the last."""
    n, k = score.shape
    at = taken(score, thresholds)
    rates = np.bincount(at, minlength=k) / n
    error = 100.0 * float(1.0 - right[np.arange(n), at].mean())
    return Outcome(tuple(float(t) for t in thresholds), error, tuple(float(r) for r in rates))


def outcomes(confidence: Floats, right: Bools, threshold: float) -> Outcome:
    """The exit rule applied to [n, K] confidences at one shared `threshold`."""
    return outcome(confidence, right, (threshold,) * (confidence.shape[1] - 1))


def sweep(confidence: Floats, right: Bools) -> tuple[Outcome, ...]:
    """One threshold for all exits, from "the first exit always" to "the last always"; those with equal rates once.

    With one exit there is one point.
    """
    if confidence.shape[1] == 1:
        return (outcomes(confidence, right, 0.0),)
    inner = np.quantile(confidence[:, :-1], QUANTILES).tolist()
    points: dict[tuple[float, ...], Outcome] = {}
    for threshold in (0.0, *inner, ALWAYS_LAST):
        found = outcomes(confidence, right, threshold)
        points.setdefault(found.rates, found)
    return tuple(points.values())


def expected_cost(rates: Sequence[float], cumulative: Sequence[float]) -> float:
    """Σ P_k c_k: rates of the exits times the cost up to and with each exit, all earlier heads included (14.3)."""
    return float(sum(r * c for r, c in zip(rates, cumulative, strict=True)))


def batch_cost(rates: Sequence[float], cumulative: Sequence[float], size: int) -> float:
    """Expected cost of a batch of `size` independent samples that waits for its slowest member: Σ c_k (F_k^B -
    F_{k-1}^B), F the cumulated rates. With size 1 it is `expected_cost`."""
    reached = np.minimum(np.cumsum(rates), 1.0) ** size
    return float(np.diff(reached, prepend=0.0) @ np.asarray(cumulative, np.float64))
