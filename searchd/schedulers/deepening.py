"""One bracket of Hyperband, and what happens to it when the maximum resource is raised (Iterative Deepening Hyperband).

A pass of successive halving fills one list a rung: rung 0 lists the bracket's whole pool; when all on a list have
been there, the best floor(n / eta) of its candidates make the list above, and who has no score there yet gets a job.
A deepened bracket has one more rung on top for each power of eta and a larger pool. What it does with its lists:

- `efficient`: lists stay and grow. Who was promoted stays promoted, the free places go to the best of the rest. The
  total is exactly that of one fresh Hyperband.
- `discarding`: the lists are made anew from the pool. Candidates are those on the list; old scores are used again,
  promotions that no longer stand are revised.
- `preserving`: made anew too, but everybody who was ever scored at a rung is a candidate there.

Whichever it is, a trial is trained over each step at most once.

Source: Brandt, Wever, Bengs, Hüllermeier (2023), Iterative Deepening Hyperband (d-IDHB, p-IDHB, e-IDHB).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from searchd.schedulers.events import Losses, TrialId
from searchd.schedulers.orders import Order
from searchd.schedulers.roster import Seat
from searchd.schedulers.standings import Standings

Deepening = Literal["efficient", "discarding", "preserving"]


@dataclass(slots=True)
class Rung:
    """`listed`: whom the pass holds here; `waiting`: those of them whose job is under way; `ended`: everybody whose job
    to this rung ever ended, well or not."""

    standings: Standings
    listed: set[TrialId] = field(default_factory=set)
    waiting: set[TrialId] = field(default_factory=set)
    ended: set[TrialId] = field(default_factory=set)

    def list(self, trial: TrialId) -> None:
        self.listed.add(trial)
        if trial not in self.ended:
            self.waiting.add(trial)


@dataclass(slots=True)
class Bracket:
    """`index` in the table, -1 for a user's config that runs alone; `size`: trials planned; `order`: of several
    objectives; `anew`: it was deepened by a rule that makes the lists anew."""

    index: int
    size: int
    rule: Deepening = "efficient"
    order: Order = "eps-net"
    rungs: list[Rung] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    anew: bool = False

    def rung(self, step: int) -> int:
        """The number of the rung at `step`."""
        return self.steps.index(step)

    def add_rungs(self, steps: tuple[int, ...]) -> None:
        """More rungs on top."""
        self.steps += steps
        self.rungs += [Rung(Standings(step, self.order)) for step in steps]

    def deepen(self, steps: tuple[int, ...], size: int) -> None:
        """New rungs on top at `steps` and a pool of `size`; the lists stay or are made anew, by the rule."""
        self.size = size
        self.add_rungs(steps)
        if self.rule == "efficient" or not self.rungs[0].listed:
            return
        self.anew = True
        for i, rung in enumerate(self.rungs):
            rung.standings.reopen()
            if i:
                rung.listed.clear()
                rung.waiting.clear()
            for trial in rung.ended:
                self._offer(rung, trial)

    # ------------------------------------------------------------ what happens to its trials
    def start(self, trial: TrialId) -> None:
        self.rungs[0].list(trial)

    def resume(self, trial: TrialId, since: int) -> None:
        i = self.rung(since)
        self.rungs[i].standings.take(trial)
        self.rungs[i + 1].list(trial)

    def report(self, trial: TrialId, step: int, points: tuple[Losses, ...]) -> None:
        self.rungs[self.rung(step)].standings.enter(trial, points)

    def finish(self, trial: TrialId, step: int) -> None:
        rung = self.rungs[self.rung(step)]
        rung.standings.enter(trial, ())  # no report at its rung counts as diverged
        self._end(rung, trial)
        self._offer(rung, trial)

    def dismiss(self, trial: TrialId, seat: Seat) -> None:
        """The trial failed or was stopped; `seat` as it was before."""
        rung = self.rungs[self.rung(seat.until)]
        rung.standings.enter(trial, ())
        rung.standings.sink(trial)
        self._end(rung, trial)

    def _end(self, rung: Rung, trial: TrialId) -> None:
        rung.ended.add(trial)
        rung.waiting.discard(trial)

    def _offer(self, rung: Rung, trial: TrialId) -> None:
        if self.rule != "discarding" or trial in rung.listed:
            rung.standings.offer(trial)

    # ------------------------------------------------------------ halving
    def promotion(self, quota: Callable[[int], int]) -> tuple[TrialId, int, int] | None:
        """Who goes up next: trial, its rank from 0, and from which rung; `quota(i)`: places on the list of rung i."""
        for i, (rung, above) in enumerate(zip(self.rungs, self.rungs[1:], strict=False)):
            if rung.waiting or (i == 0 and len(rung.listed) < quota(0)):
                return None
            best = rung.standings.best()
            if best and len(above.listed) < quota(i + 1):
                return (*best, i)
        return None

    def place(self, quota: Callable[[int], int], is_running: Callable[[TrialId], bool]) -> None:
        """Puts on the lists above those who need no job for it: they have been there, or are on their way."""
        while self.anew and (best := self.promotion(quota)):
            trial, _, i = best
            rung, above = self.rungs[i], self.rungs[i + 1]
            if trial not in above.ended and not is_running(trial):
                return
            rung.standings.take(trial)
            above.list(trial)
            if trial in above.ended:
                self._offer(above, trial)

    def is_over(self, quota: Callable[[int], int]) -> bool:
        """Whether it can answer nothing more, unless it is deepened."""
        waits = any(rung.waiting for rung in self.rungs)
        return len(self.rungs[0].listed) == self.size and not waits and self.promotion(quota) is None
