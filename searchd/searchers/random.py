"""Random search: by the priors of the space where it has any, within its constraints."""

from __future__ import annotations

from numpy.random import Generator

from searchd.schedulers.events import TrialId
from searchd.searchers.base import History
from spaces.config import Config


class RandomSearcher:
    def suggest(self, trial: TrialId, history: History, rng: Generator) -> Config:  # noqa: ARG002
        return history.space.sample(rng)
