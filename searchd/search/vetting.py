"""What is known of configs before they are trained, and which of them must not start.

The built-in task by arithmetic (`spaces.describe`) and by measure jobs, a user's own by describe jobs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from searchd.errors import SpaceError
from searchd.search.descriptions import NOTHING, Descriptions
from searchd.search.events import Measured
from searchd.search.measurements import Measurements
from searchd.search.points import broken_bound
from searchd.search.predictions import LATENCY, Predictions
from spaces.config import Config
from spaces.describe import Description, describe, unfit_weights
from spaces.study import Study

Figures = tuple[Mapping[str, float], Measured | None]
UNKNOWN: Figures = (NOTHING, None)


class Vetting:
    """`measurements` and `descriptions`: what jobs have found so far. `looks`: a job may come before any training."""

    __slots__ = ("_built_in", "_study", "descriptions", "looks", "measurements", "predictions")

    def __init__(self, study: Study) -> None:
        self._study = study
        self.predictions = Predictions(study)
        self.measurements = Measurements(study, predicted=self.predictions.wanted)
        self.descriptions = Descriptions(study)
        self.looks = self.measurements.wanted or self.descriptions.wanted
        self._built_in = study.task.built_in is not None

    def figures(self, signature: str | None, config: Config) -> Figures:
        """What is known of a config besides what it reports: its exact metrics, and what its network costs."""
        if self._built_in or self.looks or self.predictions.wanted:
            return self.exact(config), self.costs(signature, config)
        return UNKNOWN

    def describe(self, config: Config) -> Description | None:
        """The figures of a config of the built-in task; None for another. SpaceError when it cannot be built."""
        return describe(self._study.task, self._study.space, config) if self._built_in else None

    def foretell(self, config: Config) -> Description | None:
        """`describe` with `latency_ms` of the whole network where it is predicted: what a searcher may know."""
        found = self.describe(config)
        if found is None or (costs := self.predictions.get(config)) is None or not costs.cumulative_ms:
            return found
        return replace(found, metrics={**found.metrics, LATENCY: costs.cumulative_ms[-1]})

    def costs(self, signature: str | None, config: Config) -> Measured | None:
        """What the config's network costs up to each exit: predicted, or measured by its signature; None: unknown."""
        return self.predictions.get(config) if self.predictions.wanted else self.measurements.get(signature)

    def signature(self, config: Config) -> str | None:
        """What the latency of a config is measured by; None where nothing is measured."""
        description = self.describe(config) if self.measurements.wanted else None
        return None if description is None else self._told(description)

    def _told(self, description: Description) -> str:
        return (self._study.low_bit and description.low_bit) or description.signature

    def exact(self, config: Config) -> Mapping[str, float]:
        """The metrics of a config that no training changes: by arithmetic, or by a describe job that has ended."""
        description = self.describe(config) if self._built_in else None
        return self.descriptions.metrics(config) if description is None else description.metrics

    def refusal(self, config: Config) -> str | None:
        """Why a config must not start, or None."""
        if (why := self.descriptions.refusal(config)) is not None:
            return f"it was vetoed: {why}"
        try:
            if (description := self.describe(config)) is None:
                return None
        except SpaceError as error:
            return str(error)
        unmeasured = self.measurements.refusal(self._told(description) if self.measurements.wanted else None)
        broken = unmeasured or broken_bound(self._study.objectives, description.bounded)
        if broken is not None or not self.predictions.wanted:
            return broken
        try:
            return self.predictions.refusal(config)
        except SpaceError as error:
            return str(error)

    def unfit(self, before: Config, after: Config) -> str | None:
        """Why weights of `before` cannot be morphed to `after`; None when they can, or only the task knows."""
        return unfit_weights(self._study.task, self._study.space, before, after)
