"""`simulate`: the real `Search` on an event heap, with virtual time. What a run would have brought, without training.

Workers take jobs as the service hands them out; a step of a job is one event; ties go first in, first out. Decisions
take no virtual time: their CPU seconds are counted apart.
"""

from __future__ import annotations

import gc
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from heapq import heappop, heappush
from math import inf
from typing import Any, NamedTuple

from searchd.errors import BadSetting, SearchdError
from searchd.schedulers.events import Scheduler, TrialId
from searchd.search.events import (
    Described,
    Event,
    Exhausted,
    Failed,
    Finished,
    Job,
    Lost,
    Measured,
    Reported,
    Vetoed,
)
from searchd.search.pace import counts_seconds
from searchd.search.search import Search
from searchd.searchers.base import Searcher, remark_of
from searchd.simulator.faults import ATTEMPTS, NO_FAULTS, Faults
from searchd.simulator.outcome import unsaid
from searchd.simulator.studies import ends, undescribed, with_pair
from searchd.simulator.trace import Counts, Ended, Run, Seen
from searchd.simulator.world import DescribingWorld, MeasuringWorld, Step, TrialFailed, World
from searchd.threads import one_thread
from spaces.formulas import TRAIN_S
from spaces.study import Study

FAILED, VETOED = 20, 200
"""So many trials that failed or were vetoed, and no report ever: the run ends, as in the service."""
YOUNG = 50_000
"""New objects before Python looks for garbage among them."""


def simulate(
    study: Study,
    world: World,
    *,
    workers: int = 4,
    seconds: float | None = None,
    seed: int | None = None,
    searcher: Searcher | str | None = None,
    scheduler: Scheduler | str | None = None,
    faults: Faults = NO_FAULTS,
) -> Run:
    """Runs a study in a world until the search is over, its budget is spent, or `seconds` of virtual time have passed.

    `searcher`, `scheduler`: others than the study's, by name or made by hand. SearchdError when nothing would ever
    end the run, for names that do not go together, and for a world that breaks its contract; BadSetting when it never
    brings an objective.
    """
    if workers < 1:
        raise SearchdError(f"a simulation needs 1 worker or more, but workers = {workers}")
    study = with_pair(
        study,
        scheduler=scheduler if isinstance(scheduler, str) else None,
        searcher=searcher if isinstance(searcher, str) else None,
        suggested=not isinstance(searcher, str | None),
    )
    if not isinstance(world, DescribingWorld):
        study = undescribed(study)
    search = Search(
        study,
        seed,
        searcher=None if isinstance(searcher, str) else searcher,
        scheduler=None if isinstance(scheduler, str) else scheduler,
    )
    if seconds is None and not (ends(study) or not isinstance(scheduler, str | None)):
        raise SearchdError("nothing ends this run: give seconds (--seconds), or the study a budget of trials or steps")
    with _rarely_collecting(), one_thread():
        run = _Simulation(search, world, workers, inf if seconds is None else seconds, faults).run()
    if said := unsaid(run):
        raise BadSetting(f"{said}: a step's metrics need every objective of the study that no config decides by itself")
    return run


@contextmanager
def _rarely_collecting() -> Iterator[None]:
    """A run makes millions of small objects that stay: looking for garbage after every 700 costs a quarter of it."""
    usual = gc.get_threshold()
    gc.set_threshold(YOUNG, *usual[1:])
    try:
        yield
    finally:
        gc.set_threshold(*usual)


@dataclass(slots=True, eq=False)
class _Running:
    """A job on a worker. `due`: the step that comes next, or why it fails; `longer`: see Faults; `dies`: when."""

    job: Job
    attempt: int
    since: int
    worker: int
    began: float
    longer: float
    dies: float
    steps: Iterator[Step] = field(default_factory=lambda: iter(()))
    due: Step | TrialFailed | Measured | Described | Vetoed | None = None
    over: bool = False


class _Again(NamedTuple):
    """A lost job that waits for a worker, from the step of its last checkpoint."""

    job: Job
    attempt: int
    since: int


