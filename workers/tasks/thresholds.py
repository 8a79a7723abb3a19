"""Which threshold at which exit: temperatures, joint thresholds under a budget of cost, and the points of a report.

Logits of the validation samples are computed once; a vector of thresholds is arithmetic on their scores. With up to
EXACT early exits every vector over a grid of quantiles is looked at (n-dimensional histograms, summed up along their
axes: the cost hardly depends on n); with more, NSGA-II over the same grid (see `threshold_front`), from where
coordinate descent ends for several prices of cost, which begins with the geometric allocations (Huang et al., 2018,
ICLR, MSDNet). For each of BUDGETS budgets the least loss wins.

The loss of a sample at an exit is 1 - its largest calibrated probability there: the error that is to be expected, not
the one that happened. Chosen by the errors themselves, a few hundred samples make hundreds of vectors overfit
(`bench/exits.csv`). All that labels decide here is one temperature an exit, so the validation error of a point is
honest on the samples that its thresholds were chosen on, and no half of them is lost to choosing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spaces.exits import geometric
from workers.tasks.exits import ALWAYS_LAST, Floats, Labels, Outcome, correct, outcome, scores, softmax
from workers.tasks.threshold_front import Levels, evolved, judged

EXACT = 4
"""Early exits up to which every vector of the grid is looked at."""
CELLS = 32_768
"""Vectors that are looked at, at the most."""
LEVELS = 32
"""Thresholds of an exit's grid, at the most, "all leave" and "none leaves" among them."""
BUDGETS = 10
"""Budgets between the cost of the first exit and that of the last: with "first always" and "last always" 12 points."""
TIGHT = 1.5
"""They lie at (i / (BUDGETS + 1)) ** TIGHT of the way: closer together where they are low, and the error falls fast."""
DIGITS = 6
"""Decimals of a threshold and of a temperature in a point."""
RATIOS = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0)
"""Ratios of the geometric allocations that coordinate descent begins with."""
PRICES = 16
"""Prices of cost that it is run for."""


def temperatures(logits: Sequence[Floats], y: Labels, rounds: int = 12) -> tuple[float, ...]:
    """The temperature of each exit that makes its labels likeliest (Guo et al., 2017, ICML), in [1/20, 20]; 1 where
    logits are not finite.

    One sample more is thought to be of every class alike, or labels that are all right would make every exit wholly
    sure of everything. Newton's method on 1 / T, in which the likelihood is concave, at most threefold a round.
    """
    z = np.stack(logits).astype(np.float64)  # [K, n, C]
    z = z - z.max(axis=2, keepdims=True)
    if not np.isfinite(z).all():
        return (1.0,) * len(z)
    said = np.take_along_axis(z, np.broadcast_to(y[None, :, None], (*z.shape[:2], 1)), axis=2)[:, :, 0].mean(axis=1)
    doubt = 1.0 / (len(y) + 1)
    said = (1 - doubt) * said + doubt * z.mean(axis=(1, 2))
    beta = np.ones(len(z))
    for _ in range(rounds):
        e = np.exp(beta[:, None, None] * z)
        p = e / e.sum(axis=2, keepdims=True)
        mean = (p * z).sum(axis=2)
        spread = ((p * z * z).sum(axis=2) - mean**2).mean(axis=1)
        step = (mean.mean(axis=1) - said) / np.maximum(spread, 1e-12)
        after = np.clip(beta - step, np.maximum(beta / 3, 0.05), np.minimum(beta * 3, 20.0))
        if np.abs(after - beta).max() < 1e-6:
            break
        beta = after
    return tuple(float(1.0 / b) for b in beta)


def grids(score: Floats, levels: int) -> list[NDArray[np.float64]]:
    """Thresholds to try at each early exit, rising: 0, quantiles of its scores, denser at the low end, ALWAYS_LAST."""
    at = np.linspace(0.0, 1.0, levels) ** 2
    return [np.unique([0.0, *np.quantile(column, at[1:-1]), ALWAYS_LAST]) for column in score[:, :-1].T]


@dataclass(frozen=True, slots=True)
class Candidates:
    """Threshold vectors [M, K - 1] with the loss and the cost of each, means over the samples."""

    thresholds: Floats
    loss: Floats
    cost: Floats

    def within(self, budget: float) -> tuple[float, ...]:
        """The least loss that costs no more than `budget`; of equals the cheapest; the cheapest of all where none is in
        it."""
        inside = np.flatnonzero(self.cost <= budget * (1 + 1e-9))
        if not len(inside):
            inside = np.flatnonzero(self.cost <= self.cost.min())
        best = inside[np.lexsort((self.cost[inside], self.loss[inside]))[0]]
        return tuple(float(t) for t in self.thresholds[best])


