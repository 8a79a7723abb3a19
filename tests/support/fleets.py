"""A fleet of workers in memory that drives any scheduler, breaks things at random, and checks every answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import isfinite, nan
from random import Random

from searchd.schedulers.asha import Asha
from searchd.schedulers.auto import Auto
from searchd.schedulers.events import (
    Answer,
    Deepened,
    Event,
    Exhausted,
    Extended,
    Failed,
    Finished,
    Injected,
    Losses,
    Lost,
    Reported,
    Resume,
    Scheduler,
    Start,
    Stop,
    Stopped,
    Wait,
)
from searchd.schedulers.fifo import Fifo
from searchd.schedulers.hyperband import Hyperband
from searchd.schedulers.pasha import Pasha
from searchd.schedulers.stopping import Stopping

Make = Callable[[int, int, int, int | None], Scheduler]

SCHEDULERS: dict[str, Make] = {
    "auto": lambda r, R, eta, n: Auto(r, R, eta, max_trials=n),
    "fifo": lambda _, R, eta, n: Fifo(R, eta=eta, max_trials=n),
    "asha": lambda r, R, eta, n: Asha(r, R, eta, max_trials=n),
    "asha-delayed": lambda r, R, eta, n: Asha(r, R, eta, max_trials=n, promotion="delayed"),
    "async-hyperband": lambda r, R, eta, n: Asha(r, R, eta, max_trials=n, brackets=None),
    "async-hyperband-bracket": lambda r, R, eta, n: Asha(r, R, eta, max_trials=n, brackets=None, layout="bracket"),
    "async-hyperband-delayed": lambda r, R, eta, n: Asha(r, R, eta, max_trials=n, brackets=None, promotion="delayed"),
    "stopping": lambda r, R, eta, n: Stopping(r, R, eta, max_trials=n),
    "stopping-quantile": lambda r, R, eta, n: Stopping(r, R, eta, max_trials=n, rule="quantile"),
    "hyperband": lambda r, R, eta, n: Hyperband(r, R, eta, max_trials=n),
    "hyperband-discarding": lambda r, R, eta, n: Hyperband(r, R, eta, max_trials=n, deepening="discarding"),
    "hyperband-preserving": lambda r, R, eta, n: Hyperband(r, R, eta, max_trials=n, deepening="preserving"),
    "pasha": lambda r, R, eta, n: Pasha(r, R, eta, max_trials=n),
    "asha-hypervolume": lambda r, R, eta, n: Asha(r, R, eta, max_trials=n, order="hypervolume"),
    "stopping-scalarisation": lambda r, R, eta, n: Stopping(r, R, eta, max_trials=n, order="scalarisation"),
    "hyperband-crowding": lambda r, R, eta, n: Hyperband(r, R, eta, max_trials=n, order="crowding"),
    "hyperband-bohb": lambda r, R, eta, n: Hyperband(r, R, eta, max_trials=n, rounding="bohb"),
}

LossOf = Callable[[int, int], tuple[Losses, ...]]


def one(value: float, violation: float = 0.0) -> tuple[Losses, ...]:
    """One point with one objective."""
    return (Losses((value,), violation),)


@dataclass
class Running:
    since: int
    until: int
    at: int


class Fleet:
    """Up to `workers` jobs at a time. Every answer is checked against the laws of schedulers while it comes in."""

    def __init__(self, scheduler: Scheduler, workers: int, loss: LossOf, max_trials: int | None) -> None:
        self.scheduler = scheduler
        self.workers = workers
        self.loss = loss
        self.limit = max_trials
        self.jobs: dict[int, Running] = {}
        self.paused: dict[int, int] = {}
        self.out: set[int] = set()
        self.started = 0
        self.injected = 0
        self.pairs: set[tuple[int, int]] = set()
        self.told: dict[tuple[int, int], tuple[Losses, ...]] = {}
        self.calls: list[tuple[Event | None, object]] = []  # None: ask; with what came back

    # ---------------------------------------------------------- calls, checked
    def ask(self) -> Answer:
        seen = self.scheduler.peek()
        assert self.scheduler.peek() == seen, "peek changes nothing"
        answer = self.scheduler.ask()
        assert answer == seen, "ask answers what peek saw"
        match answer:
            case Start(trial, until):
                assert trial == self.started, "Start ids count up without gaps"
                assert self.injected or self.limit is None or self.started < self.limit, "max_trials is honoured"
                self.injected = max(0, self.injected - 1)
                self.started += 1
                self._run(trial, 0, until)
            case Resume(trial, since, until):
                assert self.paused.get(trial) == since, "Resume goes on where the last Finished was"
                values = self.told.get((trial, since), ())
                assert any(all(map(isfinite, p.values)) for p in values), "a diverged trial is never promoted"
                del self.paused[trial]
                self._run(trial, since, until)
            case Wait():
                assert self.jobs, "Wait only while something runs"
            case Exhausted():
                assert not self.injected, "a user's config is never refused"
        if not isinstance(answer, Wait | Exhausted):
            assert isinstance(answer, Start | Resume)
            assert answer.reason, "every answer says why"
            self.calls.append((None, answer))
        return answer

    def _run(self, trial: int, since: int, until: int) -> None:
        assert trial not in self.jobs, "at most one running job a trial"
        assert trial not in self.out, "a stopped or failed trial never runs again"
        assert since < until
        assert (trial, until) not in self.pairs, "a trial is in a rung at most once"
        assert self.scheduler.is_rung(trial, until), "a job ends at a rung"
        self.pairs.add((trial, until))
        self.jobs[trial] = Running(since, until, since)

    def tell(self, event: Event) -> tuple[Stop, ...]:
        stops = self.scheduler.tell(event)
        self.calls.append((event, stops))
        for stop in stops:
            assert isinstance(event, Reported)
            assert stop.trial in self.jobs, "only a running trial is stopped"
            assert stop.reason, "every stop says why"
            del self.jobs[stop.trial]
            self.out.add(stop.trial)
        return stops

    # ---------------------------------------------------------- what happens to jobs
    def advance(self, trial: int) -> None:
        """The job of a trial reaches its next rung step and reports; at its `until` it finishes."""
        job = self.jobs[trial]
        steps = {s for rungs in self.scheduler.ladders() for s in rungs} | {job.until}
        job.at = min(s for s in steps if s > job.at)
        if self.scheduler.is_rung(trial, job.at):
            again = (trial, job.at) in self.told
            points = self.told.setdefault((trial, job.at), self.loss(trial, job.at))
            stops = self.tell(Reported(trial, job.at, points))
            assert not (again and stops), "a second report at a step decides nothing"
        if trial in self.jobs and job.at == job.until:
            self.tell(Finished(trial, job.until))
            del self.jobs[trial]
            self.paused[trial] = job.until

    def lose(self, trial: int) -> None:
        """The job starts again from its checkpoint: its reports come a second time."""
        self.jobs[trial].at = self.jobs[trial].since
        self.tell(Lost(trial))

    def end(self, trial: int, event: Failed | Stopped) -> None:
        self.jobs.pop(trial, None)
        self.paused.pop(trial, None)
        self.out.add(trial)
        self.tell(event)

    def inject(self) -> None:
        self.tell(Injected(self.started + self.injected))
        self.injected += 1

    def extend(self, limit: int | None) -> None:
        self.limit = limit
        self.tell(Extended(limit))

    def deepen(self, R: int) -> None:
        self.tell(Deepened(R))

    # ---------------------------------------------------------- whole runs
    def drain(self, most: int = 20_000) -> Answer:
        """Fills the workers, advances the oldest job, and so on to the end; the last answer, Exhausted."""
        for _ in range(most):
            answer: Answer = Wait()
            while len(self.jobs) < self.workers:
                answer = self.ask()
                if isinstance(answer, Wait | Exhausted):
                    break
            if not self.jobs:
                assert isinstance(answer, Exhausted), "when nothing runs and nothing starts, the search is exhausted"
                return answer
            self.advance(next(iter(self.jobs)))
        raise AssertionError(f"not exhausted after {most} turns")

    def trace(self) -> Iterator[str]:
        """The calls as text, one a line."""
        for event, answer in self.calls:
            if event is None:
                assert isinstance(answer, Start | Resume)
                since = answer.since if isinstance(answer, Resume) else 0
                kind = type(answer).__name__.lower()
                yield f"ask -> {kind} {answer.trial} {since}..{answer.until} b{answer.bracket}: {answer.reason}"
                continue
            line = f"tell {_words(event)}"
            assert isinstance(answer, tuple)
            yield line + "".join(f" -> stop {stop.trial}: {stop.reason}" for stop in answer)


def _words(event: Event) -> str:
    match event:
        case Reported(trial, step, points):
            seen = " ".join(
                ",".join(f"{v:g}" for v in p.values) + (f"!{p.violation:g}" if p.violation else "") for p in points
            )
            return f"reported {trial} @{step} {seen}"
        case Finished(trial, step):
            return f"finished {trial} @{step}"
        case Stopped(trial, by):
            return f"stopped {trial} by {by}"
        case Lost(trial) | Failed(trial) | Injected(trial):
            return f"{type(event).__name__.lower()} {trial}"
        case Deepened(R):
            return f"deepened {R}"
        case Extended(limit):
            return f"extended {limit}"


def losses_by(seed: int, kinds: str) -> LossOf:
    """A loss for each (trial, step), the same at each call. `kinds`: what may occur, one letter each.

    n NaN, t ties (few distinct values), v violations, p several points, m two objectives.
    """

    def loss(trial: int, step: int) -> tuple[Losses, ...]:
        draw = Random(f"{seed} {trial} {step}")
        points = []
        for _ in range(draw.randint(1, 3) if "p" in kinds else 1):
            values = [
                float(draw.randint(0, 3)) if "t" in kinds else draw.random() for _ in range(2 if "m" in kinds else 1)
            ]
            if "n" in kinds and draw.random() < 0.2:
                values[draw.randrange(len(values))] = draw.choice([nan, float("inf")])
            violation = float(draw.randint(0, 2)) if "v" in kinds else 0.0
            points.append(Losses(tuple(values), violation))
        return tuple(points)

    return loss


def havoc(fleet: Fleet, seed: int, turns: int, R: int, eta: int) -> None:
    """`turns` turns of a fleet where jobs are lost, fail, are stopped, configs are injected, the search deepens."""
    draw = Random(seed)
    deepest = R
    for _ in range(turns):
        match draw.choices(
            ["ask", "advance", "lose", "fail", "stop", "stop paused", "inject", "extend", "deepen", "noise"],
            [30, 40, 5, 4, 3, 3, 3, 2, 1, 4],
        )[0]:
            case "ask":
                if len(fleet.jobs) < fleet.workers:
                    fleet.ask()
            case "advance" if fleet.jobs:
                fleet.advance(draw.choice(sorted(fleet.jobs)))
            case "lose" if fleet.jobs:
                fleet.lose(draw.choice(sorted(fleet.jobs)))
            case "fail" if fleet.jobs:
                trial = draw.choice(sorted(fleet.jobs))
                fleet.end(trial, Failed(trial))
            case "stop" if fleet.jobs:
                trial = draw.choice(sorted(fleet.jobs))
                fleet.end(trial, Stopped(trial))
            case "stop paused" if fleet.paused:
                trial = draw.choice(sorted(fleet.paused))
                fleet.end(trial, draw.choice([Stopped(trial), Failed(trial)]))
            case "inject":
                fleet.inject()
            case "extend" if fleet.limit is not None:
                fleet.extend(max(0, fleet.limit + draw.randint(-3, 6)))
            case "deepen" if deepest == R:
                deepest *= eta
                fleet.deepen(deepest)
            case "noise":
                _noise(fleet, draw)
            case _:
                pass


def _noise(fleet: Fleet, draw: Random) -> None:
    """Events that must change nothing: unknown, ended, paused trials; steps that are no rung; a second report."""
    trial = draw.choice([-1, fleet.started + 5, *sorted(fleet.out), *sorted(fleet.paused), *sorted(fleet.jobs)])
    step = draw.choice([0, 2, 1_000_000, *(s for rungs in fleet.scheduler.ladders() for s in rungs)])
    before = fleet.scheduler.peek()
    known = fleet.told.get((trial, step))
    if trial in fleet.jobs and known is None:
        return
    events: list[Event] = [Reported(trial, step, one(0.0)), Lost(trial)]
    if trial not in fleet.jobs:
        events.append(Finished(trial, step))
    if trial not in fleet.jobs and trial not in fleet.paused:
        events += [Failed(trial), Stopped(trial)]
    assert fleet.tell(draw.choice(events)) == ()
    assert fleet.scheduler.peek() == before, "an event about nothing that runs changes nothing"
