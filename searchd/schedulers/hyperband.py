"""Synchronous Hyperband: successive halving in the brackets of the paper's table, one after the other.

A rung is complete when all its trials finished or failed; then the best go up until the next rung holds its
quota floor(n / eta^i). When the barrier of a rung would idle a worker, the next bracket starts meanwhile. One
iteration of the table without `max_trials`; with it, iterations repeat until that many trials have started. A
bracket that the limit cuts short promotes by the number it has, and at least one a rung, so that it reaches R.
A diverged or failed trial never goes up, even if the next rung then holds fewer than its quota.

Deepening is Iterative Deepening Hyperband in its efficient form: every bracket gets one more rung on top and
more configs below, who was promoted stays promoted, and the free places go to the best of the rest.

A user's config takes the next place in a bracket; when no bracket has one left, it runs straight to R in a
bracket of its own.

Sources: Li et al. (2018), JMLR, algorithm 1; Brandt, Wever, Bengs, Hüllermeier (2023), e-IDHB.
"""

from __future__ import annotations

from dataclasses import dataclass, field
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
from searchd.schedulers.roster import Roster
from searchd.schedulers.rungs import BracketPlan, Rounding, bracket_table, deepened
from searchd.schedulers.standings import Standings


@dataclass(slots=True)
class _Rung:
    """`entered`: trials sent towards it; `decided`: those of them that finished, failed or were stopped."""

    standings: Standings
    entered: int = 0
    decided: int = 0


@dataclass(slots=True)
class _Bracket:
    """`index` in the table, -1 for a user's config that runs alone; `size`: trials planned."""

    index: int
    size: int
    rungs: list[_Rung] = field(default_factory=list)

    def deepen(self, plan: BracketPlan) -> None:
        self.size = plan.trials
        self.rungs += [_Rung(Standings(step)) for step in plan.steps[len(self.rungs) :]]


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
    ) -> None:
        self._r, self._R, self._eta = r, R, eta
        self._rounding: Rounding = rounding
        table = bracket_table(r, R, eta, rounding)
        if brackets is not None and not 1 <= brackets <= len(table):
            raise ValueError(f"brackets needs to be 1 to {len(table)}, as many as the table has, but is {brackets}")
        self._count = brackets
        self._table = table[:brackets]
        self._roster = Roster(max_trials)
        self._next: Answer | None = None  # what `peek` found, while nothing happens
        self._brackets: list[_Bracket] = []
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
                self._brackets[number].rungs[0].entered += 1
            case Resume(trial, since, until):
                rungs = self._brackets[self._roster.seats[trial].bracket].rungs
                i = next(i for i, rung in enumerate(rungs) if rung.standings.step == since)
                rungs[i].standings.take(trial)
                rungs[i + 1].entered += 1
                self._roster.resume(trial, until)
        return answer

    def tell(self, event: Event) -> tuple[Stop, ...]:
        self._next = None
        roster = self._roster
        match event:
            case Reported(trial, step, points):
                if roster.is_running(trial) and step == roster.seats[trial].until:
                    self._rung(trial, step).standings.enter(trial, points)
            case Finished(trial, step):
                if roster.finish(trial, step):
                    rung = self._rung(trial, step)
                    rung.decided += 1
                    rung.standings.enter(trial, ())  # no report at its rung counts as diverged
                    rung.standings.offer(trial)
                    self._settle()
            case Lost():
                roster.lost += 1
            case Failed(trial) | Stopped(trial):
                seat = roster.dismiss(trial)
                if seat:
                    rung = self._rung(trial, seat.until)
                    rung.decided += seat.state == "running"
                    rung.standings.enter(trial, ())
                    rung.standings.sink(trial)
                    self._settle()
            case Injected(trial):
                roster.inject(trial)
            case Extended(limit):
                roster.limit = limit
                self._active = list(range(len(self._brackets)))
            case Deepened(R):
                self._deepen(R)
            case _:
                assert_never(event)
        return ()

    def is_rung(self, trial: TrialId, step: int) -> bool:
        if not 0 <= trial < self._roster.next:
            return False
        bracket = self._brackets[self._roster.seats[trial].bracket]
        return any(rung.standings.step == step for rung in bracket.rungs)

    def ladders(self) -> tuple[tuple[int, ...], ...]:
        return tuple(plan.steps for plan in self._table)

    # ------------------------------------------------------------ halving
    def _quota(self, bracket: _Bracket, i: int) -> int:
        """How many trials rung i holds: of the planned size, or of what the limit left."""
        size = bracket.size if self._roster.room else min(bracket.size, bracket.rungs[0].entered)
        return max(1, size // self._eta**i) if size else 0

    def _promotion(self, bracket: _Bracket) -> Resume | None:
        for i, (rung, above) in enumerate(zip(bracket.rungs, bracket.rungs[1:], strict=False)):
            if rung.decided < rung.entered or (i == 0 and rung.entered < self._quota(bracket, 0)):
                return None
            best = rung.standings.best()
            if best and above.entered < self._quota(bracket, i + 1):
                trial, rank = best
                step, until = rung.standings.step, above.standings.step
                index = bracket.index % len(self._table)
                reason = f"promoted: rank {rank + 1} of {len(rung.standings)} at rung {step} of bracket {index}"
                return Resume(trial, step, until, reason, index)
        return None

    def _settle(self) -> None:
        """Forgets the brackets, from the oldest on, that can answer nothing more."""
        while self._active and self._is_over(self._brackets[self._active[0]]):
            self._active.pop(0)

    def _is_over(self, bracket: _Bracket) -> bool:
        first = bracket.rungs[0]
        waits = any(rung.decided < rung.entered for rung in bracket.rungs)
        return first.entered == bracket.size and not waits and self._promotion(bracket) is None

    # ------------------------------------------------------------ places
    def _place(self) -> tuple[int | None, int] | None:
        """Where the next trial goes: bracket number (None: still to be opened) and its index in the table."""
        for number in self._active:
            bracket = self._brackets[number]
            if bracket.rungs[0].entered < bracket.size:
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
            plan, bracket = BracketPlan(0, ((1, self._R),)), _Bracket(-1, 1)
        else:
            if not self._todo:
                self._todo = list(range(len(self._table)))
                self._iterations += 1
            index = self._todo.pop(0)
            plan, bracket = self._table[index], _Bracket(index, self._table[index].trials)
        bracket.deepen(plan)
        self._brackets.append(bracket)
        self._active.append(len(self._brackets) - 1)
        return len(self._brackets) - 1

    def _rung(self, trial: TrialId, step: int) -> _Rung:
        bracket = self._brackets[self._roster.seats[trial].bracket]
        return next(rung for rung in bracket.rungs if rung.standings.step == step)

    def _deepen(self, R: int) -> None:
        added = deepened(self._R, R, self._eta)
        if not added:
            return
        before = len(self._table)
        self._R = R
        self._table = bracket_table(self._r, R, self._eta, self._rounding)[: self._count]
        for bracket in self._brackets:
            if bracket.index >= 0:
                bracket.deepen(self._table[bracket.index])
            else:
                bracket.rungs += [_Rung(Standings(step)) for step in added]
        self._todo += list(range(before, len(self._table))) * self._iterations
        self._active = list(range(len(self._brackets)))