def candidates(score: Floats, loss: Floats, costs: Sequence[float]) -> Candidates:
    """Threshold vectors for scores and losses [n, K] and cumulative costs [K]: the whole grid, or its front as
    evolution found it."""
    early = score.shape[1] - 1
    if early <= EXACT:
        levels = min(LEVELS, int(CELLS ** (1.0 / max(early, 1)) + 1e-9))
        return whole(score, loss, costs, grids(score, levels))
    return front(score, loss, costs, grids(score, LEVELS))


def whole(score: Floats, loss: Floats, costs: Sequence[float], grid: Sequence[Floats]) -> Candidates:
    """Every vector of the grid. Sample i passes exit k under threshold j when its cell there is at most j."""
    n, early = score.shape[0], score.shape[1] - 1
    sizes = [len(g) for g in grid]
    cells = [np.searchsorted(g, score[:, k], side="right") for k, g in enumerate(grid)]  # 0: below all thresholds
    found = [np.zeros(sizes), np.zeros(sizes)]
    flat, shape = np.zeros(n, np.int64), ()  # type: NDArray[np.int64], tuple[int, ...]
    for k in range(early + 1):
        last = k == early
        if not last:
            flat, shape = flat * (sizes[k] + 1) + cells[k], (*shape, sizes[k] + 1)
        for i, values in enumerate((loss[:, k], np.full(n, float(costs[k])))):
            table = np.bincount(flat, weights=values, minlength=int(np.prod(shape))).reshape(shape)
            for axis in range(len(shape)):
                below = np.take(table.cumsum(axis=axis), np.arange(sizes[axis]), axis=axis)
                leaving = axis == k
                table = table.sum(axis=axis, keepdims=True) - below if leaving else below
            found[i] += table.reshape(table.shape + (1,) * (early - len(shape)))
    vectors = np.stack(np.meshgrid(*grid, indexing="ij"), axis=-1).reshape(-1, early)
    return Candidates(vectors, found[0].ravel() / n, found[1].ravel() / n)


def front(score: Floats, loss: Floats, costs: Sequence[float], grid: Sequence[Floats]) -> Candidates:
    """The front of the grid, as NSGA-II finds it from what coordinate descent ends at."""
    cells = _cells(score, grid)
    levels = evolved(cells, loss, costs, [len(g) for g in grid], _descended(cells, loss, costs, grid))
    return _judged(cells, loss, costs, grid, levels)


def descended(score: Floats, loss: Floats, costs: Sequence[float], grid: Sequence[Floats]) -> Candidates:
    """What coordinate descent ends at for each price, and the geometric allocations that it begins with."""
    cells = _cells(score, grid)
    return _judged(cells, loss, costs, grid, _descended(cells, loss, costs, grid))


def _cells(score: Floats, grid: Sequence[Floats]) -> Levels:
    """How many thresholds of each exit's grid a sample's score reaches: [n, K - 1]."""
    return np.stack([np.searchsorted(g, score[:, k], side="right") for k, g in enumerate(grid)], axis=1)


def _judged(cells: Levels, loss: Floats, costs: Sequence[float], grid: Sequence[Floats], levels: Levels) -> Candidates:
    vectors = np.stack([g[places] for g, places in zip(grid, levels.T, strict=True)], axis=1)
    return Candidates(vectors, *judged(cells, loss, costs, levels).T)


