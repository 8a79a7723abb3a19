"""`World`: what training would have been. Anyone can write one:

    class Mine:
        def train(self, trial, config, since, until):
            for step in range(since + 1, until + 1):
                yield Step(step, 2.0, {"loss": (config["x"] - 0.3) ** 2 + 1 / step})

A world is asked for one job at a time, from the step of a trial's checkpoint to the job's end. It is read lazily: a
job that is stopped is read no further. Equal arguments must give equal steps, whatever else was asked before, or two
runs of one seed differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

from searchd.schedulers.events import TrialId
from searchd.search.events import Described, Measured, Vetoed
from spaces.config import Config


class Step(NamedTuple):
    """One step of training and what it reports. A tuple, since millions are made.

    `seconds`: how long this step alone takes. `metrics`: by name, in the user's own sense; `points`: the operating
    points, each merged over them. `known`: False for a guess where the world had no answer (a curve gone on with).
    """

    step: int
    seconds: float
    metrics: Mapping[str, Any]
    points: tuple[Mapping[str, Any], ...] = ()
    known: bool = True


class TrialFailed(Exception):  # the field's word, and it ends a trial, not a program
    """Training would fail here, `seconds` after the step before; `reason` is what the trial's end says."""

    def __init__(self, reason: str, seconds: float = 0.0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.seconds = seconds


class World(Protocol):
    """What training a config would bring, step by step."""

    def train(self, trial: TrialId, config: Config, since: int, until: int) -> Iterable[Step]:
        """The steps since + 1, …, until in order; raises TrialFailed where the training would fail."""
        ...


@runtime_checkable
class MeasuringWorld(World, Protocol):
    """A world with a device: what a study that asks for `latency_ms` of the built-in task needs."""

    def measure(self, signature: str, config: Config) -> tuple[float, Measured]:
        """How many seconds the measurement takes, and what it finds."""
        ...


@runtime_checkable
class DescribingWorld(World, Protocol):
    """A world that answers the describe jobs of a study whose task has a `describe`. In any other world there are no
    such jobs: it says every metric with its steps."""

    def describe(self, trial: TrialId, config: Config) -> tuple[float, Described | Vetoed]:
        """How many seconds the description takes, and what it says."""
        ...
