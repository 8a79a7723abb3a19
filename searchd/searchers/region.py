"""A trust region that a history implies: where it is, how wide, and since when.

Its side begins at FIRST of the unit cube, doubles after GROW trials in a row that improved on all before them, and
halves after max(4, d) in a row that did not. Below LEAST it is given up, and a new one begins with trials of its own.
Nothing is kept: the trials of a rung, in the order in which they were heard, are gone through again.

Sources: Eriksson, Pearce, Gardner, Turner, Poloczek (2019), NeurIPS, TuRBO; Eriksson and Poloczek (2021), AISTATS.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from searchd.searchers.outcomes import Outcomes

Ints = NDArray[np.intp]

FIRST, LARGEST, LEAST = 0.8, 1.6, 2.0**-7
"""Sides of the box: at first, at most, and below which it is given up."""
GROW = 3
"""So many improvements in a row double the side."""


@dataclass(frozen=True, slots=True)
class Region:
    """`members`: places in the outcomes of the trials that belong to it; `side` of the box; `since`: only trials born
    at this tally or later belong to it; `restarts`: how many regions were given up before."""

    members: Ints
    side: float
    since: int
    restarts: int


def region(seen: Outcomes, born: NDArray[np.int64], heard: NDArray[np.int64], d: int, startup: int) -> Region:
    """The region after these outcomes [n], of trials `born` and `heard` [n] when. `startup`: so many trials begin it,
    and neither widen nor narrow it."""
    patience = max(4, d)
    side, since, restarts = FIRST, int(np.iinfo(np.int64).min), 0
    members: list[int] = []
    front: list[NDArray[np.float64]] = []
    least = np.inf
    wins = losses = 0
    for i in range(len(seen)):
        if born[i] < since:
            continue
        members.append(i)
        violation = float(seen.violation[i])
        better = violation < least or (violation == least == 0 and not _beaten(seen.goals[i], front))
        if better:
            front = [*front, seen.goals[i]] if violation == least == 0 else [seen.goals[i]]
            least = violation
        if len(members) <= startup:
            continue
        wins, losses = (wins + 1, 0) if better else (0, losses + 1)
        if wins == GROW:
            side, wins = min(2 * side, LARGEST), 0
        elif losses == patience:
            side, losses = side / 2, 0
        if side < LEAST:
            side, since, restarts = FIRST, int(heard[i]) + 1, restarts + 1
            members, front, least, wins, losses = [], [], np.inf, 0, 0
    return Region(np.array(members, dtype=np.intp), side, since, restarts)


def _beaten(values: NDArray[np.float64], front: list[NDArray[np.float64]]) -> bool:
    """Whether something known is at least as good in every goal."""
    return any(bool((other <= values).all()) for other in front)
