"""What a user's task says of configs before they are trained: by jobs, once a config.

The built-in task is described by arithmetic (`spaces.describe`) and needs none of this.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from searchd.schedulers.events import TrialId
from spaces.config import Config
from spaces.study import Study

NOTHING: Mapping[str, float] = MappingProxyType({})


class Descriptions:
    """By config: `metrics` once it was described, why it was vetoed, and which trial's job is on its way."""

    __slots__ = ("_known", "_owners", "_vetoed", "wanted")

    def __init__(self, study: Study) -> None:
        self.wanted = bool(study.task.describe)
        """Whether the study's task describes configs by jobs at all."""
        self._known: dict[str, Mapping[str, float]] = {}
        self._vetoed: dict[str, str] = {}
        self._owners: dict[str, TrialId] = {}

    def needs(self, config: Config) -> bool:
        """Whether a job must describe the config before it is trained."""
        return self.wanted and config.digest not in self._known

    def is_coming(self, config: Config) -> bool:
        """Whether a job describes it now."""
        return bool(self._owners) and config.digest in self._owners

    def begin(self, trial: TrialId, config: Config) -> None:
        self._owners[config.digest] = trial

    def describes(self, trial: TrialId, config: Config) -> bool:
        """Whether this trial's job describes the config now."""
        return self._owners.get(config.digest) == trial

    def end(self, trial: TrialId) -> None:
        """The trial is over: nobody waits for its job."""
        self._owners = {digest: owner for digest, owner in self._owners.items() if owner != trial}

    def learn(self, config: Config, metrics: Mapping[str, float]) -> None:
        """What the job found; the first word counts."""
        self._owners.pop(config.digest, None)
        self._known.setdefault(config.digest, MappingProxyType(dict(metrics)))

    def veto(self, config: Config, reason: str) -> None:
        """The config is not to be trained, now or later."""
        self._vetoed.setdefault(config.digest, reason)

    def metrics(self, config: Config) -> Mapping[str, float]:
        """The exact metrics of a config; empty before it was described."""
        return self._known.get(config.digest, NOTHING) if self._known else NOTHING

    def refusal(self, config: Config) -> str | None:
        """Why the config was vetoed, or None."""
        return self._vetoed.get(config.digest) if self._vetoed else None
