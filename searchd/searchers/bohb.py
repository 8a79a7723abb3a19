"""BOHB: a kernel density of the good trials over one of the rest, of the deepest rung that has enough for both.

With `hyperband` (and `rounding: bohb`) as scheduler this is the method of the paper. A third of the suggestions is
random, which keeps Hyperband's guarantee. Kernels are normal on lines and grids and Aitchison's and Aitken's over
kinds; bandwidths follow the normal reference rule. Parameters that a trial does not have are copied from another
trial that has them, or drawn.

Source: Falkner, Klein, Hutter (2018), ICML, algorithm 2; constants of the authors' code.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from searchd.schedulers.events import TrialId
from searchd.searchers.base import History
from searchd.searchers.columns import Column, columns_of
from searchd.searchers.needs import need
from searchd.searchers.split import order_of
from searchd.searchers.table import Table
from spaces.config import Config

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]

SAMPLES = 64
TOP_PERCENT = 15
RANDOM = 1.0 / 3.0
WIDER = 3.0
"""Candidates are drawn with so many bandwidths."""
LEAST_BANDWIDTH = 1e-3
LEAST_DENSITY = 1e-32
TRIES = 16


def split_sizes(n: int, d: int) -> tuple[int, int]:
    """How many of `n` observations of `d` columns are good, and how many of the rest are bad: the next ones."""
    least = d + 1
    good = max(least, n * TOP_PERCENT // 100)
    return min(good, n), min(max(least, n * (100 - TOP_PERCENT) // 100), max(n - good, 0))


def has_model(n: int, d: int) -> bool:
    """Whether both densities have more than `d` observations."""
    return min(split_sizes(n, d)) > d


@dataclass(frozen=True, slots=True)
class Density:
    """A product kernel density of `points` [n, D] over columns; `bandwidth` [D]."""

    columns: tuple[Column, ...]
    points: Floats
    bandwidth: Floats

    @classmethod
    def of(cls, columns: tuple[Column, ...], points: Floats) -> Density:
        """Bandwidths by the normal reference rule, 1.06 σ n^(-1 / (4 + D)), at least 0.001 and no flatter than flat."""
        n, d = points.shape
        scale = np.array([c.count if c.kinds else 1.0 for c in columns])
        widths = 1.06 * (points * scale).std(axis=0) * n ** (-1.0 / (4 + d))
        flat = np.array([(c.count - 1) / c.count if c.kinds else np.inf for c in columns])
        return cls(columns, points, np.minimum(np.maximum(widths, LEAST_BANDWIDTH), flat))

    def log_density(self, x: Floats) -> Floats:
        """Log of the mean kernel [m] at points `x` [m, D], by one matrix product over all columns."""
        ours, theirs, constant = [], [], 0.0
        for i, column in enumerate(self.columns):
            h = float(self.bandwidth[i])
            if column.kinds:
                kinds = np.arange(column.count)
                match, other = np.log(1.0 - h), np.log(h / (column.count - 1))
                theirs.append((column.index(x[:, i])[:, None] == kinds) * (match - other))
                ours.append((column.index(self.points[:, i])[:, None] == kinds) * 1.0)
                constant += other
            else:
                a, b = (x[:, [i]] - 0.5) / h, (self.points[:, [i]] - 0.5) / h
                theirs.append(np.hstack([a, -0.5 * a**2, np.ones_like(a)]))
                ours.append(np.hstack([b, np.ones_like(b), -0.5 * b**2]))
                constant -= np.log(h) + 0.5 * np.log(2 * np.pi)
        logs = np.hstack(theirs) @ np.hstack(ours).T + constant
        top = logs.max(axis=1)
        found: Floats = top + np.log(np.exp(logs - top[:, None]).mean(axis=1))
        return found

    def sample(self, rng: Generator, m: int) -> Floats:
        """So many candidates [m, D] around observations, WIDER bandwidths away."""
        from scipy.special import ndtr, ndtri

        picked = self.points[rng.integers(len(self.points), size=m)]
        x = np.empty_like(picked)
        for i, column in enumerate(self.columns):
            mu, h = picked[:, i], float(self.bandwidth[i])
            if column.kinds:
                drawn = (rng.integers(column.count, size=m) + 0.5) / column.count
                x[:, i] = np.where(rng.random(m) < h, drawn, mu)
                continue
            low, high = ndtr(-mu / (WIDER * h)), ndtr((1.0 - mu) / (WIDER * h))
            at = np.clip(low + (high - low) * rng.random(m), 1e-300, 1.0 - 1e-16)
            x[:, i] = np.clip(mu + WIDER * h * ndtri(at), 0.0, 1.0)
            if column.grid:
                x[:, i] = column.snap(x[:, i])
        return x


class BohbSearcher:
    """`random_fraction`: the share of suggestions that are random; also all before there is a model."""

    def __init__(self, *, random_fraction: float = RANDOM) -> None:
        need("bohb", "scipy")
        self._random = random_fraction

    def suggest(self, trial: TrialId, history: History, rng: Generator) -> Config:  # noqa: ARG002
        space, table = history.space, history.table
        columns = columns_of(space)
        k = _deepest(table, len(columns))
        if k is None or rng.random() < self._random:
            return space.sample(rng)
        rows = order_of(table, k)
        n_good, n_bad = split_sizes(len(rows), len(columns))
        at = np.array([c.at for c in columns])
        good, bad = (
            Density.of(columns, impute(columns, table.units[side][:, at], rng))
            for side in (rows[:n_good], rows[n_good : n_good + n_bad])
        )
        config: Config | None = None
        for _ in range(TRIES):
            x = good.sample(rng, SAMPLES)
            floor = np.log(LEAST_DENSITY)
            score = np.maximum(bad.log_density(x), floor) - np.maximum(good.log_density(x), floor)
            unit = np.full(space.width, 0.5)
            unit[at] = x[int(np.argmin(score))]
            config = space.walk(lambda name, domain, unit=unit: domain.decode(unit[space[name].columns].tolist()))  # type: ignore[misc]
            if space.feasible(config):
                return config
        return space.repair(config or {}, rng)


def impute(columns: tuple[Column, ...], points: Floats, rng: Generator) -> Floats:
    """`points` [n, D] without NaN: copied from a row that has the column, or drawn where none has."""
    full = points.copy()
    for i, column in enumerate(columns):
        missing = np.flatnonzero(np.isnan(points[:, i]))
        if not len(missing):
            continue
        there = points[~np.isnan(points[:, i]), i]
        if len(there):
            full[missing, i] = there[rng.integers(len(there), size=len(missing))]
        else:
            drawn = rng.random(len(missing))
            full[missing, i] = column.snap(drawn) if column.count else drawn
    return full


def _deepest(table: Table, d: int) -> int | None:
    if not d:
        return None
    for k in range(len(table.steps) - 1, -1, -1):
        if has_model(int(np.isfinite(table.violation[:, k]).sum()), d):
            return k
    return None
