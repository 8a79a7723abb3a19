"""Trials dealt out to the options of a choice in turn, so that each option gets as many: a fair comparison.

Each option is searched as a study of its own: a space with that option only, a searcher of its own, which sees that
option's trials alone, numbered from 0. The next trial goes to the option with the fewest trials so far, the first of
them in the order of the space; so trials that the user brings, or that end early, are made up for. All follows from the
history.

Why: tuned by hand or by a searcher that is free, the option that looks good early gets most of the trials, and is then
the best tuned (Wen and others, 2025, "Fantastic pretraining optimizers and where to find them").
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.random import Generator

from searchd.schedulers.events import TrialId
from searchd.searchers.base import History, Morphed, Searcher, remark_of
from searchd.searchers.earlier import Foreign
from searchd.searchers.record import Record, changed
from searchd.searchers.table import Table
from spaces.balance import choices, narrowed
from spaces.checks import Scalar
from spaces.config import Config
from spaces.space import Space


class Balanced:
    """`parameter`: a choice on the first level of the space. `make`: a fresh searcher, called once an option."""

    def __init__(self, parameter: str, make: Callable[[], Searcher]) -> None:
        self._parameter = parameter
        self._make = make
        self._sides: dict[tuple[Space, Scalar], _Side] = {}
        self.remark: str | None = None

    def suggest(self, trial: TrialId, history: History, rng: Generator) -> Config | Morphed:  # noqa: ARG002
        option = self.turn(history)
        side = self._sides.get((history.space, option))
        if side is None:
            space = narrowed(history.space, self._parameter, option)
            side = self._sides[history.space, option] = _Side(self._parameter, option, space, self._make())
        said = side.suggest(history, rng)
        self.remark = remark_of(side.searcher)
        return said

    def turn(self, history: History) -> Scalar:
        """The option of the next trial."""
        counts = dict.fromkeys(choices(history.space)[self._parameter], 0)
        for record in history.records:
            counts[record.config[self._parameter]] += 1
        return min(counts, key=lambda option: counts[option])


class _Side:
    """One option: its space, its searcher, and what it knows of the history."""

    def __init__(self, parameter: str, option: Scalar, space: Space, searcher: Searcher) -> None:
        self.searcher = searcher
        self._parameter, self._option, self._space = parameter, option, space
        self._live: Table | None = None
        self._clear(History(space))

    def _clear(self, history: History) -> None:
        self._known: list[Record] = []
        self._own: list[Record] = []
        self._table = Table(self._space, history.objectives, history.ladders)
        self._earlier: tuple[tuple[Foreign, ...], tuple[Foreign, ...]] = ((), ())

    def suggest(self, history: History, rng: Generator) -> Config | Morphed:
        live = history.live()
        if live is None or live is not self._live or len(history.records) < len(self._known):
            self._clear(history)
        self._live = live
        records = [r for r in history.records if r.config[self._parameter] == self._option]
        self._learn(records, history.ladders)
        said = self.searcher.suggest(len(records), self._seen(history), rng)
        return Morphed(said.config, records[said.parent].trial) if isinstance(said, Morphed) else said

    def _learn(self, records: Sequence[Record], ladders: tuple[tuple[int, ...], ...]) -> None:
        """Take over what changed of this option's records, by their numbers among each other."""
        numbers = {record.trial: i for i, record in enumerate(records)}
        self._table.reach(ladders)
        for i, record in enumerate(records):
            if i < len(self._known) and self._known[i] is record:
                continue
            parent = None if record.parent is None else numbers.get(record.parent)
            own = changed(record, {"trial": i, "parent": parent})
            self._known[i : i + 1], self._own[i : i + 1] = [record], [own]
            self._table.update(own)

    def _seen(self, history: History) -> History:
        table = self._table
        return History(
            self._space, tuple(self._own), history.objectives, history.ladders, history.rejected, history.describer,
            lambda: table, self._foreign(history.earlier), None, history.unfit, history.bounds,
        )  # fmt: skip

    def _foreign(self, earlier: tuple[Foreign, ...]) -> tuple[Foreign, ...]:
        """Of the earlier studies what has this option, the ranks as they were among all."""
        if self._earlier[0] is not earlier:
            kept = [_only(one, self._parameter, self._option, self._space) for one in earlier]
            self._earlier = (earlier, tuple(one for one in kept if one.configs))
        return self._earlier[1]


def _only(found: Foreign, parameter: str, option: Scalar, space: Space) -> Foreign:
    places = [i for i, config in enumerate(found.configs) if config[parameter] == option]
    configs = tuple(found.configs[i] for i in places)
    units = np.array([space.encode(config) for config in configs]).reshape(len(places), space.width)
    return replace(found, configs=configs, units=units, rank=found.rank[places])
