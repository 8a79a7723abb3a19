"""ASHA by promotion (pause and resume), and asynchronous Hyperband: ASHA over several brackets.

A free worker takes the best promotable trial from the highest rung, and starts a new one only when nothing
is promotable. From a rung with n entries the best floor(n / eta) may leave upwards.

`promotion="delayed"`: only while fewer than floor(n / eta) have left already, so that no rung exceeds its
synchronous quota because of early winners that were overtaken.

Brackets: bracket s starts its trials at the ladder's rung s; a new trial's bracket comes from a fixed round by
the weights of ALGORITHMS 2.3. `layout="shared"` (default): one ladder for all, where a trial of bracket s
enters from rung s up and is compared with everybody who reached the same step. `layout="bracket"`: one ladder
a bracket, each compared among its own.

Sources: Li, Jamieson, Rostamizadeh, Gonina, Ben-Tzur, Hardt, Recht, Talwalkar (2020), MLSys, algorithm 2;
delayed promotion as in Hyper-Tune (Li et al., 2022, VLDB).
"""

from __future__ import annotations

from typing import Literal, assert_never

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
from searchd.schedulers.rungs import Round, bracket_weights, deepened, ladder
from searchd.schedulers.standings import Standings

Promotion = Literal["asha", "delayed"]
Layout = Literal["shared", "bracket"]


class Asha:
    """`brackets`: how many, 1 is plain ASHA; None: one for each rung of the ladder (asynchronous Hyperband)."""

    def __init__(
        self,
        r: int,
        R: int,
        eta: int = 3,
        *,
        max_trials: int | None = None,
        brackets: int | None = 1,
        promotion: Promotion = "asha",
        layout: Layout = "shared",
        order: Order = "eps-net",
    ) -> None:
        self._steps = ladder(r, R, eta)
        if brackets is not None and not 1 <= brackets <= len(self._steps):
            rungs = ", ".join(map(str, self._steps))
            raise ValueError(
                f"brackets needs to be 1 to {len(self._steps)}, one a rung ({rungs}), but is {brackets}"
            )
        self._eta = eta
        self._roster = Roster(max_trials)
        self._next: Answer | None = None  # what `peek` found, while nothing happens
        self._brackets = brackets
        self._delayed = promotion == "delayed"
        self._shared = layout == "shared"
        self._order: Order = order
        self._round = Round(bracket_weights(self._steps, brackets))
        self._rungs: dict[tuple[int, int], Standings] = {}
        self._open_rungs()

    def peek(self) -> Answer:
        """What `ask` would answer; changes nothing."""
        if self._next is None:
            self._next = self._look()
        return self._next

    def _look(self) -> Answer:
        roster = self._roster
        if roster.injected:
            return self._new("injected")
        for rung, above in self._scan:
            if rung.settled:
                continue
            quota = len(rung) // self._eta
            best = rung.best(quota) if quota and not (self._delayed and len(rung.taken) >= quota) else None
            rung.settled = best is None
            if best:
                trial, rank = best
                reason = f"promoted: rank {rank + 1} of {len(rung)} at rung {rung.step}"
                return Resume(trial, rung.step, above, reason, roster.seats[trial].bracket)
        return self._new("nothing to promote") if roster.room else roster.idle()

    def ask(self) -> Answer:
        answer = self.peek()
        self._next = None
        match answer:
            case Start():
                self._round.take()
                self._roster.start(answer.bracket, answer.until)
            case Resume():
                self._rung(answer.trial, answer.since).take(answer.trial)
                self._roster.resume(answer.trial, answer.until)
        return answer

    def tell(self, event: Event) -> tuple[Stop, ...]:
        self._next = None
        roster = self._roster
        match event:
            case Reported():
                trial, step = event.trial, event.step
                if roster.is_running(trial) and step == roster.seats[trial].until:
                    self._rung(trial, step).enter(trial, event.points)
            case Finished():
                trial, step = event.trial, event.step
                if roster.finish(trial, step):
                    rung = self._rung(trial, step)
                    if trial not in rung:
                        rung.enter(trial, ())  # no report at its rung counts as diverged
                    rung.offer(trial)
            case Lost():
                roster.lost += 1
            case Failed(trial):
                seat = roster.dismiss(trial)
                if seat:
                    rung = self._rung(trial, seat.until)
                    rung.enter(trial, ())  # a running one is due there, a paused one is in already
                    rung.sink(trial)
            case Stopped(trial):
                seat = roster.dismiss(trial)
                if seat:
                    self._rung(trial, seat.until).sink(trial)
            case Injected(trial):
                roster.inject(trial)
            case Extended(limit):
                roster.limit = limit
            case Deepened(R):
                self._deepen(R)
            case _:
                assert_never(event)
        return ()

    def is_rung(self, trial: TrialId, step: int) -> bool:
        seats = self._roster.seats
        return 0 <= trial < len(seats) and (0 if self._shared else seats[trial].bracket, step) in self._rungs

    def ladders(self) -> tuple[tuple[int, ...], ...]:
        return self._ladders

    def _count(self) -> int:
        return len(self._steps) if self._brackets is None else self._brackets

    def _rung(self, trial: TrialId, step: int) -> Standings:
        return self._rungs[0 if self._shared else self._roster.seats[trial].bracket, step]

    def _new(self, why: str) -> Start:
        bracket = self._round.next()
        return Start(self._roster.next, self._steps[bracket], why, bracket)

    def _open_rungs(self) -> None:
        systems = range(1) if self._shared else range(self._count())
        for system in systems:
            for step in self._steps[system:]:
                self._rungs.setdefault((system, step), Standings(step, self._order))
        above = dict(zip(self._steps, self._steps[1:], strict=False))
        highest_first = sorted(self._rungs, key=lambda key: (-key[1], key[0]))
        self._scan = [(self._rungs[key], above[key[1]]) for key in highest_first if key[1] in above]
        self._ladders = tuple(self._steps[s:] for s in range(self._count()))

    def _deepen(self, R: int) -> None:
        self._steps += deepened(self._steps[-1], R, self._eta)
        self._round.reweigh(bracket_weights(self._steps, self._brackets))
        self._open_rungs()
