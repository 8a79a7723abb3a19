"""A searcher that begins with what earlier studies found (`warm_start`): their best configs are its first trials.

Each study gives its best, then its second, and so on. What follows is suggested by the searcher itself, which has good
trials to learn from by then. `tpe` and `auto` know earlier studies on their own.
"""

from __future__ import annotations

from numpy.random import Generator

from searchd.schedulers.events import TrialId
from searchd.searchers.base import History, Morphed, Searcher, remark_of
from searchd.searchers.earlier import first_configs
from spaces.config import Config


class Beginning:
    """The first `many` trials from earlier studies, as far as they have configs that may start; the rest by `then`."""

    def __init__(self, many: int, then: Searcher) -> None:
        self._many = many
        self._then = then

    def suggest(self, trial: TrialId, history: History, rng: Generator) -> Config | Morphed:
        if trial < self._many and history.parent is None and not history.rejected:
            begin = first_configs(history.earlier, self._many)
            if trial < len(begin) and history.space.feasible(begin[trial]):
                return begin[trial]
        return self._then.suggest(trial, history, rng)

    @property
    def remark(self) -> str | None:
        """What the searcher itself said last."""
        return remark_of(self._then)
