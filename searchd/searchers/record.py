"""One trial as a searcher knows it, and the order in which things became known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from types import MappingProxyType
from typing import Literal

from searchd.schedulers.events import Losses, TrialId
from searchd.values import changer, value
from spaces.config import Config

State = Literal["waiting", "running", "paused", "done", "stopped", "failed", "vetoed"]
OVER: frozenset[State] = frozenset({"failed", "stopped", "vetoed"})
"""States that a trial never leaves."""
NO_LOSSES: Mapping[int, tuple[Losses, ...]] = MappingProxyType({})
NO_TALLIES: Mapping[int, int] = MappingProxyType({})


@value
class Record:
    """One trial as far as it got.

    `state`: `waiting` for its first training job (brought by the user, or being measured or described), `running`,
    `paused` at a rung, `done` at the top of its ladder, `stopped`, `failed`, `vetoed` before any training. `step`:
    where its last job finished. `until`: where its last job goes or went. `losses`: what each rung step brought, one
    entry an operating point. `signature`: what its latency is measured by, None where nothing is measured.

    The order in which things became known is kept by a tally, from 0: every report that entered a rung has the next
    number, and so has every failure of a trial on its way to a rung. `heard`: rung step → number of the report
    there, or of the failure on the way there. `born`: how many numbers were given when the trial was started, -1
    before. So what trial `t` could know of trial `o` at a step is there exactly if `o.heard[step] < t.born`,
    whatever came later: a model may be held over several suggestions and still be recomputed after a restart.
    `parent`: the trial whose weights, of step `step` then, this one began with. `morph`: it began at step 0 with the
    parent's weights of this step, morphed to its own config; None: they are the parent's as they were. `pace`: seconds
    that a step of its training took, in the mean up to its last report at a rung; None where nobody counts them.
    A record made by hand without tallies counts as known from the start.
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
    born: int = 0
    heard: Mapping[int, int] = field(default_factory=lambda: NO_TALLIES)
    parent: TrialId | None = None
    morph: int | None = None
    pace: float | None = None

    @property
    def holds(self) -> bool:
        """Whether it has a durable checkpoint, of step `step`, to give: the end of its last job."""
        return self.step > 0 and self.state not in ("failed", "vetoed")

    @property
    def pending(self) -> int | None:
        """The rung step that is still to come of this trial's job; None when it runs none."""
        due = self.state in ("waiting", "running") and self.until not in self.losses
        return self.until if due and self.until else None

    @property
    def fell(self) -> int | None:
        """The rung step that the trial failed on its way to, or was vetoed; None when it was not, or failed at rest.

        A report is not taken back: a trial that failed after it reported at its `until` keeps its losses there.
        """
        due = self.state in ("failed", "vetoed") and self.until > self.step and self.until not in self.losses
        return self.until if due else None


changed = changer(Record)
"""The record with other values of the fields in a dict: a search changes two records a job."""
