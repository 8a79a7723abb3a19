"""The configs of a reproduction: each trial gets the one that it had, and perhaps the one before it as its parent.

A copy may have its parent's very config: it is suggested again, whoever is there already.
"""

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
        config = history.space.complete(said.config)
        if config in history.rejected and all(config != record.config for record in history.records):
            raise SpaceError(f"the config of trial {said.trial} breaks a bound on what is known before training: "
                             "nothing else may take its place")  # fmt: skip
        return Morphed(config, trial - 1) if said.begins == "morph" else config
