"""From what a run saw to how good it was: incumbents, regret, hypervolume, speed-up. NumPy only."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

import numpy as np

GRID = 50
"""Points of an anytime curve: at 1/50, 2/50, … of the budget."""


def hypervolume(points: np.ndarray) -> float:
    """What points [n, 2] dominate of the unit square, lower is better, reference (1, 1)."""
    area, lowest = 0.0, 1.0
    for first, second in points[np.lexsort((points[:, 1], points[:, 0]))]:
        if first < 1 and second < lowest:
            area += (1 - first) * (lowest - second)
            lowest = float(second)
    return float(area)


class Incumbent:
    """The answer of one objective that a run would give at any time: the least loss reported so far.

    `path`: (seconds, value) at each change. Where reports are noisy the value is the truth of that answer, so it may
    become worse.
    """

    def __init__(self) -> None:
        self.path: list[tuple[float, float]] = []
        self._least = float("inf")

    def see(self, seconds: float, loss: float, truth: float | None = None) -> None:
        """A report that counts as an answer."""
        if isfinite(loss) and loss < self._least:
            self._least = loss
            self.path.append((seconds, loss if truth is None else truth))


def anytime(path: Sequence[tuple[float, float]], budget: float, before: float) -> list[float]:
    """The value at GRID times up to the budget; `before` while there is none."""
    values, i, now = [], 0, before
    for k in range(1, GRID + 1):
        while i < len(path) and path[i][0] <= budget * k / GRID:
            now = path[i][1]
            i += 1
        values.append(now)
    return values


def regret(value: float, best: float, typical: float) -> float:
    """0 at the best known, 1 at a random config's median and above."""
    return min(1.0, max(0.0, (value - best) / (typical - best)))


def reached(path: Sequence[tuple[float, float]], target: float, budget: float) -> float | None:
    """When a value at least as good as `target` was first the answer; None: never within the budget."""
    return next((at for at, value in path if value <= target and at <= budget), None)


def speed_up(path: Sequence[tuple[float, float]], target: float, budget: float) -> float:
    """Budget ÷ time to the target; 0.99 for a miss, so a median below 1 means that fewer than half got there."""
    at = reached(path, target, budget)
    return 0.99 if at is None else budget / max(at, 1e-9)
