"""A baseline for schedules: every so manieth trial keeps each scheduled parameter constant while it trains.

A policy that knows the time is worth its knots only if it beats the best constant (the static best of dynamic
algorithm configuration), and a search over knots hardly ever draws one. The constant is the middle knot's value of what
would have been suggested.

Source: Adriaensen and others (2022), JAIR, automated dynamic algorithm configuration.
"""

from __future__ import annotations

from typing import Any

from numpy.random import Generator

from searchd.schedulers.events import TrialId
from searchd.searchers.base import History, Morphed, Searcher, remark_of
from spaces.config import Config
from spaces.domains import Domain
from spaces.tree import schedules


class Constants:
    """Of the trials number `every` - 1, 2 · `every` - 1, … constants of what `then` suggests, unless they are known or
    break a constraint; trials that take over weights are left as they are."""

    def __init__(self, every: int, then: Searcher) -> None:
        self._every = every
        self._then = then

    def suggest(self, trial: TrialId, history: History, rng: Generator) -> Config | Morphed:
        config = self._then.suggest(trial, history, rng)
        if (trial + 1) % self._every or history.parent is not None or isinstance(config, Morphed):
            return config
        space = history.space
        flat: dict[str, Any] = {}
        for names in schedules(space.nodes).values():
            if names[0] in config:
                flat.update(dict.fromkeys(names, config[names[len(names) // 2]]))

        def choose(name: str, _: Domain) -> Any:
            return flat.get(name, config[name])

        constant = space.walk(choose)
        known = {record.config.digest for record in history.records} | {c.digest for c in history.rejected}
        return constant if space.feasible(constant) and constant.digest not in known else config

    @property
    def remark(self) -> str | None:
        """What the searcher itself said last."""
        return remark_of(self._then)
