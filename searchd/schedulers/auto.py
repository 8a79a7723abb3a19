"""`auto`: how far a trial runs follows from what the losses so far say of its end. No grace period to choose.

Rungs are counted down from R: R, R / eta, …, so that even the lowest is as long as R allows. A trial that reports at
a rung goes on at once when
- it is one of the first few, which show what short runs are worth: four go to R / eta, four to R / eta²;
- or it is among the best max(1, n / eta) of the rung, as in ASHA;
- or the improvement that it promises at the top (see `extrapolator`) is worth its next leg: at least the best rate
  that the policy "start trials to this rung, go on with the best t" would have had with the last 30 trials there.
Else it pauses. So does one that came out exactly as another trial at every rung, once that has proved to mean that they
are alike (see `twins`): it goes on if the other one fails, is stopped or diverges. A free worker takes whoever goes on,
then the paused trial that promises most for its price, if that is worth more than a new trial, then a new one. When no
more trials may start, who is in ASHA's quota goes up.

With several objectives there is no one loss to extrapolate: the rung's order decides (calibration and ASHA's rule);
but where one of them ranks alone (`order: single`), that one is extrapolated.

Source: RESEARCH.md, part 2, 1b; the quota is ASHA's (Li et al., 2020, MLSys).
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from dataclasses import dataclass, field
from itertools import accumulate
from math import inf, isfinite, nan, sqrt
from typing import assert_never

import numpy as np
from numpy.typing import NDArray

from searchd.schedulers.events import (
    Answer,
    Deepened,
    Event,
    Extended,
    Failed,
    Finished,
    Injected,
    Losses,
    Lost,
    Reported,
    Resume,
    Start,
    Stop,
    Stopped,
    TrialId,
)
from searchd.schedulers.extrapolator import Extrapolation, Merit, extrapolate
from searchd.schedulers.improvement import improvement, tabled
from searchd.schedulers.order import DIVERGED, standing
from searchd.schedulers.orders import Order, Single
from searchd.schedulers.roster import Roster
from searchd.schedulers.rungs import deepened, ladder_from_top
from searchd.schedulers.standings import Standings
from searchd.schedulers.twins import Twins, Value

Floats = NDArray[np.float64]

FIRST = 8
"""So many trials calibrate: the first half is not judged below R / eta, the second not below R / eta²."""
SURE = 12
"""Of so many later trials one is not judged below R / eta, or R, in turn."""
WINDOW = 30
"""How many of the latest trials at a rung the price of its next leg is computed from."""
MARGIN = 1.05
"""A paused trial is resumed when it promises this many times the price of its leg."""
FRESH = 20
"""The extrapolation is fitted again after a report for every so many trials."""
FLOOR = 1e-4
"""Added to the variance of a final loss, so that a finished trial has an improvement too."""


@dataclass(slots=True)
class _Rung:
    """Everybody who reached a step. `ids`: in order of their ids; `price`: None until it is asked for again; `gains`:
    what those promise whom the price was computed from, as long as the extrapolation and the best are the same."""

    standings: Standings
    ids: list[TrialId] = field(default_factory=list)
    price: float | None = None
    gains: dict[TrialId, float] = field(default_factory=dict)


class Auto:
    """`order`: what ranks several objectives; by one alone (`Single`), what a trial promises is in that one."""

    def __init__(
        self, r: int, R: int, eta: int = 3, *, max_trials: int | None = None, order: Order = "eps-net"
    ) -> None:
        self._steps = ladder_from_top(r, R, eta)
        self._eta = eta
        self._roster = Roster(max_trials)
        self._order: Order = order
        self._rungs = [_Rung(Standings(step, order)) for step in self._steps]
        self._going: deque[tuple[TrialId, int, str]] = deque()
        self._several = False
        self._twins = Twins()
        self._loss = np.full((64, len(self._steps)), nan)
        self._violation = np.full((64, len(self._steps)), nan)
        self._since_fit = 0
        self._fitted: tuple[Merit, Extrapolation] | None = None
        self._best = inf
        self._next: Answer | None = None

    def peek(self) -> Answer:
        """What `ask` would answer; changes nothing."""
        if self._next is None:
            self._next = self._choose()
        return self._next

    def ask(self) -> Answer:
        answer = self.peek()
        match answer:
            case Start(_, until, _, bracket):
                self._roster.start(bracket, until)
                self._next = None
            case Resume(trial, since, until):
                if self._going and self._going[0][0] == trial:
                    self._going.popleft()
                self._rungs[self._steps.index(since)].standings.take(trial)
                self._roster.resume(trial, until)
                self._twins.goes(trial)
                self._next = None
        return answer

    def tell(self, event: Event) -> tuple[Stop, ...]:
        self._next = None
        roster = self._roster
        match event:
            case Reported(trial, step, points):
                if roster.is_running(trial) and step in self._steps and step <= roster.seats[trial].until:
                    self._enter(trial, self._steps.index(step), points)
            case Finished(trial, step):
                if roster.finish(trial, step):
                    self._finish(trial, self._steps.index(step))
            case Lost():
                roster.lost += 1
            case Failed(trial):
                seat = roster.dismiss(trial)
                if seat:
                    rung = self._due(trial, seat.since, seat.until)
                    self._enter(trial, rung, ())
                    self._rungs[rung].standings.sink(trial)
                    self._twins.leave(trial)
                    self._come_forward()
            case Stopped(trial):
                seat = roster.dismiss(trial)
                if seat and seat.state == "paused":
                    self._rungs[self._steps.index(seat.since)].standings.sink(trial)
                if seat:
                    self._twins.leave(trial)
                    self._come_forward()
            case Injected(trial):
                roster.inject(trial)
            case Extended(limit):
                roster.limit = limit
            case Deepened(R):
                self._deepen(R)
            case _:
                assert_never(event)
        if not self._several and self._stale() and any(rung.ids for rung in self._rungs):
            self._fit()  # here and not when it is needed: an `ask` must not change what later ones answer
        return ()

    def is_rung(self, trial: TrialId, step: int) -> bool:
        return 0 <= trial < self._roster.next and step in self._steps

    def ladders(self) -> tuple[tuple[int, ...], ...]:
        return (self._steps,)

    # ------------------------------------------------------------ what is next
    def _choose(self) -> Answer:
        roster = self._roster
        if roster.injected:
            return self._start("injected")
        while self._going:
            trial, rung, why = self._going[0]
            if roster.seats[trial].state == "paused":
                return self._resume(trial, rung, why)
            self._going.popleft()  # it failed or was stopped meanwhile
        worthy = self._worthy() if roster.next >= FIRST else None
        if worthy is not None:
            return worthy
        if roster.room:
            return self._start(
                "a new trial is worth more than any that is paused" if roster.next else "the first trial"
            )
        return self._promotable(above_all=True) or roster.idle()

    def _start(self, why: str) -> Start:
        trial = self._roster.next
        return Start(trial, self._steps[self._unjudged(trial)], why)

    def _resume(self, trial: TrialId, rung: int, why: str) -> Resume:
        return Resume(trial, self._steps[rung], self._steps[rung + 1], why)

    def _worthy(self) -> Answer | None:
        """The paused trial that promises most for its price, if it is worth it."""
        if self._several:
            return self._promotable(above_all=False)
        best, found = MARGIN, None
        for rung in range(len(self._steps) - 1):
            head = self._rungs[rung].standings.best()  # the least loss promises most: slopes are not negative
            if head is None:
                continue
            price = self._price(rung)
            worth = self._promise(head[0], rung) / price if price > 0 else inf
            if worth > best:
                best, found = worth, (head[0], rung)
        if found is None:
            return None
        trial, rung = found
        why = f"resumed: it promises {_times(best, 1.0)} times the price of going on at {self._at(rung)}"
        return self._resume(trial, rung, why)

    def _promotable(self, *, above_all: bool) -> Resume | None:
        """The best paused trial within ASHA's quota, from the highest rung. `above_all`: one at least has to go up."""
        for rung in range(len(self._steps) - 2, -1, -1):
            standings = self._rungs[rung].standings
            quota = max(len(standings) // self._eta, 1 if above_all else 0)
            best = standings.best(quota) if quota else None
            if best is not None:
                trial, rank = best
                return self._resume(trial, rung, f"promoted: rank {rank + 1} of {len(standings)} at {self._at(rung)}")
        return None

    # ------------------------------------------------------------ what happened
    def _enter(self, trial: TrialId, k: int, points: tuple[Losses, ...]) -> None:
        rung = self._rungs[k]
        if not rung.standings.enter(trial, points):
            return
        insort(rung.ids, trial)
        while trial >= len(self._loss):
            self._loss, self._violation = (np.vstack([a, np.full_like(a, nan)]) for a in (self._loss, self._violation))
        kind, violation, best = standing(points)
        if isinstance(self._order, Single):
            loss = self._order.best(best)[0] if kind < DIVERGED else inf
        else:
            self._several = self._several or any(len(values) > 1 for values in best)
            loss = best[0][0] if kind < DIVERGED else inf
        self._loss[trial, k] = loss
        violation = violation if kind < DIVERGED else inf
        self._violation[trial, k] = violation
        if not self._several:
            self._compare(trial, k, (violation, best), isfinite(loss))
        self._since_fit += 1
        rung.price = None
        if not self._stale() and self._fitted is not None:
            merit, chain = self._fitted
            end = chain.final(merit.one(loss, violation), k)
            if end < self._best:
                self._best = end
                self._reprice()

    def _finish(self, trial: TrialId, k: int) -> None:
        """The trial is at rest at rung k: it goes on at once, or pauses until it is worth it."""
        standings = self._rungs[k].standings
        self._enter(trial, k, ())  # no report at its rung counts as diverged
        if self._twins.waits(trial, k):
            return
        standings.offer(trial)
        if k < len(self._steps) - 1 and not standings.diverged(trial):
            why = self._reason(trial, k)
            if why:
                self._going.append((trial, k, why))

    def _reason(self, trial: TrialId, k: int) -> str:
        """Why a trial goes on from rung k; empty: it pauses."""
        n = len(self._rungs[k].standings)
        rank = self._rungs[k].standings.among(trial, max(1, n // self._eta))
        if rank is not None:
            return f"goes on: rank {rank + 1} of {n} at {self._at(k)}"
        if self._several:
            return ""
        promise, price = self._promise(trial, k), self._price(k)
        if promise >= price * (1 - 1e-9):
            return f"goes on: it promises {_times(promise, price)} times the price of going on at {self._at(k)}"
        return ""

    # ------------------------------------------------------------ twins
    def _compare(self, trial: TrialId, k: int, value: Value, finite: bool) -> None:
        """Whether the trial's report is another one's too, and what that says of equal reports."""
        if not finite:
            self._twins.diverged(trial, k)
            self._come_forward()
            return
        agrees = self._twins.enter(trial, k, value)
        if agrees is None or not self._rungs[k].standings.better_half(trial):
            return
        if self._twins.learn(agrees):
            for at, rung in enumerate(self._rungs):
                for other in rung.standings.offered():
                    if self._twins.waits(other, at):
                        rung.standings.withdraw(other)
            self._come_forward()
            self._reprice()

    def _come_forward(self) -> None:
        """Somebody is out: who is behind nobody any more may go on, and what they promise counts."""
        for trial, k in self._twins.free():
            self._rungs[k].standings.offer(trial)
        if self._twins.proved:
            self._reprice()

    def _deepen(self, R: int) -> None:
        added = deepened(self._steps[-1], R, self._eta)
        if not added:
            return
        self._steps += added
        self._rungs += [_Rung(Standings(step, self._order)) for step in added]
        more = np.full((len(self._loss), len(added)), nan)
        self._loss, self._violation = np.hstack([self._loss, more]), np.hstack([self._violation, more])
        self._fitted = None
        self._reprice()

    # ------------------------------------------------------------ what a trial promises, and the price
    def _promise(self, trial: TrialId, k: int) -> float:
        """The improvement on the best that a trial at rung k promises at the top, in warped losses."""
        merit, chain = self._fit()
        end = chain.final(merit.one(float(self._loss[trial, k]), float(self._violation[trial, k])), k)
        return improvement(end, sqrt(chain.variance[k] + FLOOR), self._best)

    def _price(self, k: int) -> float:
        """What a trial at rung k must promise: the next leg at the best rate of improvement a step. (Of promises as the
        table has them, good to 1e-5: recorded reasons say prices to three digits, and have to come out again.)"""
        merit, chain = self._fit()
        rung = self._rungs[k]
        if rung.price is None:
            latest, sd = rung.ids[-WINDOW:], sqrt(chain.variance[k] + FLOOR)
            for trial in latest:
                if trial not in rung.gains:
                    reported = float(self._loss[trial, k]), float(self._violation[trial, k])
                    behind = self._twins.elder(trial, k) is not None  # what it promises is promised already
                    rung.gains[trial] = 0.0 if behind else tabled(chain.final(merit.one(*reported), k), sd, self._best)
            best = sorted((rung.gains[trial] for trial in latest), reverse=True)
            leg, spent = self._steps[k + 1] - self._steps[k], len(latest) * self._steps[k]
            rates = (gain / (spent + n * leg) for n, gain in enumerate(accumulate(best), 1))
            rung.price = max(rates) * leg
        return rung.price

    def _fit(self) -> tuple[Merit, Extrapolation]:
        if self._fitted is None or self._stale():
            n = self._roster.next
            loss, violation = self._loss[:n], self._violation[:n]
            merit = Merit.of(loss, violation)
            self._fitted = (merit, extrapolate(merit(loss, violation)))
            self._best = self._fitted[1].best
            self._since_fit = 0
            self._reprice()
        return self._fitted

    def _stale(self) -> bool:
        return self._fitted is None or self._since_fit >= max(1, len(self._rungs[0].ids) // FRESH)

    def _reprice(self) -> None:
        for rung in self._rungs:
            rung.price = None
            rung.gains.clear()

    # ------------------------------------------------------------ inside
    def _unjudged(self, trial: TrialId) -> int:
        """The first rung where a trial is judged: above the lowest for those that calibrate."""
        if trial >= FIRST:
            if trial % SURE != SURE // 4:
                return 0
            return max(0, len(self._steps) - 1 - trial // SURE % 2)
        part = self._eta if trial < FIRST // 2 else self._eta**2
        return next(k for k, step in enumerate(self._steps) if step * part >= 0.9 * self._steps[-1])

    def _due(self, trial: TrialId, since: int, until: int) -> int:
        """The rung that a failed trial did not reach: the next on its way, or the last that it was at."""
        for k, step in enumerate(self._steps):
            if since < step <= until and trial not in self._rungs[k].standings:
                return k
        return self._steps.index(until)

    def _at(self, rung: int) -> str:
        return f"rung {self._steps[rung]}"


def _times(promise: float, price: float) -> str:
    return f"{promise / price:.3g}" if promise < 1000 * price else "over 1000"
