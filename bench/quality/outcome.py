"""What one run comes to: the anytime curve of its answer, and what it cost. NumPy only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.quality.score import GRID, Incumbent, hypervolume
from bench.quality.spec import Problem


@dataclass(frozen=True, slots=True)
class Outcome:
    """`path`: (seconds, value of the answer) at each change; with two objectives the value is the hypervolume so far.
    `cut`: the cap of decision CPU ended it."""

    path: list[tuple[float, float]]
    cpu_s: float
    trials: int
    full: int
    reports: int
    cut: bool


class Watch:
    """Sees every report of a run, whoever runs it."""

    def __init__(self, problem: Problem, budget: float) -> None:
        self._problem, self._budget = problem, budget
        self._incumbent = Incumbent()
        self._points: list[tuple[float, Any]] = []
        self._reports = 0

    def see(self, seconds: float, step: int, losses: Any, truth: float | None) -> None:
        """A report; those after the budget do not count."""
        if seconds > self._budget:
            return
        self._reports += 1
        if self._problem.incumbent == "full" and step < self._problem.steps:
            return
        if self._problem.objectives > 1:
            self._points.append((seconds, losses))
        else:
            self._incumbent.see(seconds, float(losses), truth)

    def outcome(self, *, cpu: float, trials: int, full: int, cut: bool) -> Outcome:
        """The whole run."""
        path = self._incumbent.path if self._problem.objectives == 1 else self._volumes()
        return Outcome(path, cpu, trials, full, self._reports, cut)

    def _volumes(self) -> list[tuple[float, float]]:
        """The hypervolume at GRID times, as it only grows."""
        path = []
        for k in range(1, GRID + 1):
            at = self._budget * k / GRID
            seen = [point for seconds, point in self._points if seconds <= at]
            if seen:
                path.append((at, hypervolume(np.array(seen))))
        return path
