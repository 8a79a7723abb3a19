"""The configs of a reproduction: each trial gets the one that it had, and perhaps the one before it as its parent."""

from __future__ import annotations

from collections.abc import Sequence

from numpy.random import Generator

from searchd.errors import SpaceError
from searchd.schedulers.events import TrialId
from searchd.searchers.base import History, Morphed
from spaces.config import Config
from spaces.forms import ReplayedForm


class Given:
    """`trials` in their order; one that begins with morphed weights names the one before it."""

    def __init__(self, trials: Sequence[ReplayedForm]) -> None:
        self._trials = tuple(trials)

    def suggest(self, trial: TrialId, history: History, rng: Generator) -> Config | Morphed:  # noqa: ARG002
        if trial >= len(self._trials):
            raise SpaceError(f"a reproduction has {len(self._trials)} trials, and this is number {trial}: a bug")
        said = self._trials[trial]
        if history.rejected:  # nothing else may take its place
            raise SpaceError(f"the config of trial {said.trial} must not be trained here: is the file as it was written?")
        config = history.space.complete(said.config)
        return Morphed(config, trial - 1) if said.begins == "morph" else config
