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

from array import array
from typing import Literal, assert_never

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
from searchd.schedulers.order import DIVERGED, Standing, standing
from searchd.schedulers.orders import Order
from searchd.schedulers.roster import Roster
from searchd.schedulers.rungs import deepened, ladder
from searchd.schedulers.standings import Standings

Ranking = Literal["soft", "exact"]
PERCENTILE = 90.0


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
        self._gaps = array("d")  # of the pairs that overtook each other twice, at the top

    @property
    def top(self) -> int:
        """The step beyond which nobody goes, so far."""
        return self._steps[self._top]

    def peek(self) -> Answer:
        """What `ask` would answer; changes nothing."""
        roster = self._roster
        if not roster.injected:
            for i in range(self._top - 1, -1, -1):
                rung = self._rungs[i]
                quota = len(rung) // self._eta
                best = rung.best(quota) if quota else None
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
        match answer:
            case Start(_, until, _, bracket):
                self._roster.start(bracket, until)
            case Resume(trial, since, until):
                self._rungs[self._steps.index(since)].take(trial)
                self._roster.resume(trial, until)
        return answer

    def tell(self, event: Event) -> tuple[Stop, ...]:
        roster = self._roster
        match event:
            case Reported(trial, step, points):
                if roster.is_running(trial) and step == roster.seats[trial].until:
                    self._enter(trial, step, points)
            case Finished(trial, step):
                if roster.finish(trial, step):
                    self._enter(trial, step, ())  # no report at its rung counts as diverged
                    self._rungs[self._steps.index(step)].offer(trial)
            case Lost():
                roster.lost += 1
            case Failed(trial):
                seat = roster.dismiss(trial)
                if seat:
                    self._enter(trial, seat.until, ())  # a running one is due there, a paused one is in already
                    self._rungs[self._steps.index(seat.until)].sink(trial)
            case Stopped(trial):
                seat = roster.dismiss(trial)
                if seat:
                    self._rungs[self._steps.index(seat.until)].sink(trial)
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
        if i == self._top:
            self._note(trial)
            if i + 1 < len(self._steps) and not self._settled():
                self._open(i + 1)

    def _open(self, top: int) -> None:
        """Raise the top, where nobody stands yet: the noise is estimated anew."""
        self._top = top
        self._gaps = array("d")

    def _settled(self) -> bool:
        """Whether those on the top rung have the same order there and one rung below, up to the noise."""
        low = self._top - 1
        ranks = [(self._rungs[self._top].rank(t), self._rungs[low].rank(t), t) for t in self._able()]
        above = [t for _, _, t in sorted(ranks)]
        below = [t for _, _, t in sorted(ranks, key=lambda entry: entry[1])]
        if above == below:
            return True
        noise = self._noise()
        for a, b in zip(above, below, strict=True):
            if a == b:
                continue
            one, other = self._known[a][low], self._known[b][low]
            same_class = noise is not None and one[:2] == other[:2]
            if not same_class or noise is None or abs(one[2][0][0] - other[2][0][0]) > noise:
                return False
        return True

    def _able(self) -> list[TrialId]:
        """Who stands on the top rung and did not diverge there; a failed or stopped one says nothing either."""
        top = self._rungs[self._top]
        return [t for t in top.trials() if not top.diverged(t)]

    def _noise(self) -> float | None:
        """ε in units of the loss; None where any swap counts."""
        if self._several or not self._soft:
            return None
        return float(np.percentile(np.frombuffer(self._gaps), PERCENTILE)) if self._gaps else 0.0

    def _note(self, trial: TrialId) -> None:
        """The pairs of a new trial on the top rung with those who stood there before."""
        mine = self._curve(trial)
        if mine is None or self._top < 2:  # two rungs: nobody can overtake twice
            return
        others = [c for t in self._rungs[self._top].trials() if t != trial and (c := self._curve(t)) is not None]
        if others:
            rows = np.array(others)
            twice = _overtakes(mine - rows) >= 2
            self._gaps.extend(np.abs(mine[-1] - rows[twice, -1]).tolist())

    def _curve(self, trial: TrialId) -> NDArray[np.float64] | None:
        """The losses at all rungs up to the top [top + 1]; None with several objectives or where one diverged."""
        known = self._known[trial][: self._top + 1]
        if len(known) <= self._top or any(s[0] >= DIVERGED or len(s[2][0]) > 1 for s in known):
            return None
        return np.array([s[2][0][0] for s in known])


def _overtakes(gaps: NDArray[np.float64]) -> NDArray[np.intp]:
    """How often the sign changes along each row [n, k]; zeros between do not count."""
    last = np.zeros(len(gaps))
    changes = np.zeros(len(gaps), dtype=np.intp)
    for sign in np.sign(gaps).T:
        changes += (sign * last) < 0
        last = np.where(sign != 0, sign, last)
    return changes
