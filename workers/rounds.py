"""Many runs timed on a noisy machine: short rounds, in turns, in a new order each; a figure is the best round's median.

What else runs on the machine can only add time, and it comes in bursts: a burst then spoils one round of many figures,
and not all rounds of one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workers.measurers import Measurer, Run

ROUND_S = 0.002
WARM_S = 0.004
ROUNDS = 20
REPEATS = 2
"""Every figure is taken so often, from rounds of its own: how much they differ is the spread of the figures."""


@dataclass(frozen=True, slots=True)
class Figures:
    """`ms` [n]: the least of the repeats; `each` [REPEATS, n]: the repeats; `variance` [n] of all rounds, in ms²."""

    ms: NDArray[np.float64]
    each: NDArray[np.float64]
    variance: NDArray[np.float64]

    @property
    def spread(self) -> float:
        """The median relative difference between two repeats."""
        low, high = self.each.min(axis=0), self.each.max(axis=0)
        return float(np.median((high - low) / low)) if low.size else 0.0


def figures(
    measurer: Measurer, runs: Sequence[Run], seed: int = 0, *, round_s: float = ROUND_S, rounds: int = ROUNDS
) -> Figures:
    """Time `runs`, all of them in every round, each round in another random order."""
    rng = np.random.default_rng(seed)
    for run in runs:
        measurer.times(run, WARM_S)
    medians = np.empty((REPEATS, rounds, len(runs)))
    for repeat in range(REPEATS):
        for turn in range(rounds):
            for i in rng.permutation(len(runs)):
                medians[repeat, turn, i] = np.median(measurer.times(runs[i], round_s))
    each = medians.min(axis=1)
    return Figures(each.min(axis=0), each, medians.reshape(-1, len(runs)).var(axis=0))
