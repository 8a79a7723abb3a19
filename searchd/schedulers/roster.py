"""The account of trials that every scheduler keeps: who runs, who is paused where, who is out, who may start.

A trial's life here:  running ── finished ──► paused ── resumed ──► running;  running or paused ── failed or
stopped ──► out, for ever. A lost job changes nothing: the engine runs the same job again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from searchd.schedulers.events import Exhausted, TrialId, Wait


@dataclass(slots=True)
class Seat:
    """One trial: its bracket, the step of its checkpoint (`since`), where its job goes (`until`)."""

    bracket: int
    since: int
    until: int
    state: Literal["running", "paused", "out"] = "running"


class Roster:
    """Seats by trial id (they count up from 0), the limit on starts, and the ids that users' configs wait for."""

    __slots__ = ("injected", "limit", "lost", "running", "seats")

    def __init__(self, limit: int | None) -> None:
        if limit is not None and limit < 0:
            raise ValueError(f"max_trials needs to be 0 or more, or None for no limit, but is {limit}")
        self.limit = limit
        self.seats: list[Seat] = []
        self.injected = 0
        self.running = 0
        self.lost = 0

    @property
    def next(self) -> TrialId:
        """The id of the next new trial."""
        return len(self.seats)

    @property
    def room(self) -> bool:
        """Whether the limit allows one more trial. A user's config counts, but is never refused."""
        return self.limit is None or len(self.seats) < self.limit

    @property
    def may_start(self) -> bool:
        return self.injected > 0 or self.room

    def idle(self) -> Wait | Exhausted:
        """The answer when nothing can start or go on."""
        return Wait() if self.running else Exhausted()

    def is_running(self, trial: TrialId) -> bool:
        return 0 <= trial < len(self.seats) and self.seats[trial].state == "running"

    def start(self, bracket: int, until: int) -> TrialId:
        """Seats the next trial."""
        self.injected = max(0, self.injected - 1)
        self.seats.append(Seat(bracket, 0, until))
        self.running += 1
        return len(self.seats) - 1

    def resume(self, trial: TrialId, until: int) -> None:
        seat = self.seats[trial]
        seat.state, seat.until = "running", until
        self.running += 1

    def finish(self, trial: TrialId, step: int) -> bool:
        """Pauses a running trial that reached its `until`; False when it did not, or does not run."""
        if not self.is_running(trial) or self.seats[trial].until != step:
            return False
        seat = self.seats[trial]
        seat.state, seat.since = "paused", step
        self.running -= 1
        return True

    def dismiss(self, trial: TrialId) -> Seat | None:
        """Puts a trial out for good; its seat as it was, None when it is unknown or out already."""
        if not 0 <= trial < len(self.seats) or self.seats[trial].state == "out":
            return None
        seat = self.seats[trial]
        before = Seat(seat.bracket, seat.since, seat.until, seat.state)
        if seat.state == "running":
            self.running -= 1
        seat.state = "out"
        return before

    def inject(self, trial: TrialId) -> None:
        """Reserves the next free id for a user's config; an id that is used or reserved already changes nothing."""
        free = self.next + self.injected
        if trial > free:
            raise ValueError(f"this is a bug: Injected({trial}), but the next free trial id is {free}")
        self.injected += trial == free
