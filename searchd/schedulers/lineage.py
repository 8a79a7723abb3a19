"""The trials of a reproduction, one after the other, each straight to its step; only the last one is judged.

A trial may begin with the weights of the one before it, copied at the step where that one ended. When one fails, those
after it have nothing to begin with, and nothing more is started.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from searchd.schedulers.events import (
    Answer,
    Deepened,
    Event,
    Exhausted,
    Extended,
    Failed,
    Finished,
    Injected,
    Lost,
    Reported,
    Start,
    Stop,
    Stopped,
    TrialId,
    Wait,
)
from searchd.schedulers.roster import Roster

GIVEN = "a reproduction trains the trials that it was given: make a study of your own for others"


class Lineage:
    """`until`: where each trial ends; `copies`: whether it takes over the weights of the one before it."""

    def __init__(self, until: Sequence[int], copies: Sequence[bool]) -> None:
        if not until or len(until) != len(copies) or min(until) < 1 or copies[0]:
            raise ValueError(f"a lineage needs a step >= 1 for each trial, the first of which begins from nothing, but "
                             f"has {list(until)} and {list(copies)}")  # fmt: skip
        self._until, self._copies = tuple(until), tuple(copies)
        self._roster = Roster(len(until))

    def peek(self) -> Answer:
        """What `ask` would answer; changes nothing."""
        roster, trial = self._roster, self._roster.next
        if roster.running:
            return Wait()
        if trial == len(self._until) or any(seat.state == "out" for seat in roster.seats):
            return Exhausted()
        since = self._until[trial - 1] if self._copies[trial] else 0
        why = f"trained again to step {self._until[trial]}"
        if self._copies[trial]:
            return Start(trial, self._until[trial], f"from the weights of trial {trial - 1} at step {since}: {why}",
                         parent=trial - 1, since=since)  # fmt: skip
        return Start(trial, self._until[trial], why)

    def ask(self) -> Answer:
        answer = self.peek()
        if isinstance(answer, Start):
            self._roster.start(answer.bracket, answer.until)
        return answer

    def tell(self, event: Event) -> tuple[Stop, ...]:
        match event:
            case Finished():
                self._roster.finish(event.trial, event.step)
            case Failed(trial) | Stopped(trial):
                self._roster.dismiss(trial)
            case Lost():
                self._roster.lost += 1
            case Injected() | Deepened():
                raise ValueError(GIVEN)
            case Reported() | Extended():
                pass
            case _:
                assert_never(event)
        return ()

    def is_rung(self, trial: TrialId, step: int) -> bool:
        return trial == len(self._until) - 1 < self._roster.next and step == self._until[-1]

    def ladders(self) -> tuple[tuple[int, ...], ...]:
        return ((self._until[-1],),)
