"""Does a rung rank trials as the next one does? Where it does not, short training says little about long training.

Source: Zela, Klein, Falkner, Hutter (2018), AutoML workshop, joint architecture and hyperparameter search: very short
runs correlate poorly with long ones.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

LEAST = 8
"""Fewer common trials say nothing."""
POOR = 0.5
"""Below this a larger r is worth a thought."""


def agreement(rungs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """`[{"low", "high", "trials", "spearman"}]` for adjacent rungs of an answer of `rungs`, lowest first.

    Over the trials that have a value of the first objective at both (those that went up: a selection, so that the
    coefficient is lower than among all); null for fewer than `LEAST` of them, or without any spread.
    """
    values: dict[int, dict[int, dict[int, float]]] = defaultdict(dict)
    for rung in rungs:
        found = {t["trial"]: t["value"] for t in rung["trials"] if t["value"] is not None}
        values[rung["bracket"]][rung["step"]] = found
    pairs: dict[tuple[int, int], list[tuple[float, float]]] = defaultdict(list)
    for ladder in values.values():
        steps = sorted(ladder)
        for low, high in pairwise(steps):
            common = sorted(set(ladder[low]) & set(ladder[high]))
            pairs[low, high] += [(ladder[low][t], ladder[high][t]) for t in common]
    return [
        {"low": low, "high": high, "trials": len(found), "spearman": spearman(*zip(*found, strict=True))
         if len(found) >= LEAST else None}
        for (low, high), found in sorted(pairs.items())
    ]  # fmt: skip


def warnings(found: Sequence[Mapping[str, Any]], unit: str = "step") -> list[str]:
    """A line for each pair of rungs that agree poorly."""
    return [
        f"{unit}s {pair['low']} and {pair['high']} rank trials differently (Spearman {pair['spearman']:.2f} over "
        f"{pair['trials']} trials): a larger search.r would compare them later, when it means more"
        for pair in found
        if pair["spearman"] is not None and pair["spearman"] < POOR
    ]


def spearman(a: ArrayLike, b: ArrayLike) -> float | None:
    """Spearman's rank correlation of two sequences [n], equal values sharing their mean rank; None without spread."""
    x, y = _ranks(a), _ranks(b)
    x, y = x - x.mean(), y - y.mean()
    scale = float(np.sqrt((x * x).sum() * (y * y).sum()))
    return float((x * y).sum()) / scale if scale > 0 else None


def _ranks(values: ArrayLike) -> NDArray[np.float64]:
    given = np.asarray(values, dtype=np.float64)
    order = np.sort(given)
    low = np.searchsorted(order, given, side="left")
    high = np.searchsorted(order, given, side="right")
    ranks: NDArray[np.float64] = (low + high - 1) / 2
    return ranks
