"""What a scheduler hears and what it answers (DESIGN 3). Values only: no clock, no I/O, no randomness.

A scheduler never sees a config. Losses arrive signed (lower is better), always as a tuple, NaN for a
diverged trial; a trial with several operating points brings one `Losses` a point and is ranked by its best.
"""

from __future__ import annotations

from typing import Protocol

from searchd.values import value

TrialId = int


@value
class Losses:
    """One operating point: `values` one a objective, lower is better; `violation` 0.0 when feasible, else > 0."""

    values: tuple[float, ...]
    violation: float = 0.0


# ---------------------------------------------------------------- events in
@value
class Reported:
    """A running job passed the rung step `step`; `points` has at least one entry."""

    trial: TrialId
    step: int
    points: tuple[Losses, ...]


@value
class Finished:
    """A job reached its `until` and its checkpoint is durable: the trial can be resumed."""

    trial: TrialId
    step: int


@value
class Lost:
    """The lease of the running job ran out. The engine runs the same job again; this is for the account only."""

    trial: TrialId


@value
class Failed:
    """The trial's own fault (exception, out of memory, vetoed): it never runs again and ranks last where it was due."""

    trial: TrialId


@value
class Stopped:
    """A running or paused trial was stopped for good, by the scheduler's own `Stop` or by the user."""

    trial: TrialId
    by: str = "user"


@value
class Injected:
    """The user brought a config: `trial` (the next free id) is answered by a `Start` before any new trial."""

    trial: TrialId


@value
class Deepened:
    """The user raised the maximum resource to `R` (= R · eta^k)."""

    R: int


@value
class Extended:
    """The user changed the number of trials that may be started; None: no limit."""

    max_trials: int | None


Event = Reported | Finished | Lost | Failed | Stopped | Injected | Deepened | Extended


# ---------------------------------------------------------------- answers out
@value
class Start:
    """A new trial, from step 0 to `until`. Answered once a trial; ids count up from 0 without gaps.

    With a `parent` it takes over that trial's checkpoint at step `since` and trains on from there.
    """

    trial: TrialId
    until: int
    reason: str = ""
    bracket: int = 0
    parent: TrialId | None = None
    since: int = 0


@value
class Resume:
    """A paused trial goes on from its checkpoint at `since` to `until`."""

    trial: TrialId
    since: int
    until: int
    reason: str = ""
    bracket: int = 0


@value
class Wait:
    """Nothing now; something may come once a running job reports or ends."""


@value
class Exhausted:
    """Nothing ever again, unless the search is deepened, extended or given a config."""


@value
class Stop:
    """Give up on a running trial (answered by `tell` only)."""

    trial: TrialId
    reason: str = ""


Answer = Start | Resume | Wait | Exhausted


class Scheduler(Protocol):
    """Which trial runs next, and how far. Its state is a function of the calls made to it.

    `ask` that answers `Wait` or `Exhausted` changes nothing. Every event about an unknown, ended or
    stopped trial (a late `Finished`, a second `Reported` at one step) is accepted and changes nothing.
    """

    def peek(self) -> Answer:
        """What `ask` would answer now; changes nothing. So a caller may look before it commits to a `Start`."""
        ...

    def ask(self) -> Answer: ...

    def tell(self, event: Event) -> tuple[Stop, ...]: ...

    def is_rung(self, trial: TrialId, step: int) -> bool:
        """True when a report of `trial` at `step` takes part in a decision."""
        ...

    def ladders(self) -> tuple[tuple[int, ...], ...]:
        """The rung steps of each bracket, lowest first; for people and for the searcher."""
        ...
