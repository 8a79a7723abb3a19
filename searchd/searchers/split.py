"""Which trials of a rung are good and which are bad, for estimators of both.

One objective: feasible trials by loss, then by violation, then the diverged; ties go to the older trial. Several:
feasible trials by non-dominated layer, inside a layer by an ε-net, as schedulers rank them; then as above.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil

import numpy as np
from numpy.typing import NDArray

from searchd.schedulers.front import non_dominated
from searchd.schedulers.orders import epsilon_net
from searchd.searchers.table import Table

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

SHARE = 0.1
MOST_GOOD = 25
"""At most so many are good, with one objective."""


def how_many(n: int, objectives: int = 1) -> int:
    """How many of `n` finished trials are good: a tenth, rounded up (Watanabe, 2023)."""
    good = ceil(SHARE * n)
    return min(good, MOST_GOOD) if objectives == 1 else good


def good(loss: Floats, violation: Floats, k: int) -> Bools:
    """The `k` good ones among trials with `loss` [n] and `violation` [n] (inf: diverged), the oldest first."""
    found = np.zeros(len(loss), dtype=bool)
    feasible = np.flatnonzero(violation <= 0)
    found[feasible[least(loss[feasible], k)]] = True
    _fill(found, violation, k - len(feasible))
    return found


def good_of_several(values: Floats, violation: Floats, k: int) -> Bools:
    """The same for `values` [n, m] of several objectives (anything where the trial diverged)."""
    found = np.zeros(len(values), dtype=bool)
    left = np.flatnonzero(violation <= 0)
    room = min(k, len(left))
    while room:
        front = non_dominated(values[left])
        layer = left[front]
        if len(layer) > room:
            net = _net(values[layer])
            layer = layer[[next(net) for _ in range(room)]]
        found[layer] = True
        room -= len(layer)
        left = left[~front]
    _fill(found, violation, k - int(found.sum()))
    return found


def least(values: Floats, k: int) -> NDArray[np.int64]:
    """Places of the `k` least of `values` [n], ties to the lower place; ascending."""
    if k >= len(values):
        return np.arange(len(values))
    if k <= 0:
        return np.zeros(0, dtype=np.int64)
    edge = np.partition(values, k - 1)[k - 1]
    sure = values < edge
    ties = np.flatnonzero(values == edge)[: k - int(sure.sum())]
    sure[ties] = True
    return np.flatnonzero(sure)


def _fill(found: Bools, violation: Floats, k: int) -> None:
    """So many more from those that are not feasible, by violation."""
    if k > 0:
        rest = np.flatnonzero(violation > 0)
        found[rest[least(violation[rest], k)]] = True


def order_of(table: Table, k: int) -> NDArray[np.int64]:
    """Rows with a finite entry in rung `steps[k]`, the best first: feasible by loss (or rank), then by violation."""
    violation = table.violation[:, k]
    rows = np.flatnonzero(np.isfinite(violation))
    loss = table.loss[rows, k] if table.objectives == 1 else _ranks(table, rows, k)
    return rows[np.lexsort((rows, loss, violation[rows]))]


def values_of(table: Table, rows: NDArray[np.int64], k: int) -> Floats:
    """The best points' values [n, m] at rung `steps[k]`, infinite for who has none."""
    best = table.best_points(table.steps[k])
    nothing = (np.inf,) * table.objectives
    points = [best[t] for t in table.trials[rows].tolist()]
    return np.array([nothing if p is None else p.values for p in points]).reshape(len(rows), table.objectives)


def _ranks(table: Table, rows: NDArray[np.int64], k: int) -> Floats:
    """Ranks [n] of rows by several objectives: by layer, inside a layer by an ε-net."""
    return _ranks_of(values_of(table, rows, k))


def _ranks_of(values: Floats) -> Floats:
    ranks = np.empty(len(values))
    left, place = np.arange(len(values)), 0
    while len(left):
        front = non_dominated(values[left])
        layer = left[front]
        for i in _net(values[layer]):
            ranks[layer[i]] = place
            place += 1
        left = left[~front]
    return ranks


def _net(values: Floats) -> Iterator[int]:
    rows = values / 2  # halves, so that a range cannot overflow
    low = rows.min(axis=0)
    span = rows.max(axis=0) - low
    return epsilon_net((rows - low) / np.where(span > 0, span, 1.0))


def ranks(values: Floats, violation: Floats) -> Floats:
    """Ranks [n] from 0 of points `values` [n, m] with `violation` [n] (inf: diverged), as schedulers rank them."""
    able = np.flatnonzero(np.isfinite(violation))
    inner = values[able, 0] if values.shape[1] == 1 else _ranks_of(values[able])
    order = np.lexsort((able, inner, violation[able]))
    found = np.full(len(values), float(len(able)))
    found[able[order]] = np.arange(len(able))
    return found
