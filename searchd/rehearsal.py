"""What a search takes whose course depends on losses: the real `Search` in made-up worlds, before anything is spent.

`plan` prices `auto`, ASHA and their kind by it. Each run drives the study's own scheduler and searcher (or a stand-in
for one that is slow or not installed) over learning curves of `searchd.simulator.Synthetic`: smooth, noisy, crossing.
Reports come at rungs only, so that R = 100,000 costs no more than R = 27. Of a study of many trials the first
some are run (MOST_TRIALS), and each further one is taken to need what those of the second half needed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from heapq import heappop, heappush
from statistics import median
from typing import NamedTuple

from numpy.random import Generator, Philox

from searchd.errors import Missing
from searchd.schedulers.events import TrialId
from searchd.search.algorithms import SEARCHERS, make_searcher
from searchd.search.events import Finished, Job, Reported
from searchd.search.search import Search
from searchd.simulator import Synthetic
from searchd.simulator.studies import undescribed
from spaces.formulas import TRAIN_S
from spaces.study import SearchSpec, Study

WORLDS: tuple[Mapping[str, float], ...] = (
    {}, {"noise": 0.05}, {"noise": 0.2}, {"crossing": 0.5, "noise": 0.05}, {"crossing": 1.0, "noise": 0.02},
    {"noise": 0.1, "diverging": 0.2},
)  # fmt: skip
"""What training may be like; each run has an optimum of its own too."""
MOST_TRIALS = {"random": 150, "sobol": 150, "evolution": 150, "mo-evolution": 150}
"""More are not run, of a searcher that takes up to a millisecond a suggestion; of another FEWER."""
FEWER, LEAST = 40, 20
LARGE = 100
"""In a space with more parameters fewer trials are run: all the slower is each."""
MOST_ROUNDS = 4
"""So often the worlds come round, with other optima, while no more trials are run than twice the most."""
QUICK = (*MOST_TRIALS, "auto", "tpe", "priorband", "bohb", "mcts", "cma-es")
"""Searchers that take part themselves; the first of STAND_INS that has all its parts plays any other."""
STAND_INS = ("auto", "evolution")
WORKERS = 2
"""As `searchd run` starts, where the study has no `parallel`."""


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """`steps`, `restart` (every promotion started over): medians over the `runs`; `low`, `high`: the fewest and the
    most steps; `rungs`: by bracket, the median number of trials that reached each step; `searcher`: who suggested."""

    runs: int
    steps: int
    restart: int
    low: int
    high: int
    rungs: Mapping[int, tuple[tuple[int, int], ...]]
    searcher: str


def rehearse(study: Study, trials: int) -> Rehearsal:
    """The study with so many trials, in every one of WORLDS; no other budget ends it. The same every time.

    Bounds are left out: a made-up world knows nothing of the metrics' scale."""
    searcher = _searcher(study)
    most = MOST_TRIALS.get(searcher, FEWER) * LARGE // max(LARGE, len(study.space.slots))
    most = max(most, LEAST)
    played = _played(study, searcher, min(trials, most))
    worlds = WORLDS * max(1, min(MOST_ROUNDS, 2 * most // trials))
    runs = [_Run(played, world, n).spent(trials) for n, world in enumerate(worlds)]
    steps = [run.steps for run in runs]
    reached = {rung for run in runs for rung in run.rungs}
    found: dict[int, list[tuple[int, int]]] = {}
    for bracket, step in sorted(reached):
        if count := round(median(run.rungs[bracket, step] for run in runs)):
            found.setdefault(bracket, []).append((count, step))
    return Rehearsal(
        len(runs), round(median(steps)), round(median(run.restart for run in runs)), round(min(steps)),
        round(max(steps)), {bracket: tuple(rungs) for bracket, rungs in found.items()}, searcher,
    )  # fmt: skip


def _played(study: Study, searcher: str, trials: int) -> Study:
    search = study.search
    if searcher != search.searcher:
        own = SEARCHERS[search.searcher].options
        rest = {name: value for name, value in search.options.items() if name not in own}
        search = search.model_copy(update={"searcher": searcher, "options": rest})
    objectives = tuple(o.model_copy(update={"at_most": None, "at_least": None}) for o in study.objectives)
    budget = study.budget.model_copy(update={"trials": trials})
    return undescribed(study).model_copy(update={"search": search, "objectives": objectives, "budget": budget})


def _searcher(study: Study) -> str:
    spec = study.search
    if spec.searcher in QUICK and _able(spec, study.seed):
        return spec.searcher
    bare = spec.model_copy(update={"options": {}})
    return next(n for n in STAND_INS if _able(bare.model_copy(update={"searcher": n}), study.seed))


def _able(spec: SearchSpec, seed: int) -> bool:
    try:
        make_searcher(spec, seed)
    except Missing:
        return False
    return True


@dataclass(slots=True)
class _Spent:
    steps: float = 0
    restart: float = 0
    rungs: Counter[tuple[int, int]] = field(default_factory=Counter)

    def and_more(self, since: _Spent, times: float) -> _Spent:
        """With `times` more of what came since then."""
        rungs = Counter({rung: round(n + times * (n - since.rungs[rung])) for rung, n in self.rungs.items()})
        return _Spent(self.steps + times * (self.steps - since.steps),
                      self.restart + times * (self.restart - since.restart), rungs)  # fmt: skip


class _Due(NamedTuple):
    """A job gets to its next rung or its end, `at`, from step `since`; the earliest first, then the oldest."""

    when: int
    number: int
    job: Job
    since: int
    at: int


class _Run:
    """One run; a job takes a second a step."""

    def __init__(self, study: Study, world: Mapping[str, float], seed: int) -> None:
        self._search = Search(study, seed)
        self._world = Synthetic(study, seed=seed, **{name: value for name, value in world.items() if name != "noise"})
        self._noise, self._rng = world.get("noise", 0.0), Generator(Philox(key=seed))
        self._workers = study.budget.parallel or WORKERS
        self._running: dict[TrialId, Job] = {}
        self._due: list[_Due] = []
        self._count = 0
        self._spent = _Spent()

    def spent(self, trials: int) -> _Spent:
        """What the run takes to its end, and `trials` where the study has fewer."""
        known = self._search.study.budget.trials or 0
        half = _Spent()
        now = 0
        while True:
            while len(self._running) < self._workers and isinstance(job := self._search.ask(), Job):
                if job.kind == "measure":
                    self._search.tell(self._world.measure(job.signature or "", job.config)[1])
                    continue
                if job.trial == known // 2 and not job.since:
                    half = _Spent(self._spent.steps, self._spent.restart, Counter(self._spent.rungs))
                self._running[job.trial] = job
                self._spent.restart += job.since
                self._go_on(job, job.since, now)
            if not self._due:
                break
            due = heappop(self._due)
            now = due.when
            if self._running.get(due.job.trial) is due.job:
                self._arrive(due)
        if trials == known:
            return self._spent
        return self._spent.and_more(half, (trials - known) / (known - known // 2))

    def _go_on(self, job: Job, since: int, now: int) -> None:
        ladders = self._search.scheduler.ladders()
        rungs = {step for ladder in ladders for step in ladder if since < step < job.until}
        at = min((step for step in rungs if self._search.is_rung(job.trial, step)), default=job.until)
        self._count += 1
        heappush(self._due, _Due(now + at - since, self._count, job, since, at))

    def _arrive(self, due: _Due) -> None:
        job, at = due.job, due.at
        self._spent.steps += at - due.since
        self._spent.restart += at - due.since
        ladders = self._search.scheduler.ladders()
        if at >= ladders[min(job.bracket, len(ladders) - 1)][0]:  # its first rung, where a bracket is shown from
            self._spent.rungs[job.bracket, at] += 1
        [step] = self._world.train(job.trial, job.config, at - 1, at)
        metrics = {name: value + self._noise * self._rng.normal() for name, value in step.metrics.items()}
        metrics[TRAIN_S] = at * step.seconds
        for stop in self._search.tell(Reported(job.trial, at, metrics)):
            self._running.pop(stop.trial, None)
        if job.trial not in self._running:
            return
        if at < job.until:
            self._go_on(job, at, due.when)
        else:
            del self._running[job.trial]
            self._search.tell(Finished(job.trial, at))
