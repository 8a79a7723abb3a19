"""First in, first out: every trial runs straight to R. With a GP this is plain Bayesian optimisation."""

from __future__ import annotations

from typing import assert_never

from searchd.schedulers.events import (
    Answer,
    Deepened,
    Event,
    Extended,
    Failed,
    Finished,
    Injected,
    Lost,
    Reported,
    Resume,
    Start,
    Stop,
    Stopped,
    TrialId,
)
from searchd.schedulers.order import DIVERGED, standing
from searchd.schedulers.roster import Roster
from searchd.schedulers.rungs import check_ladder, deepened


class Fifo:
    """One rung, at R. After a deepening the trials that did not diverge go on to the new R, by their ids."""

    def __init__(self, R: int, *, eta: int = 3, max_trials: int | None = None) -> None:
        check_ladder(1, R, eta)
        self._R = R
        self._eta = eta
        self._roster = Roster(max_trials)
        self._behind: list[TrialId] = []  # finished at an older R
        self._able: set[TrialId] = set()  # reported something finite at its R
        self._deepened = False

    def peek(self) -> Answer:
        """What `ask` would answer; changes nothing."""
        roster = self._roster
        if self._behind and not roster.injected:
            trial = self._behind[0]
            return Resume(trial, roster.seats[trial].since, self._R, f"R was raised to {self._R}")
        if roster.may_start:
            return Start(roster.next, self._R, "injected" if roster.injected else f"a new trial, straight to {self._R}")
        return roster.idle()

    def ask(self) -> Answer:
        answer = self.peek()
        if isinstance(answer, Start):
            self._roster.start(answer.bracket, answer.until)
        elif isinstance(answer, Resume):
            self._roster.resume(answer.trial, answer.until)
            self._behind.remove(answer.trial)
        return answer

    def tell(self, event: Event) -> tuple[Stop, ...]:
        roster = self._roster
        match event:
            case Reported():
                trial = event.trial
                there = roster.is_running(trial) and event.step == roster.seats[trial].until
                if there and standing(event.points)[0] < DIVERGED:
                    self._able.add(trial)
            case Lost():
                roster.lost += 1
            case Finished():
                if roster.finish(event.trial, event.step):
                    self._look_behind()
            case Failed(trial) | Stopped(trial):
                if roster.dismiss(trial):
                    self._look_behind()
            case Injected(trial):
                roster.inject(trial)
            case Extended(limit):
                roster.limit = limit
            case Deepened(R):
                self._deepened = self._deepened or bool(deepened(self._R, R, self._eta))
                self._R = R
                self._look_behind()
            case _:
                assert_never(event)
        return ()

    def is_rung(self, trial: TrialId, step: int) -> bool:
        return 0 <= trial < self._roster.next and step in (self._R, self._roster.seats[trial].until)

    def _look_behind(self) -> None:
        if self._deepened:
            seats = [(trial, self._roster.seats[trial]) for trial in sorted(self._able)]
            self._behind = [trial for trial, seat in seats if seat.state == "paused" and seat.since < self._R]

    def ladders(self) -> tuple[tuple[int, ...], ...]:
        return ((self._R,),)
