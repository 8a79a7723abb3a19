"""The whole front of exit thresholds by NSGA-II, where there are too many vectors to look at each.

Coordinate descent for a price of cost ends on the convex hull of the front, and budgets between two corners of it get
the cheaper corner. NSGA-II begins with what descent found and fills what lies between: a vector is a place in each
exit's grid, its children mix two of them exit by exit and move some places. Everything it looked at is remembered, and
the front of that is what it returns. No chance that a seed would change: it draws from a fixed stream.

Source: Deb, Pratap, Agarwal, Meyarivan (2002), IEEE TEC; ALGORITHMS.md 14.4.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.random import Generator, Philox
from numpy.typing import NDArray

from workers.fronts import ranked
from workers.tasks.exits import Floats

Levels = NDArray[np.int64]

POPULATION, GENERATIONS = 60, 40
CROSSED = 0.9
"""The share of children with two parents."""
ANYWHERE = 0.2
"""The share of the moved places that may land anywhere; the others move by 1 to STEP."""
STEP = 3
AT_ONCE = 2_000_000
"""Vectors times samples that are computed in one go, at the most."""


def evolved(cells: Levels, loss: Floats, costs: Sequence[float], sizes: Sequence[int], seeds: Levels) -> Levels:
    """The front [m, K - 1] of all that was looked at: places in grids of `sizes` thresholds, cheapest first.

    `cells` [n, K - 1]: at exit k a sample goes on when its cell is at most the vector's place there. `loss` [n, K],
    `costs` [K] (cumulative): of leaving at each exit. `seeds` [s, K - 1]: vectors to begin with, at least one.
    """
    rng, top = Generator(Philox(key=0)), np.asarray(sizes) - 1
    alive = np.unique(np.clip(seeds, 0, top), axis=0)
    drawn = rng.integers(top + 1, size=(max(0, POPULATION - len(alive)), len(top)))
    alive = np.unique(np.vstack([alive, drawn]), axis=0)
    worth = judged(cells, loss, costs, alive)
    seen, seen_worth = [alive], [worth]
    for _ in range(GENERATIONS):
        order = ranked(worth)[:POPULATION]
        alive, worth = alive[order], worth[order]
        children = _children(alive, top, rng)
        children_worth = judged(cells, loss, costs, children)
        seen.append(children)
        seen_worth.append(children_worth)
        alive, first = np.unique(np.vstack([alive, children]), axis=0, return_index=True)
        worth = np.vstack([worth, children_worth])[first]
    every, values = np.vstack(seen), np.vstack(seen_worth)
    cheapest = np.lexsort((values[:, 0], values[:, 1]))
    least = np.minimum.accumulate(values[cheapest, 0])
    better = np.concatenate([[True], least[1:] < least[:-1]])
    return np.asarray(every[cheapest[better]])


def judged(cells: Levels, loss: Floats, costs: Sequence[float], vectors: Levels) -> NDArray[np.float64]:
    """Mean loss and mean cost [m, 2] of vectors [m, K - 1]."""
    paid = np.asarray(costs, np.float64)
    found = np.empty((len(vectors), 2))
    rows = max(1, AT_ONCE // max(len(cells), 1))
    for first in range(0, len(vectors), rows):
        part = vectors[first : first + rows]
        worse = np.broadcast_to(loss[:, -1], (len(part), len(cells)))
        dear = np.full((len(part), len(cells)), paid[-1])
        for k in range(cells.shape[1] - 1, -1, -1):
            on = cells[:, k] <= part[:, [k]]
            worse, dear = np.where(on, worse, loss[:, k]), np.where(on, dear, paid[k])
        found[first : first + rows] = np.stack([worse.mean(axis=1), dear.mean(axis=1)], axis=1)
    return found


def _children(parents: Levels, top: Levels, rng: Generator) -> Levels:
    """As many as parents, which are in order: of two drawn ones the first wins."""
    n, width = len(parents), len(top)
    mother, father = (parents[rng.integers(n, size=(n, 2)).min(axis=1)] for _ in range(2))
    mixed = (rng.random((n, 1)) < CROSSED) & (rng.random((n, width)) < 0.5)
    out = np.where(mixed, father, mother)
    moved = rng.random((n, width)) < 1.0 / width
    moved[np.arange(n), rng.integers(width, size=n)] |= ~moved.any(axis=1)
    steps = rng.integers(1, STEP + 1, (n, width)) * rng.choice([-1, 1], (n, width))
    target = np.where(rng.random((n, width)) < ANYWHERE, rng.integers(top + 1, size=(n, width)), out + steps)
    return np.asarray(np.where(moved, np.clip(target, 0, top), out))
