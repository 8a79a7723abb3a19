"""`cma-es`: the covariance matrix adaptation evolution strategy, on the deepest rung that knows enough.

The trials of that rung, in the order in which they were heard, are the generations: whoever drew them, each moves the
distribution (`cma`). So it is a function of the history, it needs no sampler's state, and no worker waits for a
generation's end. Numbers and ordered choices that every config has are its coordinates; everything else is taken from
one of the best trials, and mutated.

Sources: see `cma`. Bounds by drawing again; ordered values by their cells of the unit cube.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from searchd.schedulers.events import TrialId
from searchd.searchers import cma
from searchd.searchers.base import History
from searchd.searchers.merit import Rung, deepest, ordered
from searchd.searchers.mutation import child
from searchd.searchers.table import Table
from spaces.config import Config
from spaces.domains import Choice, Domain, Subset
from spaces.space import Space

TRIES = 16
"""How often an infeasible or refused config is drawn again before the last one is repaired."""

Ints = NDArray[np.intp]


class CmaEsSearcher:
    """`population`: size of a generation, 0: 4 + floor(3 ln d). `startup`: a rung needs max(startup, d + 1) trials."""

    def __init__(self, *, population: int = 0, startup: int = 10) -> None:
        self._population = population
        self._startup = startup
        self._kept: tuple[Table, int, list[cma.State]] | None = None

    def suggest(self, trial: TrialId, history: History, rng: Generator) -> Config:  # noqa: ARG002
        space = history.space
        rung = deepest(history, self._startup)
        if rung is None:
            return space.sample(rng)
        names = coordinates(space)
        columns = np.array([space[name].start for name in names], dtype=np.intp)
        state = self._state(history, rung, columns) if names else None
        refused = {c.digest for c in history.rejected}
        best = ordered(history, rung.column, np.sort(rung.rows))[: max(len(rung.rows) // 5, 1)]
        config = space.sample(rng)
        for _ in range(TRIES):
            config = _drawn(history, names, state, int(best[int(rng.integers(len(best)))]), rng)
            if space.feasible(config) and config.digest not in refused:
                return config
        return space.repair(config, rng)

    def _state(self, history: History, rung: Rung, columns: Ints) -> cma.State:
        """After all full generations of the rung; those of a table are kept while it grows."""
        table = history.table
        if self._kept is None or self._kept[0] is not table or self._kept[1] != rung.step:
            self._kept = (table, rung.step, [cma.begin(len(columns))])
        states = self._kept[2]
        size = max(self._population or cma.population(len(columns)), 2)
        for number in range(len(states) - 1, len(rung.rows) // size):
            rows = np.sort(rung.rows[number * size : (number + 1) * size])
            points = table.units[ordered(history, rung.column, rows)][:, columns]
            states.append(cma.told(states[-1], points))
        return states[-1]


def coordinates(space: Space) -> list[str]:
    """The parameters with an order and more than one value that every config has."""
    return [
        slot.name
        for slot in space.slots
        if slot.parent is None
        and slot.repeat is None
        and slot.domain.count() > 1
        and not isinstance(slot.domain, Subset)
        and (not isinstance(slot.domain, Choice) or slot.domain.ordered)
    ]


def _drawn(history: History, names: list[str], state: cma.State | None, row: int, rng: Generator) -> Config:
    """Coordinates from the distribution, the rest from a mutant of the trial in `row`."""
    space = history.space
    rest = child(space, (history.records[row].config,), rng)
    if state is None:
        return rest
    at = dict(zip(names, cma.draw(state, rng).tolist(), strict=True))

    def choose(name: str, domain: Domain) -> Any:
        if name in at:
            return domain.decode((at[name],))
        return rest[name] if name in rest else domain.sample(rng)

    return space.walk(choose)
