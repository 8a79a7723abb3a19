"""The stopping variant of ASHA: every free worker starts a trial that runs to R unless a rung stops it.

When a running trial reports at a rung, its loss enters and it goes on if it is good enough among all losses
recorded there so far; a diverged one stops at once. Two rules:
- `floor`: with n entries (its own included) it goes on when n < eta, or it is among the best floor(n / eta).
- `quantile`: it goes on when its loss is at most the 1/eta quantile of the rung by linear interpolation (Syne
  Tune). A loss of the rung is at or below that quantile exactly when it is at or below the entry at rank
  floor((n - 1) / eta), so no interpolation is needed, and several objectives follow the same rule by rank.

Sources: Li et al. (2020), MLSys; Salinas et al. (2022), Syne Tune, for `quantile`.
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
from searchd.schedulers.orders import Order
from searchd.schedulers.roster import Roster
from searchd.schedulers.rungs import deepened, ladder
from searchd.schedulers.standings import Standings

Rule = Literal["floor", "quantile"]


class Stopping:
    """One ladder. After a deepening a trial that finished at the old R goes on when it passes the rule there."""

    def __init__(
        self,
        r: int,
        R: int,
        eta: int = 3,
        *,
        max_trials: int | None = None,
        rule: Rule = "floor",
        order: Order = "eps-net",
    ) -> None:
        self._steps = ladder(r, R, eta)
        self._eta = eta
        self._rule: Rule = rule
        self._order: Order = order
        self._roster = Roster(max_trials)
        self._rungs = {step: Standings(step, self._order) for step in self._steps}
        self._deepened: list[int] = []  # old tops, where finished trials may wait

    def peek(self) -> Answer:
        """What `ask` would answer; changes nothing."""
        roster = self._roster
        if not roster.injected:
            for step in reversed(self._deepened):
                rung = self._rungs[step]
                best = rung.best()
                if best and self._good_enough(rung, best[0]):
                    reason = f"goes on: rank {best[1] + 1} of {len(rung)} at rung {step}"
                    return Resume(best[0], step, self._steps[-1], reason)
        if roster.may_start:
            return Start(roster.next, self._steps[-1], "injected" if roster.injected else "a free worker")
        return roster.idle()

    def ask(self) -> Answer:
        answer = self.peek()
        match answer:
            case Start(_, until, _, bracket):
                self._roster.start(bracket, until)
            case Resume(trial, since, until):
                self._rungs[since].take(trial)
                self._roster.resume(trial, until)
        return answer

    def tell(self, event: Event) -> tuple[Stop, ...]:
        roster = self._roster
        match event:
            case Reported():
                return self._reported(event.trial, event.step, event.points)
            case Finished():
                trial, step = event.trial, event.step
                if roster.finish(trial, step):
                    self._rungs[step].enter(trial, ())  # no report at its rung counts as diverged
                    self._rungs[step].offer(trial)
            case Lost():
                roster.lost += 1
            case Failed(trial):
                seat = roster.dismiss(trial)
                if seat:
                    ahead = (s for s in self._steps if seat.since < s < seat.until and trial not in self._rungs[s])
                    due = next(ahead, seat.until)
                    self._rungs[due].enter(trial, ())
                    self._rungs[due].sink(trial)
            case Stopped(trial):
                seat = roster.dismiss(trial)
                if seat and seat.state == "paused":
                    self._rungs[seat.since].sink(trial)
            case Injected(trial):
                roster.inject(trial)
            case Extended(limit):
                roster.limit = limit
            case Deepened(R):
                added = deepened(self._steps[-1], R, self._eta)
                self._deepened += [self._steps[-1], *added[:-1]] if added else []
                self._steps += added
                self._rungs.update((step, Standings(step, self._order)) for step in added)
            case _:
                assert_never(event)
        return ()

    def is_rung(self, trial: TrialId, step: int) -> bool:
        return 0 <= trial < self._roster.next and step in self._rungs

    def ladders(self) -> tuple[tuple[int, ...], ...]:
        return (self._steps,)

    def _reported(self, trial: TrialId, step: int, points: tuple[Losses, ...]) -> tuple[Stop, ...]:
        roster = self._roster
        if not roster.is_running(trial) or step not in self._rungs:
            return ()
        seat = roster.seats[trial]
        rung = self._rungs[step]
        if not seat.since < step <= seat.until or not rung.enter(trial, points):
            return ()
        if step == seat.until or self._good_enough(rung, trial):
            return ()
        rank = rung.rank(trial)
        why = "it diverged" if rung.diverged(trial) else f"rank {rank + 1} of {len(rung)}"
        roster.dismiss(trial)
        return (Stop(trial, f"stopped: {why} at rung {step}"),)

    def _good_enough(self, rung: Standings, trial: TrialId) -> bool:
        n = len(rung)
        if rung.diverged(trial):
            return False
        if self._rule == "quantile":
            return rung.ties_with(trial, (n - 1) // self._eta)
        return n < self._eta or rung.among(trial, n // self._eta) is not None