class _Simulation:
    def __init__(self, search: Search, world: World, workers: int, limit: float, faults: Faults) -> None:
        self.search = search
        self.world = world
        self.workers = workers
        self.limit = limit
        self.faults = faults
        budget = search.study.budget
        self._until = inf if budget.hours is None else budget.hours * 3600
        self._steps = inf if budget.steps is None else budget.steps
        self._parallel = workers if budget.parallel is None else budget.parallel
        self.now = 0.0
        self.cpu = 0.0
        self.trace: list[Seen] = []
        self.counts = Counts()
        self._heap: list[tuple[float, int, Callable[[Any], None], Any]] = []
        self._seq = 0
        self._idle: deque[int] = deque(range(workers))
        self._away = 0
        self._again: deque[_Again] = deque()
        self._flying: dict[TrialId, _Running] = {}  # running, or lost and not yet started again
        self._seen: dict[TrialId, int] = {}
        self._coming = 0  # steps that jobs in flight were asked for and have not reported
        self._over: Ended = "complete"
        self._clocked = counts_seconds(search.study)
        self._trained: dict[TrialId, float] = {}
        self._note = ""

    def run(self) -> Run:
        heap = self._heap
        self._fill()
        while heap:
            if heap[0][0] > self.limit:
                self.now, self._over = self.limit, "seconds"
                break
            self.now, _, what, subject = heappop(heap)
            self.counts.events += 1
            what(subject)
        for running in self._flying.values():
            if not running.over:
                self.counts.busy_s += self.now - running.began
        search = self.search
        note = self._note or search.note or remark_of(search.searcher) or ""
        return Run(search.study, search.seed, self.workers, self.now, self._over, self.trace, self.counts, self.cpu,
                   search, note)  # fmt: skip

    # ------------------------------------------------------------ what happens
    def _step(self, running: _Running) -> None:
        """A job's next step is done: the first report of a step counts, as in the service."""
        if running.over:
            return
        step, job = running.due, running.job
        if not isinstance(step, Step):
            raise RuntimeError("this is a bug: a step was due, but there is none")
        trial = job.trial
        told = False
        at, _, metrics, points, known = step
        if at > self._seen.get(trial, 0):
            self._seen[trial] = at
            self._coming -= 1
            self.counts.steps += 1
            self.counts.guessed += not known
            if self._clocked:
                metrics = self._timed(trial, step)
            self.trace.append(Seen(self.now, trial, at, metrics, points, known))
            if self.search.is_rung(trial, at):
                self._tell(Reported(trial, at, metrics, points))
                told = True
        else:
            self.counts.repeated += 1
        if not running.over:
            if at < job.until:
                self._advance(running)
            else:
                self._end(running)
                self.counts.finished += 1
                self._tell(Finished(trial, job.until))
                told = True
        if told:
            self._fill()

    def _timed(self, trial: TrialId, step: Step) -> Mapping[str, Any]:
        """The metrics of a step with the seconds of the trial's training so far, as the service adds them."""
        self._trained[trial] = self._trained.get(trial, 0.0) + step.seconds
        return {TRAIN_S: self._trained[trial], **step.metrics}

    def _fail(self, running: _Running) -> None:
        if running.over:
            return
        reason = running.due.reason if isinstance(running.due, TrialFailed) else "failed"
        self._end(running)
        self.counts.failed += 1
        self._tell(Failed(running.job.trial, reason))
        self._despair(self.counts.failed >= FAILED, f"{self.counts.failed} trials failed and none reported: {reason}")
        self._fill()

    def _known(self, running: _Running) -> None:
        """A measurement or a description is there."""
        found = running.due
        if running.over or not isinstance(found, Measured | Described | Vetoed):
            return
        self._end(running)
        if isinstance(found, Measured):
            self.counts.measured += 1
        else:
            self.counts.described += 1
        self._tell(found)
        record = self.search.trials[running.job.trial]
        if record.state == "vetoed":
            self.counts.vetoed += 1
            said = f"{self.counts.vetoed} trials were vetoed and none was trained: {record.reason}"
            self._despair(self.counts.vetoed >= VETOED, said)
        self._fill()

    def _despair(self, enough: bool, why: str) -> None:
        if enough and not self.counts.steps:
            self._over, self._note = "hopeless", why

    def _die(self, running: _Running) -> None:
        """The worker is gone, and nobody knows yet."""
        if running.over:
            return
        running.over = True
        self.counts.busy_s += self.now - running.began
        self._away += 1
        self._push(self.now + self.faults.lease_s, self._notice, running)
        self._push(self.now + self.faults.down_s, self._back, running.worker)

    def _notice(self, running: _Running) -> None:
        """The lease ran out: the same job again from its last checkpoint, or the end of the trial."""
        job = running.job
        if self._flying.get(job.trial) is not running:
            return
        self.counts.lost += 1
        self._tell(Lost(job.trial))
        if running.attempt >= ATTEMPTS:
            del self._flying[job.trial]
            self._coming -= job.until - max(job.since, self._seen.get(job.trial, 0))
            self.counts.failed += 1
            self._tell(Failed(job.trial, f"lost {running.attempt} times"))
        else:
            saved = self._seen.get(job.trial, 0) // self.faults.save_every * self.faults.save_every
            self._again.append(_Again(job, running.attempt + 1, max(job.since, saved)))
        self._fill()

    def _back(self, worker: int) -> None:
        self._away -= 1
        self._idle.append(worker)
        self._fill()

    # ------------------------------------------------------------ what starts
    def _fill(self) -> None:
        """Gives idle workers what waits for them, then what the search answers, as far as budget and fleet allow."""
        while self._idle and self._over != "hopeless":
            if self._again:
                self._start(*self._again.popleft())
                continue
            if len(self._flying) >= min(self.workers - self._away, self._parallel) or self._spent():
                return
            began = time.process_time()
            answer = self.search.ask()
            self.cpu += time.process_time() - began
            self.counts.asked += 1
            if not isinstance(answer, Job):
                if isinstance(answer, Exhausted) and not self._flying:
                    self._note = self.search.note
                return
            self._coming += max(0, answer.until - max(answer.since, self._seen.get(answer.trial, 0)))
            self._start(answer, 1, answer.since)

    def _start(self, job: Job, attempt: int, since: int) -> None:
        worker = self._idle.popleft()
        longer, dies = self.faults.strike(worker, job.trial, since, attempt)
        running = _Running(job, attempt, since, worker, self.now, longer, self.now + dies)
        self._flying[job.trial] = running
        self.counts.jobs += 1
        if job.kind != "train":
            seconds, running.due = self._look(job)
            self._due(running, seconds, self._known)
            return
        try:
            running.steps = iter(self.world.train(job.trial, job.config, since, job.until))
        except TrialFailed as failed:  # a world that is no generator may say so at once
            running.due = failed
            self._due(running, failed.seconds, self._fail)
            return
        self._advance(running)

    def _look(self, job: Job) -> tuple[float, Measured | Described | Vetoed]:
        """What a measure or a describe job will find, and when."""
        if job.kind == "describe":
            if isinstance(self.world, DescribingWorld):
                return self.world.describe(job.trial, job.config)
            return 0.0, Described(job.trial, {})
        signature = job.signature or ""
        if isinstance(self.world, MeasuringWorld):
            return self.world.measure(signature, job.config)
        return 0.0, Measured(signature, error="this world has no device: give it a method measure(signature, config)")

    def _advance(self, running: _Running) -> None:
        at = running.since if running.due is None else running.due.step  # type: ignore[union-attr]
        try:
            step = next(running.steps)
        except TrialFailed as failed:
            running.due = failed
            self._due(running, failed.seconds, self._fail)
            return
        except StopIteration:
            raise SearchdError(
                f"the world ended trial {running.job.trial} after step {at}, but was asked for {running.job.until}: "
                "yield every step, or raise TrialFailed"
            ) from None
        if step.step != at + 1:
            raise SearchdError(f"the world gave step {step.step} of trial {running.job.trial} after step {at}")
        running.due = step
        self._due(running, step.seconds, self._step)

    def _due(self, running: _Running, seconds: float, what: Callable[[Any], None]) -> None:
        if not 0 <= seconds < inf:
            raise SearchdError(f"a step needs 0 seconds or more, but trial {running.job.trial} has one of {seconds}")
        at = self.now + seconds * running.longer
        if at > running.dies:
            at, what = running.dies, self._die
        self._seq += 1
        heappush(self._heap, (at, self._seq, what, running))

    # ------------------------------------------------------------ inside
    def _push(self, at: float, what: Callable[[Any], None], subject: Any) -> None:
        self._seq += 1
        heappush(self._heap, (at, self._seq, what, subject))

    def _tell(self, event: Event) -> None:
        began = time.process_time()
        stops = self.search.tell(event)
        self.cpu += time.process_time() - began
        self.counts.told += 1
        for stop in stops:
            running = self._flying.get(stop.trial)
            if running is not None:
                self.counts.stopped += 1
                self._end(running)

    def _end(self, running: _Running) -> None:
        """The job is over: its worker is free, unless it died."""
        trial, until = running.job.trial, running.job.until
        del self._flying[trial]
        self._again = deque(a for a in self._again if a.job.trial != trial) if self._again else self._again
        self._coming -= max(0, until - max(running.job.since, self._seen.get(trial, 0)))
        if not running.over:
            running.over = True
            self.counts.busy_s += self.now - running.began
            self._idle.append(running.worker)

    def _spent(self) -> bool:
        if self.now < self._until and self.counts.steps + self._coming < self._steps:
            return False
        self._over = "budget"
        return True
