"""PriorBand: random draws, draws from the user's prior, and changes of the best config, in shares that adapt.

At rung r of its bracket a draw is random with probability 1 / (1 + eta^r); else from the prior. Once a trial reached
the top, that second share is divided between the prior and the surroundings of the best trial, by how likely each
makes the best trials of the deepest rung with at least eta of them: a prior that leads nowhere is soon left.

The rung of a new trial is taken from the youngest trial's bracket. Pairs with `hyperband`, `async-hyperband`, `asha`.

Source: Mallik, Bergman, Hvarfner, Stoll, Janowski, Lindauer, Nardi, Hutter (2023), NeurIPS, algorithms 1 and 2.
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from searchd.schedulers.events import TrialId
from searchd.searchers.base import History
from searchd.searchers.columns import Column, columns_of
from searchd.searchers.prior import Prior
from searchd.searchers.split import order_of
from searchd.searchers.table import Table
from spaces.config import Config
from spaces.space import Space

Floats = NDArray[np.float64]

CHANGED = 0.5
"""The probability that a parameter of the best config is changed."""
SPREAD = 0.25
"""The standard deviation of a change on the unit cube."""


class PriorBandSearcher:
    """Stateless: the shares are computed from the history for each suggestion."""

    def suggest(self, trial: TrialId, history: History, rng: Generator) -> Config:  # noqa: ARG002
        space, table = history.space, history.table
        bracket = history.records[-1].bracket if len(history.records) else 0
        random, prior, best = shares(table, history.ladders, bracket)
        which = rng.random()
        if which < random:
            return _uniform(space, rng)
        if which < random + prior or best is None:
            return space.sample(rng)
        return space.repair(_changed(space, history.records[best].config, rng), rng)


def shares(table: Table, ladders: tuple[tuple[int, ...], ...], bracket: int) -> tuple[float, float, int | None]:
    """The probabilities of a random draw and of the prior, and the row of the best trial once it has a share too."""
    eta = _eta(ladders)
    ladder = ladders[min(bracket, len(ladders) - 1)] if ladders else (1,)
    first = table.steps.index(ladder[0]) if ladder[0] in table.steps else 0
    random = 1.0 / (1.0 + float(eta) ** first)
    prior = 1.0 - random
    top = len(table.steps) - 1
    if top < 0 or not np.isfinite(table.violation[:, top]).any():
        return random, prior, None
    enough = (k for k in range(top, -1, -1) if np.isfinite(table.violation[:, k]).sum() >= min(eta, len(table)))
    rung = next(enough, top)  # with many failures no rung may have so many
    rows = order_of(table, rung)
    best = int(order_of(table, top)[0])
    head = rows[: max(eta, len(rows) // eta)]
    ranks = np.arange(len(head), 0, -1.0)
    columns = columns_of(table.space)
    x = table.units[head][:, [c.at for c in columns]]
    by_prior = np.exp(Prior(table.space).log(columns, x))
    by_best = np.exp(near(columns, table.units[best][[c.at for c in columns]], x))
    a, b = float((ranks * by_prior).sum()), float((ranks * by_best).sum())
    share = a / (a + b) if np.isfinite(a + b) and a + b > 0 else 0.5
    return random, prior * share, best


def near(columns: tuple[Column, ...], center: Floats, x: Floats) -> Floats:
    """Log density [m], relative to uniform, of changes of `center` [D] at points `x` [m, D]."""
    total = np.zeros(len(x))
    for i, column in enumerate(columns):
        if np.isnan(center[i]):
            continue
        u = np.where(np.isnan(x[:, i]), center[i], x[:, i])
        if column.kinds:
            same = column.index(u) == int(column.index(center[i : i + 1])[0])
            total += np.log(np.where(same, (1 - CHANGED) * column.count + CHANGED, CHANGED))
        else:
            total += -0.5 * ((u - center[i]) / SPREAD) ** 2 - np.log(SPREAD * np.sqrt(2 * np.pi))
    return total


def _uniform(space: Space, rng: Generator) -> Config:
    return space.from_unit(rng.random(space.width))


def _changed(space: Space, config: Config, rng: Generator) -> Config:
    """Each parameter changed with probability CHANGED: a normal step, or another kind; new ones are drawn."""
    unit = space.encode(config)
    drawn = rng.random(space.width)
    moved = np.clip(unit + SPREAD * rng.standard_normal(space.width), 0.0, 1.0)
    kinds = [c.at for c in columns_of(space) if c.kinds]
    moved[kinds] = drawn[kinds]
    there = ~np.isnan(unit)
    keep = there & (rng.random(space.width) >= CHANGED)
    point = np.where(keep, unit, np.where(there, moved, drawn))
    return space.walk(lambda name, domain: domain.decode(point[space[name].columns].tolist()))


def _eta(ladders: tuple[tuple[int, ...], ...]) -> int:
    longest = max(ladders, key=len, default=())
    return max(2, longest[1] // longest[0]) if len(longest) > 1 else 3
