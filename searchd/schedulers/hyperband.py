"""Synchronous Hyperband: successive halving in the brackets of the paper's table, one after the other.

A rung is complete when all its trials finished or failed; then the best go up until the next rung holds its
quota floor(n / eta^i). When the barrier of a rung would idle a worker, the next bracket starts meanwhile. One
iteration of the table without `max_trials`; with it, iterations repeat until that many trials have started. A
bracket that the limit cuts short promotes by the number it has, and at least one a rung, so that it reaches R.
A diverged or failed trial never goes up, even if the next rung then holds fewer than its quota.

Deepening is Iterative Deepening Hyperband (`deepening`): every bracket gets one more rung on top for each power of
eta and more configs below, and a new bracket starts at the new R.

A user's config takes the next place in a bracket; when no bracket has one left, it runs straight to R in a
bracket of its own.

Sources: Li et al. (2018), JMLR, algorithm 1; Brandt, Wever, Bengs, Hüllermeier (2023), IDHB.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import assert_never

from searchd.schedulers.deepening import Bracket, Deepening
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
from searchd.schedulers.orders import Order
from searchd.schedulers.roster import Roster
from searchd.schedulers.rungs import BracketPlan, Rounding, bracket_table, deepened


class Hyperband:
    """`brackets`: only the first so many of the table (the ones with the most and shortest trials)."""

    def __init__(
        self,
        r: int,
        R: int,
        eta: int = 3,
        *,
        max_trials: int | None = None,
        brackets: int | None = None,
        rounding: Rounding = "paper",
        deepening: Deepening = "efficient",
        order: Order = "eps-net",
    ) -> None:
        self._r, self._R, self._eta = r, R, eta
        self._deepening: Deepening = deepening
        self._order: Order = order
        self._rounding: Rounding = rounding
        table = bracket_table(r, R, eta, rounding)
        if brackets is not None and not 1 <= brackets <= len(table):
            raise ValueError(f"brackets needs to be 1 to {len(table)}, as many as the table has, but is {brackets}")
        self._count = brackets
        self._table = table[:brackets]
        self._ladders = tuple(plan.steps for plan in self._table)
        self._roster = Roster(max_trials)
        self._next: Answer | None = None  # what `peek` found, while nothing happens
        self._brackets: list[Bracket] = []
        self._active: list[int] = []  # brackets that may still answer something
        self._todo = list(range(len(self._table)))  # what this iteration has not opened yet
        self._iterations = 1

    def peek(self) -> Answer:
        """What `ask` would answer; changes nothing."""
        if self._next is None:
            self._next = self._look()
        return self._next

    def _look(self) -> Answer:
        roster = self._roster
        if not roster.injected:
            for number in self._active:
                answer = self._promotion(self._brackets[number])
                if answer:
                    return answer
        if roster.may_start:
            place = self._place()
            if place is not None:
                plan = self._table[place[1]]
                why = "injected" if roster.injected else f"one of {plan.trials} in bracket {place[1]}"
                return Start(roster.next, plan.steps[0], why, place[1])
            if roster.injected:
                return Start(roster.next, self._R, "injected, alone", len(self._table) - 1)
        return roster.idle()

    def ask(self) -> Answer:
        answer = self.peek()
        self._next = None
        match answer:
            case Start(_, until):
                number = self._open()
                self._roster.start(number, until)
                self._brackets[number].start(answer.trial)
                if not self._roster.room:
                    self._fill()
            case Resume(trial, since, until):
                bracket = self._bracket(trial)
                bracket.resume(trial, since)
                self._roster.resume(trial, until)
                bracket.place(self._quota(bracket), self._roster.is_running)
        return answer

    def tell(self, event: Event) -> tuple[Stop, ...]:
        self._next = None
        roster = self._roster
        match event:
            case Reported():
                trial, step = event.trial, event.step
                if roster.is_running(trial) and step == roster.seats[trial].until:
                    self._bracket(trial).report(trial, step, event.points)
            case Finished():
                trial, step = event.trial, event.step
                if roster.finish(trial, step):
                    self._bracket(trial).finish(trial, step)
                    self._settle(trial)
            case Lost():
                roster.lost += 1
            case Failed(trial) | Stopped(trial):
                seat = roster.dismiss(trial)
                if seat:
                    self._bracket(trial).dismiss(trial, seat)
                    self._settle(trial)
            case Injected(trial):
                roster.inject(trial)
            case Extended(limit):
                roster.limit = limit
                self._wake()
            case Deepened(R):
                self._deepen(R)
            case _:
                assert_never(event)
        return ()

    def is_rung(self, trial: TrialId, step: int) -> bool:
        return 0 <= trial < self._roster.next and step in self._bracket(trial).steps

    def ladders(self) -> tuple[tuple[int, ...], ...]:
        return self._ladders

    # ------------------------------------------------------------ halving
    def _quota(self, bracket: Bracket) -> Callable[[int], int]:
        """How many trials rung i holds: of the planned size, or of what the limit left."""
        size = bracket.size if self._roster.room else min(bracket.size, len(bracket.rungs[0].listed))
        return lambda i: max(1, size // self._eta**i) if size else 0

    def _promotion(self, bracket: Bracket) -> Resume | None:
        found = bracket.promotion(self._quota(bracket))
        if found is None:
            return None
        trial, rank, i = found
        standings, until = bracket.rungs[i].standings, bracket.rungs[i + 1].standings.step
        index = bracket.index % len(self._table)
        reason = f"promoted: rank {rank + 1} of {len(standings)} at rung {standings.step} of bracket {index}"
        return Resume(trial, standings.step, until, reason, index)

    def _bracket(self, trial: TrialId) -> Bracket:
        return self._brackets[self._roster.seats[trial].bracket]

    def _settle(self, trial: TrialId) -> None:
        """A job or a life ended: lists that need no job are filled, brackets that are over forgotten, oldest first."""
        bracket = self._bracket(trial)
        bracket.place(self._quota(bracket), self._roster.is_running)
        while self._active:
            first = self._brackets[self._active[0]]
            if not first.is_over(self._quota(first)):
                break
            self._active.pop(0)

    def _wake(self) -> None:
        """What was over may go on: the limit or R has changed."""
        self._active = list(range(len(self._brackets)))
        self._fill()

    def _fill(self) -> None:
        for bracket in self._brackets:
            bracket.place(self._quota(bracket), self._roster.is_running)

    # ------------------------------------------------------------ places
    def _place(self) -> tuple[int | None, int] | None:
        """Where the next trial goes: bracket number (None: still to be opened) and its index in the table."""
        for number in self._active:
            bracket = self._brackets[number]
            if len(bracket.rungs[0].listed) < bracket.size:
                return number, bracket.index
        if self._todo:
            return None, self._todo[0]
        return None if self._roster.limit is None or not self._roster.room else (None, 0)

    def _open(self) -> int:
        """The number of the bracket that takes the next trial, opened now if need be."""
        place = self._place()
        if place is not None and place[0] is not None:
            return place[0]
        if place is None:
            plan, bracket = BracketPlan(0, ((1, self._R),)), Bracket(-1, 1, self._deepening, self._order)
        else:
            if not self._todo:
                self._todo = list(range(len(self._table)))
                self._iterations += 1
            index = self._todo.pop(0)
            plan = self._table[index]
            bracket = Bracket(index, plan.trials, self._deepening, self._order)
        bracket.add_rungs(plan.steps)
        self._brackets.append(bracket)
        self._active.append(len(self._brackets) - 1)
        return len(self._brackets) - 1

    def _deepen(self, R: int) -> None:
        added = deepened(self._R, R, self._eta)
        if not added:
            return
        before = len(self._table)
        self._R = R
        self._table = bracket_table(self._r, R, self._eta, self._rounding)[: self._count]
        self._ladders = tuple(plan.steps for plan in self._table)
        for bracket in self._brackets:
            bracket.deepen(added, 1 if bracket.index < 0 else self._table[bracket.index].trials)
        self._todo += list(range(before, len(self._table))) * self._iterations
        self._wake()
