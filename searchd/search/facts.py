"""What a log says of the world and not of decisions: which configs there are, what they reported, how they ended.

Another rule may decide otherwise, but these stay true; `searchd.search.recalling` begins a search with them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from searchd.schedulers.events import TrialId
from searchd.search.events import (
    Deepened,
    Described,
    Event,
    Extended,
    Failed,
    Finished,
    Measured,
    Reported,
    Repredicted,
    Stop,
    Stopped,
    Vetoed,
)
from spaces.config import Config

Points = tuple[Mapping[str, Any], ...]


@dataclass(slots=True)
class TrialFacts:
    """One trial. `reports`: metrics and points by step; `finished`: the step of its last finished job; `over`: it
    failed, was vetoed, or the user stopped it; `given_up`: why the scheduler of then stopped it (another may not);
    `morphed`: whose weights, of which step, it began or is to begin with."""

    config: Config
    reports: dict[int, tuple[Mapping[str, Any], Points]] = field(default_factory=dict)
    finished: int = 0
    over: Literal["", "failed", "stopped", "vetoed"] = ""
    reason: str = ""
    given_up: str = ""
    morphed: tuple[TrialId, int] | None = None


@dataclass(slots=True)
class Facts:
    """`order`: (trial, step) as they came to be known, step 0 where the trial came into being."""

    trials: dict[TrialId, TrialFacts] = field(default_factory=dict)
    order: list[tuple[TrialId, int]] = field(default_factory=list)
    measured: dict[str, Measured] = field(default_factory=dict)
    described: dict[TrialId, Mapping[str, float]] = field(default_factory=dict)
    limit: Extended | None = None
    deepened: Deepened | None = None
    repredicted: Repredicted | None = None
    _measuring: dict[str, TrialId] = field(default_factory=dict)

    def came(self, trial: TrialId, config: Config, morphed: tuple[TrialId, int] | None = None) -> None:
        """A trial came into being."""
        self.trials[trial] = TrialFacts(config, morphed=morphed)
        self.order.append((trial, 0))

    def measures(self, trial: TrialId, signature: str) -> None:
        """A job of this trial measures a signature."""
        self._measuring[signature] = trial

    def happened(self, event: Event, stops: Iterable[Stop] = ()) -> None:
        """An event that the search was told, and whom it gave up on."""
        match event:
            case Reported(trial, step, metrics, points):
                self.reported(trial, step, metrics, points)
            case Finished(trial, step, metrics, points):
                if metrics is not None:
                    self.reported(trial, step, metrics, points)
                if trial in self.trials:
                    self.trials[trial].finished = max(self.trials[trial].finished, step)
            case Failed(trial, reason):
                self._over(trial, "failed", reason)
            case Vetoed(trial, reason):
                self._over(trial, "vetoed", reason)
            case Stopped(trial, "user"):
                self._over(trial, "stopped", "stopped by the user")
            case Measured():
                self._measured(event)
            case Described(trial, metrics):
                self.described.setdefault(trial, metrics)
            case Extended():
                self.limit = event
            case Deepened():
                self.deepened = event
            case Repredicted():
                self.repredicted = event
            case _:  # nothing that stays: the trial of an injected config came into being with it
                pass
        for stop in stops:
            if stop.trial in self.trials:
                self.trials[stop.trial].given_up = stop.reason

    def reported(self, trial: TrialId, step: int, metrics: Mapping[str, Any], points: Points) -> None:
        """A report; the first one of a step counts."""
        if trial in self.trials and step not in self.trials[trial].reports:
            self.trials[trial].reports[step] = (metrics, points)
            self.order.append((trial, step))

    def _measured(self, event: Measured) -> None:
        known = self.measured.get(event.signature)
        if known is None or known.error is not None:
            self.measured[event.signature] = event
        owner = self._measuring.pop(event.signature, None)
        if owner is not None and event.error is not None:
            self._over(owner, "failed", f"its latency could not be measured: {event.error}")

    def _over(self, trial: TrialId, how: Literal["failed", "stopped", "vetoed"], reason: str) -> None:
        known = self.trials.get(trial)
        if known is not None and not known.over:
            known.over, known.reason = how, reason
