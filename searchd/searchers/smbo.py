"""`smbo`: of many candidates the one that a ridge regression over n-grams of decisions likes best.

A config is a sequence of decisions in the order of the space, conditional and repeated ones included, each a token:
the parameter and its value, a number by which of 2^3 cells of its range it is in. The layers of a repeated parameter
have the same tokens wherever they stand, so what was learned of `8 bits after 4` counts at every depth. The features
are which runs of one, two and three tokens a config has. They predict the merit of a trial (see `merit.merits`); half
of the candidates are random, half come from a tree search over what was tried (`mcts`). A share of all suggestions is
random.

Nothing is kept from one suggestion to the next, so the tree needs no reset.

Source: Negrinho and Gordon (2017), DeepArchitect, arXiv:1704.08792, the searcher of their section 5.3 and its code.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from searchd.schedulers.events import TrialId
from searchd.searchers.base import History
from searchd.searchers.mcts import Descent
from searchd.searchers.merit import merits
from spaces.config import Config
from spaces.domains import Choice
from spaces.space import Space

Floats = NDArray[np.float64]

LONGEST = 3
"""Tokens of the longest n-gram."""
CELLS = 8
"""Of the range of a number."""
RIDGE = 1.0
"""Weight of the squared coefficients."""
MOST = 500
"""Trials in the regression: the latest."""
EXPLORE = 0.33
"""Weight of exploration in the tree."""


class SmboSearcher:
    """`candidates`: drawn for each suggestion. `random_fraction`: the share of suggestions that are random. `startup`:
    so many trials must have reported; before that all are."""

    def __init__(self, *, candidates: int = 128, random_fraction: float = 0.1, startup: int = 10) -> None:
        self._candidates = candidates
        self._random = random_fraction
        self._startup = startup

    def suggest(self, trial: TrialId, history: History, rng: Generator) -> Config:  # noqa: ARG002
        space, table = history.space, history.table
        merit = merits(history)
        rows = np.flatnonzero(~np.isnan(merit))
        if len(rows) < self._startup or rng.random() < self._random:
            return space.sample(rng)
        known = {record.config.digest for record in history.records} | {c.digest for c in history.rejected}
        live = np.flatnonzero(~np.isnan(merit) | (table.state < 2))
        filled = np.where(np.isnan(merit), merit[rows].mean(), merit)
        found: dict[str, Config] = {}
        for i in range(self._candidates):
            drawn = space.sample(rng) if i % 2 else space.walk(Descent(history, live, filled, EXPLORE, 3, rng).choose)
            if drawn.digest not in known and space.feasible(drawn):
                found.setdefault(drawn.digest, drawn)
        if not found:
            return space.sample(rng)
        rows = rows[-MOST:]
        model = Ridge([grams(space, history.records[row].config) for row in rows.tolist()], merit[rows])
        configs = list(found.values())
        return configs[int(np.argmax(model([grams(space, config) for config in configs])))]


class Ridge:
    """Least squares with a penalty over counts of n-grams; those that no trial had do not count. `worth` [n]."""

    def __init__(self, seen: Sequence[Counter[tuple[str, ...]]], worth: Floats) -> None:
        names = {name for one in seen for name in one}
        self._column = {name: i for i, name in enumerate(sorted(names))}
        x = self._matrix(seen)
        self._mean = float(worth.mean())
        weights = np.linalg.solve(x @ x.T + RIDGE * np.eye(len(x)), worth - self._mean)  # as many unknowns as trials
        self._slope = x.T @ weights

    def __call__(self, seen: Sequence[Counter[tuple[str, ...]]]) -> Floats:
        """Predictions [m]."""
        return np.asarray(self._mean + self._matrix(seen) @ self._slope)

    def _matrix(self, seen: Sequence[Counter[tuple[str, ...]]]) -> Floats:
        x = np.zeros((len(seen), len(self._column)))
        for i, one in enumerate(seen):
            for name, times in one.items():
                if name in self._column:
                    x[i, self._column[name]] = times
        return x


def grams(space: Space, config: Config) -> Counter[tuple[str, ...]]:
    """How often a config has each run of one to LONGEST decisions."""
    active = [slot.name for slot in space.slots if slot.name in config]
    tokens = [_token(space, name, config) for name in active if space[name].domain.count() > 1]
    return Counter(
        tuple(tokens[i : i + n]) for n in range(1, LONGEST + 1) for i in range(len(tokens) - n + 1)
    )  # fmt: skip


def _token(space: Space, name: str, config: Config) -> str:
    slot = space[name]
    base = name if slot.index is None else name.rpartition(".")[0]
    if isinstance(slot.domain, Choice) or slot.domain.columns != 1:
        return f"{base}={config[name]}"
    return f"{base}~{min(int(slot.domain.encode(config[name])[0] * CELLS), CELLS - 1)}"
