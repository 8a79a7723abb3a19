"""AC-Band: algorithm configuration over problem instances, by races in small groups.

Here a step is an instance: the step number is its number in the study's list, and a job runs one config on one
instance (its `until`). The members of a group run the same instance; the least loss wins it, and whoever runs them
may cut the others off as soon as one is done (a cut run reports more than the winner's). After a group's share of
instances the configs with the most wins go on. An epoch races the incumbent and fresh configs down to one, on
instances of its own: many configs and few instances at first, few configs and many instances in the end.

With `k` free workers a group runs in parallel; with fewer, one after another. Ties in wins go to the smaller total
loss, then to the lower trial id. Who had no opponent in a round (the remainder of the groups) is grouped first in
the next. A trial that failed, was stopped, or brought no finite loss is out of its group and of the search.

A config that the user brings takes a fresh config's place; when none is left in this round it runs one instance alone
and joins the next one, and after the last epoch it races the incumbent, both on instances beyond R if need be.
`max_trials` may not cut the table at first: the guarantee needs all of its configs.

With `restarts` the whole is run so many times, each time with configs and instances of its own, and in the end the
winners race one another.

Source: Brandt, Schede, Bengs, Haddenhorst, Hüllermeier, Tierney (2023), AAAI, algorithms 1 (AC-Band) and 2 (CSE).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf
from typing import assert_never

from searchd.schedulers.elimination import Epoch, restarted, rounds, survivors
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
from searchd.schedulers.order import DIVERGED, standing
from searchd.schedulers.roster import Roster

Rank = tuple[int, float, float, TrialId]
"""Class, violation and loss of one run, and the trial: the least one wins."""


@dataclass(slots=True)
class _Place:
    """One config of an epoch: its trial once it has started."""

    trial: TrialId | None = None
    out: bool = False


@dataclass(slots=True)
class _Race:
    """A group and the instances that it runs, one after the other. `sent`, `runs`: of the present instance."""

    places: list[_Place]
    instances: Sequence[int]
    at: int = 0
    sent: set[int] = field(default_factory=set)
    due: set[TrialId] = field(default_factory=set)
    runs: list[Rank] = field(default_factory=list)
    wins: dict[TrialId, int] = field(default_factory=dict)
    total: dict[TrialId, float] = field(default_factory=dict)

    def next(self, fresh: bool = False) -> _Place | None:
        """Who runs the present instance next, of those that never ran if `fresh`; None when all are sent."""
        if self.over:
            return None
        waiting = (p for i, p in enumerate(self.places) if i not in self.sent and not p.out)
        return next((p for p in waiting if not (fresh and p.trial is not None)), None)

    def alive(self) -> list[_Place]:
        return [p for p in self.places if not p.out]

    def unfilled(self) -> list[_Place]:
        return [p for p in self.places if p.trial is None and not p.out]

    def settle(self) -> None:
        """Counts the win once everybody has run the present instance."""
        unsent = any(i not in self.sent and not p.out for i, p in enumerate(self.places))
        if self.due or unsent or not self.sent:
            return
        if self.runs:
            winner = min(self.runs)[-1]
            self.wins[winner] = self.wins.get(winner, 0) + 1
        for _, _, loss, trial in self.runs:
            self.total[trial] = self.total.get(trial, 0.0) + loss
        self.at += 1
        self.sent.clear()
        self.runs.clear()

    @property
    def over(self) -> bool:
        """All instances are run, or one is left that has run at all."""
        decided = len(self.alive()) < 2 and not self.unfilled()
        return not self.due and (self.at >= len(self.instances) or decided)

    def best(self, keep: int) -> list[_Place]:
        def rank(place: _Place) -> tuple[int, float, int]:
            trial = -1 if place.trial is None else place.trial
            return (-self.wins.get(trial, 0), self.total.get(trial, inf), trial)

        return sorted(self.alive(), key=rank)[:keep]


class AcBand:
    """`R`: instances to spend. With probability 1 - `delta` the winner is among the best share `alpha` of all configs.
    `k`: the size of a race. `restarts`: so many runs, each with a part of R, then a race of their winners. ValueError
    when R is too small, or `max_trials` below what the guarantee needs."""

    def __init__(
        self, R: int, *, alpha: float = 0.05, delta: float = 0.05, k: int = 4, restarts: int = 1,
        max_trials: int | None = None,
    ) -> None:  # fmt: skip
        self.table = restarted(alpha, delta, k, R, restarts)
        self._R, self._k = R, k
        needs = sum(epoch.fresh for epoch in self.table)
        if max_trials is not None and max_trials < needs:
            raise ValueError(
                f"acband needs {needs} trials for alpha = {alpha} and delta = {delta}, but the budget has {max_trials}"
                ": raise budget.trials (or leave it out), alpha or delta"
            )
        self._roster = Roster(max_trials)
        self._seen: dict[TrialId, set[int]] = {}
        self._incumbent: _Place | None = None
        self._hall: list[_Place] = []
        """The winners of the restarts that are over."""
        self._active: list[_Place] = []
        self._races: list[_Race] = []
        self._rest: list[_Place] = []
        self._epoch = -1
        self._used = 0  # instances given out so far
        self._block = self._share = 0  # where the next round's block begins, and how long it is
        self._next_epoch()

    @property
    def incumbent(self) -> TrialId | None:
        """Who won the last epoch, or the last restart: the answer of the search. Before that: who leads its races."""
        if self._incumbent is not None and self._incumbent.trial is not None:
            return self._incumbent.trial
        if winners := [place.trial for place in self._hall if place.trial is not None and not place.out]:
            return winners[-1]
        leads = [
            (-race.wins.get(p.trial, 0), race.total.get(p.trial, inf), p.trial)
            for race in self._races for p in race.alive() if p.trial is not None
        ]  # fmt: skip
        return min(leads)[-1] if leads else None

    def peek(self) -> Answer:
        """What `ask` would answer; changes nothing."""
        found = self._due()
        if found is None:
            return self._roster.idle()
        race, place = found
        instance = race.instances[race.at]
        where = f"instance {instance} in epoch {min(self._epoch, len(self.table) - 1) + 1}"
        if place.trial is None:
            why = f"injected, {where}" if self._roster.injected else f"races on {where}"
            return Start(self._roster.next, instance, why)
        won = race.wins.get(place.trial, 0)
        since = self._roster.seats[place.trial].since
        return Resume(place.trial, since, instance, f"races on {where}: {won} of {race.at} won")

    def ask(self) -> Answer:
        answer = self.peek()
        found = self._due()
        if found is None:
            return answer
        race, place = found
        match answer:
            case Start(trial, until):
                place.trial = self._roster.start(0, until)
                self._seen[trial] = {until}
            case Resume(trial, _, until):
                self._roster.resume(trial, until)
                self._seen[trial].add(until)
        assert place.trial is not None
        race.sent.add(next(i for i, p in enumerate(race.places) if p is place))
        race.due.add(place.trial)
        return answer

    def tell(self, event: Event) -> tuple[Stop, ...]:
        roster = self._roster
        match event:
            case Reported(trial, step, points):
                race = self._race(trial)
                if race and roster.is_running(trial) and step == roster.seats[trial].until:
                    kind, violation, best = standing(points)
                    if kind < DIVERGED and all(run[-1] != trial for run in race.runs):
                        race.runs.append((kind, violation, best[0][0], trial))
            case Finished(trial, step):
                if roster.finish(trial, step):
                    self._ran(trial)
            case Lost():
                roster.lost += 1
            case Failed(trial) | Stopped(trial):
                if roster.dismiss(trial):
                    self._drop(trial)
            case Injected(trial):
                roster.inject(trial)
                self._make_room()
            case Extended(limit):
                roster.limit = limit
                self._trim()
                self._advance()
            case Deepened(R):
                if R != self._R:
                    raise ValueError(f"acband spends R = {self._R} instances by its table and cannot deepen to R = {R}")
            case _:
                assert_never(event)
        return ()

    def is_rung(self, trial: TrialId, step: int) -> bool:
        return step in self._seen.get(trial, ())

    def ladders(self) -> tuple[tuple[int, ...], ...]:
        return (tuple(range(1, max(self._R, self._used) + 1)),)

    # ------------------------------------------------------------ inside
    def _due(self) -> tuple[_Race, _Place] | None:
        """The next run: the first member that is not sent yet, of the first race; a fresh place for a user's config."""
        for race in self._races:
            place = race.next(fresh=self._roster.injected > 0)
            if place is not None:
                return race, place
        return None

    def _unfilled(self) -> int:
        return sum(len(race.unfilled()) for race in self._races)

    def _make_room(self) -> None:
        """A place in this round for each config that the user brought; a new epoch after the last."""
        if not self._races:
            self._next_epoch()
        while self._unfilled() < self._roster.injected:
            place = _Place()
            self._active.append(place)
            self._races.append(_Race([place], [self._races[0].instances[0]]))

    def _trim(self) -> None:
        """Fresh places beyond the limit are left empty for good."""
        limit = self._roster.limit
        if limit is None:
            return
        room = max(self._roster.injected, limit - self._roster.next)
        for place in [p for p in self._active if p.trial is None and not p.out][room:]:
            place.out = True

    def _race(self, trial: TrialId) -> _Race | None:
        return next((race for race in self._races if trial in race.due), None)

    def _ran(self, trial: TrialId) -> None:
        """A run is over: it counts, or without a finite loss the config is out."""
        race = self._race(trial)
        if race is None:
            return
        if all(run[-1] != trial for run in race.runs):
            self._drop(trial)
            return
        race.due.discard(trial)
        race.settle()
        self._advance()

    def _drop(self, trial: TrialId) -> None:
        for place in [*self._active, *self._hall, *([self._incumbent] if self._incumbent else [])]:
            if place.trial == trial:
                place.out = True
        if self._incumbent is not None and self._incumbent.out:
            self._incumbent = None
        for race in self._races:
            if trial in race.due or any(p.trial == trial for p in race.places):
                race.due.discard(trial)
                race.runs = [run for run in race.runs if run[-1] != trial]
                race.settle()
        self._advance()

    def _advance(self) -> None:
        """Goes on to the next round, and the next epoch, as far as the races allow."""
        while self._races and all(race.over for race in self._races):
            left = [p for race in self._races for p in race.best(self._survivors(len(race.places)))]
            self._active = [p for p in [*self._rest, *left] if not p.out]
            self._races, self._rest = [], []
            if len(self._active) > 1:
                self._next_round()
                continue
            self._incumbent = self._active[0] if self._active else None
            while self._epoch + 1 < len(self.table):
                self._next_epoch()
                if self._races or not self._hall:
                    break  # without a hall nobody waits for a race further on

    def _survivors(self, group: int) -> int:
        return survivors(group, self._now.number, self._k)

    @property
    def _now(self) -> Epoch:
        return self.table[min(self._epoch, len(self.table) - 1)]

    def _next_epoch(self) -> None:
        brought = self._roster.injected
        if self._epoch + 1 < len(self.table):
            self._epoch += 1
            fresh = max(self._now.fresh - (self._now.number == 1), brought)
            if self._now.final or self._now.number == 1:
                self._retire()
            known = self._hall if self._now.final else self._first()
        else:
            fresh = brought
            known = self._first() if fresh else []
        self._active = [*known, *(_Place() for _ in range(fresh))]
        self._trim()
        self._active = [place for place in self._active if not place.out]
        planned = rounds(len(self._active), self._now.number, self._k)
        self._share = max(1, self._now.instances // max(planned, 1))
        self._block = self._used
        self._used += max(self._now.instances, self._share * planned)
        if len(self._active) > 1 or any(place.trial is None for place in self._active):
            self._next_round()
        elif self._now.final and self._active:
            self._incumbent = self._active[0]

    def _retire(self) -> None:
        """A restart is over: its winner waits for the others'."""
        if self._incumbent is not None:
            self._hall.append(self._incumbent)
        self._incumbent = None

    def _first(self) -> list[_Place]:
        """Who begins an epoch beside its fresh configs."""
        if self._incumbent is not None:
            return [self._incumbent]
        return [_Place()] if self._now.number == 1 and not self._now.final else []

    def _next_round(self) -> None:
        """Cuts the active configs into groups; each group gets its share of the round's block of instances."""
        first, share = self._block, self._share
        self._block += share
        self._used = max(self._used, self._block)  # more rounds than planned, after failures
        groups = max(1, len(self._active) // self._k)
        size = min(self._k, len(self._active))
        each = max(1, share // groups)
        for g in range(groups):
            begin = first + g * each % share
            self._races.append(_Race(self._active[g * size : (g + 1) * size], range(begin + 1, begin + each + 1)))
        self._rest = self._active[groups * size :]
