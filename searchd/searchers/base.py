"""The searcher's contract, and the history that is all a searcher may use (DESIGN 3)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, Protocol

import numpy as np
from numpy.random import Generator, Philox

from searchd.schedulers.events import Losses, TrialId
from spaces.config import Config
from spaces.describe import Description
from spaces.space import Space

State = Literal["waiting", "running", "paused", "done", "stopped", "failed"]
NO_LOSSES: Mapping[int, tuple[Losses, ...]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Record:
    """One trial as far as it got.

    `state`: `waiting` for its first training job (brought by the user, or being measured), `running`, `paused` at a
    rung, `done` at the top of its ladder, `stopped`, `failed`. `step`: where its last job finished. `until`: where
    its last job goes or went. `losses`: what each rung step brought, one entry an operating point.
    `signature`: what its latency is measured by, None where nothing is measured.
    """

    trial: TrialId
    config: Config
    state: State
    step: int = 0
    until: int = 0
    bracket: int = 0
    reason: str = ""
    signature: str | None = None
    losses: Mapping[int, tuple[Losses, ...]] = field(default_factory=lambda: NO_LOSSES)

    @property
    def pending(self) -> int | None:
        """The rung step that is still to come of this trial's job; None when it runs none."""
        due = self.state in ("waiting", "running") and self.until not in self.losses
        return self.until if due and self.until else None


def _no_description(_: Config) -> Description | None:
    return None


@dataclass(frozen=True, slots=True)
class History:
    """What a searcher may know. `records` by trial id; `objectives`: how many; `ladders`: the rungs of each bracket.

    `rejected`: what was suggested for this trial already and refused (it breaks a bound on an exact metric, or is
    there already).
    """

    space: Space
    records: tuple[Record, ...] = ()
    objectives: int = 1
    ladders: tuple[tuple[int, ...], ...] = ()
    rejected: tuple[Config, ...] = ()
    describer: Callable[[Config], Description | None] = _no_description

    def describe(self, configs: Iterable[Config]) -> list[Mapping[str, float] | None]:
        """The exact metrics of configs (params, macs, bytes, …) where the task is pure arithmetic; else None each."""
        found = [self.describer(config) for config in configs]
        return [None if d is None else d.metrics for d in found]

    def at(self, step: int) -> dict[TrialId, tuple[Losses, ...]]:
        """What each trial brought at a rung step. One that failed on its way there is in, without any point."""
        entries = {r.trial: r.losses[step] for r in self.records if step in r.losses}
        entries.update((r.trial, ()) for r in self.records if r.state == "failed" and r.until == step > r.step)
        return entries

    def steps(self) -> list[int]:
        """The rung steps that somebody reported at, lowest first."""
        return sorted({step for record in self.records for step in record.losses})


class Searcher(Protocol):
    """Which config a new trial gets. Stateless: a function of its arguments, whatever was asked before."""

    def suggest(self, trial: TrialId, history: History, rng: Generator) -> Config:
        """A config of `history.space` that honours its constraints; SpaceError when there seems to be none."""
        ...


def generator(seed: int, trial: TrialId) -> Generator:
    """The randomness of one trial's suggestion: the order of calls cannot change it."""
    return Generator(Philox(key=np.array([seed % 2**64, trial], dtype=np.uint64)))