def _descended(cells: Levels, loss: Floats, costs: Sequence[float], grid: Sequence[Floats]) -> Levels:
    """An exit's best threshold, the others fixed, is found exactly: of the samples that reach it, those that pass are
    worth what the exits behind make of them."""
    starts = [allocated(cells, q) for q in RATIOS]
    found = [*starts]
    spread = max(float(loss.max() - loss.min()), 1e-12) / max(float(costs[-1] - costs[0]), 1e-12)
    at = starts[-1]
    for i, price in enumerate(spread * np.logspace(-3, 1, PRICES)):
        value = loss + price * np.asarray(costs, np.float64)
        ends = [_descent(cells, value, grid, start) for start in (at, starts[-1 - i * len(starts) // PRICES])]
        found += ends
        at = min(ends, key=lambda levels: _worth(cells, value, levels))
    return np.unique(np.stack(found), axis=0)


def allocated(cells: Levels, q: float) -> Levels:
    """Grid places [K - 1] by which shares ∝ q^k of the samples leave at exit k, as nearly as the grid allows."""
    n, early = cells.shape
    left, out = np.ones(n, bool), np.zeros(early, np.int64)
    for k, share in enumerate(geometric(q, early + 1)[:-1]):
        most = cells[:, k].max()
        leaving = np.array([np.count_nonzero(left & (cells[:, k] > j)) for j in range(most + 1)])
        out[k] = np.abs(leaving - share * n).argmin()
        left &= cells[:, k] <= out[k]
    return out


def _descent(cells: Levels, value: Floats, grid: Sequence[Floats], start: Levels) -> Levels:
    levels = start.copy()
    for _ in range(10):
        before = levels.copy()
        passes = cells <= levels
        reaches = np.concatenate([np.ones((len(cells), 1), bool), np.cumprod(passes, axis=1).astype(bool)], axis=1)
        behind = value[:, -1]
        for k in range(len(levels) - 1, -1, -1):
            gain = np.where(reaches[:, k], behind - value[:, k], 0.0)  # of passing instead of leaving; less is better
            by_level = np.bincount(cells[:, k], weights=gain, minlength=len(grid[k]) + 1)[: len(grid[k])].cumsum()
            best = int(by_level.argmin())
            if by_level[best] < by_level[levels[k]]:
                levels[k] = best
            behind = np.where(cells[:, k] <= levels[k], behind, value[:, k])
        if (levels == before).all():
            break
    return levels


def _worth(cells: Levels, value: Floats, levels: Levels) -> float:
    leaves = np.concatenate([cells > levels, np.ones((len(cells), 1), bool)], axis=1)
    return float(value[np.arange(len(cells)), leaves.argmax(axis=1)].mean())


def operating_points(rule: str, logits: Sequence[Floats], y: Labels, costs: Sequence[float]) -> list[dict[str, Any]]:
    """The points of a report, at most BUDGETS + 2, from "the first exit always" to "the last always"; equal rates once.

    Each has `rule`, `thresholds` (one for each exit but the last), `temperatures` (none for patience), `val_error` in
    percent, and `exit_rates`. `logits`: [n, classes] of each exit. `costs`: cumulative, of any unit. With one exit
    there is one point.
    """
    exits, right = len(logits), correct(logits, y)
    if exits == 1:
        found = outcome(np.zeros((len(y), 1)), right, ())
        return [{"thresholds": [], "val_error": found.error, "exit_rates": list(found.rates)}]
    warm: tuple[float, ...] = ()
    if rule == "patience":
        vectors = [(float(count),) * (exits - 1) for count in range(1, exits + 1)]
    else:
        warm = tuple(round(t, DIGITS) for t in temperatures(logits, y))
    score = scores(rule, logits, warm)
    if rule != "patience":
        vectors = joint(score, expected_loss(logits, warm), costs)
    points: dict[tuple[float, ...], dict[str, Any]] = {}
    for vector in vectors:
        found = outcome(score, right, vector)
        points.setdefault(found.rates, _point(rule, warm, found))
    return list(points.values())


def joint(score: Floats, loss: Floats, costs: Sequence[float]) -> list[tuple[float, ...]]:
    """Threshold vectors: the first exit always, the best within each budget, the last exit always."""
    early = score.shape[1] - 1
    known = candidates(score, loss, costs)
    way = (np.arange(1, BUDGETS + 1) / (BUDGETS + 1)) ** TIGHT
    inner = [known.within(float(costs[0] + w * (costs[-1] - costs[0]))) for w in way]
    rounded = [tuple(round(t, DIGITS) for t in vector) for vector in inner]
    return [(0.0,) * early, *rounded, (ALWAYS_LAST,) * early]


def expected_loss(logits: Sequence[Floats], warm: Sequence[float]) -> Floats:
    """1 - the largest probability after temperature scaling, [n, K]: the error to be expected. 1 where not finite."""
    p = softmax(np.stack(logits, axis=1) / np.asarray(warm)[None, :, None])
    return np.asarray(np.nan_to_num(1.0 - p.max(axis=2), nan=1.0))


def _point(rule: str, warm: Sequence[float], found: Outcome) -> dict[str, Any]:
    said = {"temperatures": list(warm)} if warm else {}
    return {"rule": rule, "thresholds": list(found.thresholds), **said,
            "val_error": found.error, "exit_rates": list(found.rates)}  # fmt: skip
