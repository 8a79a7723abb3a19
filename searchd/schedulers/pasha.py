"""PASHA: ASHA by promotion that starts with a short ladder and raises its top only while the ranking is unsettled.

At first nobody goes beyond the second rung. Whenever a trial reports at the rung that is the top so far, the order of
those who stand there is compared with the order that the same trials have one rung below. When they differ, the next
rung opens. So an easy search ends long before R, and a hard one is ASHA.

`ranking="soft"`: trials whose losses on the lower rung are at most ε apart may swap places. ε comes from the noise of
the curves themselves: of the pairs that overtook each other at least twice on the way up, the 90th percentile of the
gaps at the top. Scheduler and searcher hear of rungs only, so curves are the losses at rungs: ε stays 0 until the
third rung is open. `ranking="exact"`, and with several objectives: any swap counts.

Source: Bohdal, Balles, Wistuba, Ermis, Archambeau, Zappella (2023), ICLR, PASHA, algorithm 1 and section 4.
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
    Losses,
    Lost,
    Reported,
    Resume,
    Start,
    Stop,
    Stopped,
    TrialId,
)
from searchd.schedulers.order import DIVERGED, Standing, standing
from searchd.schedulers.orders import Order
from searchd.schedulers.roster import Roster
from searchd.schedulers.rungs import deepened, ladder
from searchd.schedulers.settling import Settling
from searchd.schedulers.standings import Standings

Ranking = Literal["soft", "exact"]


class Pasha:
    """One ladder from r to R, of which the lowest two rungs are open at first. A deepening opens all of them."""

    def __init__(
        self,
        r: int,
        R: int,
        eta: int = 3,
        *,
        max_trials: int | None = None,
        ranking: Ranking = "soft",
        order: Order = "eps-net",
    ) -> None:
        self._steps = ladder(r, R, eta)
        self._eta = eta
        self._soft = ranking == "soft"
        self._order: Order = order
        self._roster = Roster(max_trials)
        self._rungs = [Standings(step, order) for step in self._steps]
        self._known: dict[TrialId, list[Standing]] = {}  # at each rung that a trial reached, from the lowest
        self._several = False
        self._top = min(1, len(self._steps) - 1)
        self._settling = Settling(self._soft)
        self._next: Answer | None = None  # what `peek` found, while nothing happens

    @property
    def top(self) -> int:
        """The step beyond which nobody goes, so far."""
        return self._steps[self._top]

    def peek(self) -> Answer:
        """What `ask` would answer; changes nothing."""
        if self._next is None:
            self._next = self._look()
        return self._next

    def _look(self) -> Answer:
        roster = self._roster
        if not roster.injected:
            for i in range(self._top - 1, -1, -1):
                rung = self._rungs[i]
                if rung.settled:
                    continue
                quota = len(rung) // self._eta
                best = rung.best(quota) if quota else None
                rung.settled = best is None
                if best:
                    step, above = self._steps[i], self._steps[i + 1]
                    reason = f"promoted: rank {best[1] + 1} of {len(rung)} at rung {step}, the top so far is {self.top}"
                    return Resume(best[0], step, above, reason)
        if roster.may_start:
            why = "injected" if roster.injected else f"nothing to promote, the top so far is {self.top}"
            return Start(roster.next, self._steps[0], why)
        return roster.idle()

    def ask(self) -> Answer:
        answer = self.peek()
        self._next = None
        match answer:
            case Start(_, until, _, bracket):
                self._roster.start(bracket, until)
            case Resume(trial, since, until):
                self._rungs[self._steps.index(since)].take(trial)
                self._roster.resume(trial, until)
        return answer

    def tell(self, event: Event) -> tuple[Stop, ...]:
        self._next = None
        roster = self._roster
        match event:
            case Reported():
                trial, step = event.trial, event.step
                if roster.is_running(trial) and step == roster.seats[trial].until:
                    self._enter(trial, step, event.points)
            case Finished():
                trial, step = event.trial, event.step
                if roster.finish(trial, step):
                    self._enter(trial, step, ())  # no report at its rung counts as diverged
                    self._rungs[self._steps.index(step)].offer(trial)
            case Lost():
                roster.lost += 1
            case Failed(trial):
                seat = roster.dismiss(trial)
                if seat:
                    self._enter(trial, seat.until, ())  # a running one is due there, a paused one is in already
                    self._sink(trial, seat.until)
            case Stopped(trial):
                seat = roster.dismiss(trial)
                if seat:
                    self._sink(trial, seat.until)
            case Injected(trial):
                roster.inject(trial)
            case Extended(limit):
                roster.limit = limit
            case Deepened(R):
                added = deepened(self._steps[-1], R, self._eta)
                self._steps += added
                self._rungs += [Standings(step, self._order) for step in added]
                if added:
                    self._open(len(self._steps) - 1)
            case _:
                assert_never(event)
        return ()

    def is_rung(self, trial: TrialId, step: int) -> bool:
        return 0 <= trial < self._roster.next and step in self._steps

    def ladders(self) -> tuple[tuple[int, ...], ...]:
        return (self._steps,)

    # ------------------------------------------------------------ is the ranking settled?
    def _enter(self, trial: TrialId, step: int, points: tuple[Losses, ...]) -> None:
        i = self._steps.index(step)
        if not self._rungs[i].enter(trial, points):
            return
        entry = standing(points)
        self._several = self._several or any(len(values) > 1 for values in entry[2])
        self._known.setdefault(trial, []).append(entry)
        if i == self._top and i + 1 < len(self._steps):  # at R there is nothing left to open
            if entry[0] < DIVERGED and not self._several:
                self._settling.enter(trial, self._known[trial])
            if not self._settled():
                self._open(i + 1)

    def _sink(self, trial: TrialId, step: int) -> None:
        """The trial is out; one that stood on the top rung says nothing of its order any more."""
        i = self._steps.index(step)
        self._rungs[i].sink(trial)
        if i == self._top:
            self._settling.leave(trial, self._known.get(trial, ()))

    def _open(self, top: int) -> None:
        """Raise the top, where nobody stands yet: the noise is estimated anew."""
        self._top = top
        self._settling = Settling(self._soft)

    def _settled(self) -> bool:
        """Whether those on the top rung have the same order there and one rung below, up to the noise."""
        if not self._several:
            return self._settling.settled()
        low = self._top - 1
        ranks = [(self._rungs[self._top].rank(t), self._rungs[low].rank(t), t) for t in self._able()]
        above = [t for _, _, t in sorted(ranks)]
        below = [t for _, _, t in sorted(ranks, key=lambda entry: entry[1])]
        return above == below  # any swap counts

    def _able(self) -> list[TrialId]:
        """Who stands on the top rung and did not diverge there; a failed or stopped one says nothing either."""
        top = self._rungs[self._top]
        return [t for t in top.trials() if not top.diverged(t)]
