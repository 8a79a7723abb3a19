"""Population-based training: members train side by side; the worst give up their place to copies of the best.

`population` trials train in legs of `r` steps. At the end of a leg a member is compared with everybody who reached that
step. One of the worst share `quantile` is left behind (exploit): its place goes to a new trial that takes over the
weights of one of the best, at the step where that one's last leg ended, with a config near that one's (explore, which
is the searcher's: see `searchd.searchers.pbt`). Everybody else goes on. A place that a failed or diverged member left
is filled likewise, or, as long as nobody has finished a leg, from nothing.

Each copy is a trial of its own and counts in `max_trials`; when that is used up, everybody goes on to R. A trial that
starts from another's weights hears of the rungs beyond them only. Whose weights: the best in turn, so nothing is drawn
at random.

Source: Jaderberg, Dalibard, Osindero, Czarnecki, Donahue, Razavi, Vinyals, Green, Dunning, Simonyan, Fernando,
Kavukcuoglu (2017), arXiv:1711.09846, algorithm 1 with truncation selection.
"""

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
from searchd.schedulers.roster import Roster
from searchd.schedulers.rungs import check_ladder, deepened
from searchd.schedulers.standings import Standings

FEWEST = 3
"""Nobody is the worst of fewer; nor of less than half the population."""


class Pbt:
    """`r`: the length of a leg, in steps; `R`: where a member is done; `eta`: what a deepening may multiply R by."""

    def __init__(
        self, r: int, R: int, eta: int = 3, *, max_trials: int | None = None, population: int = 8,
        quantile: float = 0.25,
    ) -> None:  # fmt: skip
        check_ladder(r, R, eta)
        if population < 2:
            raise ValueError(f"a population needs 2 members or more, but population = {population}")
        if not 0 < quantile <= 0.5:
            raise ValueError(f"quantile needs to be above 0 and at most 0.5, but is {quantile}")
        self._r, self._R, self._eta = r, R, eta
        self.population = population
        self._quantile = quantile
        self._roster = Roster(max_trials)
        self._steps = _legs(r, R)
        self._rungs = {step: Standings(step) for step in self._steps}
        self._waiting: list[TrialId] = []  # at the end of a leg, in the order of arrival
        self._vacant = population  # places without a member
        self._copies = 0
        self._seeds = 0  # members that began from nothing

    def peek(self) -> Answer:
        """What `ask` would answer; changes nothing."""
        roster = self._roster
        if roster.injected:
            return Start(roster.next, self._steps[0], "injected")
        if self._vacant and roster.room:
            if self._seeds < self.population:
                return Start(roster.next, self._steps[0], f"one of a population of {self.population}")
            return self._copy("a place was free") or Start(roster.next, self._steps[0], "a place was free")
        return self._after_leg(self._next_up()) if self._waiting else roster.idle()

    def ask(self) -> Answer:
        answer = self.peek()
        roster = self._roster
        match answer:
            case Start():
                if not roster.injected:
                    self._seeds += self._seeds < self.population
                    self._copies += answer.parent is not None
                    if self._vacant:
                        self._vacant -= 1
                    else:
                        self._waiting.remove(self._next_up())  # its place goes to the copy
                roster.start(0, answer.until)
            case Resume(trial, _, until):
                self._waiting.remove(trial)
                roster.resume(trial, until)
        return answer

    def tell(self, event: Event) -> tuple[Stop, ...]:
        roster = self._roster
        match event:
            case Reported(trial, step, points):
                if roster.is_running(trial) and step == roster.seats[trial].until:
                    self._rungs[step].enter(trial, points)
            case Finished(trial, step):
                if roster.finish(trial, step):
                    self._arrive(trial, step)
            case Lost():
                roster.lost += 1
            case Failed(trial) | Stopped(trial):
                seat = roster.dismiss(trial)
                if seat:
                    held = seat.state == "running" or trial in self._waiting
                    self._waiting = [t for t in self._waiting if t != trial]
                    self._vacant += held
                    rung = self._rungs[seat.until]
                    if isinstance(event, Failed):
                        rung.enter(trial, ())
                    rung.sink(trial)
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
        return 0 <= trial < self._roster.next and step in self._rungs

    def ladders(self) -> tuple[tuple[int, ...], ...]:
        return (self._steps,)

    # ------------------------------------------------------------ exploit
    def _next_up(self) -> TrialId:
        """Who has trained least of those that wait: with few workers the members still advance side by side."""
        return min(self._waiting, key=lambda trial: self._roster.seats[trial].since)

    def _arrive(self, trial: TrialId, step: int) -> None:
        """A leg is over: the member waits for its next one, unless it is done or diverged."""
        rung = self._rungs[step]
        rung.enter(trial, ())  # no report at its rung counts as diverged
        if rung.diverged(trial):
            self._vacant += 1
        elif step < self._R:
            self._waiting.append(trial)

    def _after_leg(self, trial: TrialId) -> Answer:
        step = self._roster.seats[trial].since
        rung = self._rungs[step]
        rank, n = rung.rank(trial), len(rung)
        if n >= max(FEWEST, self.population // 2) and rank >= n - self._share(n) and self._roster.room:
            copy = self._copy(f"trial {trial} was rank {rank + 1} of {n} at step {step}", beside=trial, at=step)
            if copy:
                return copy
        until = self._next(step)
        return Resume(trial, step, until, f"goes on: rank {rank + 1} of {n} at step {step}")

    def _copy(self, why: str, beside: TrialId = -1, at: int | None = None) -> Start | None:
        """A start from the weights of one of the best at a step (by default the deepest with a choice), in turn."""
        steps = [at] if at is not None else [s for s in reversed(self._steps) if len(self._rungs[s]) >= 2]
        for step in steps:
            rung = self._rungs[step]
            best = sorted(rung.trials(), key=rung.rank)[: self._share(len(rung))]
            able = [t for t in best if t != beside and not rung.diverged(t) and self._holds(t)]
            if able:
                parent = able[self._copies % len(able)]
                since = self._roster.seats[parent].since
                reason = f"from the weights of trial {parent} at step {since}: {why}"
                return Start(self._roster.next, self._next(since), reason, parent=parent, since=since)
        return None

    def _share(self, n: int) -> int:
        """How many of `n` are the best, or the worst: the quantile, rounded, one at least."""
        return max(1, int(n * self._quantile + 0.5))

    def _holds(self, trial: TrialId) -> bool:
        """Whether a trial has weights to give, and a step beyond them to train."""
        seat = self._roster.seats[trial]
        return seat.state != "out" and 0 < seat.since < self._R

    def _next(self, step: int) -> int:
        return next(s for s in self._steps if s > step)

    def _deepen(self, R: int) -> None:
        if not deepened(self._R, R, self._eta):
            return
        done = self._rungs[self._R]
        before, self._R = self._R, R
        self._steps = (*self._steps, *(s for s in _legs(self._r, R) if s > before))
        for step in self._steps:
            self._rungs.setdefault(step, Standings(step))
        seats = self._roster.seats
        paused = [t for t in done.trials() if seats[t].state == "paused" and seats[t].since == before]
        self._waiting += [t for t in paused if not done.diverged(t)]


def _legs(r: int, R: int) -> tuple[int, ...]:
    """The ends of the legs: r, 2r, 3r, …, and R."""
    steps = tuple(range(r, R + 1, r))
    return steps if steps[-1] == R else (*steps, R)
