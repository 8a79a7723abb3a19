"""`Search`: scheduler × searcher in memory. No store, no clock: the same calls give the same answers.

The engine, the simulator and you drive it alike. A loop of your own:

    from searchd.search.events import Exhausted, Finished, Job, Reported
    from searchd.search.search import Search
    from spaces.study import Study

    search = Search(Study.load("study.yaml"), seed=0)
    while isinstance(job := search.ask(), Job):               # one worker; with several, Wait means: not now
        model = load(job.trial, job.since) if job.since else new(job.config)
        for step in range(job.since + 1, job.until + 1):
            error = train_one_step(model)
            if search.is_rung(job.trial, step) and search.tell(Reported(job.trial, step, {"val_error": error})):
                break                                         # the scheduler gave it up
        else:
            save(model, job.trial, job.until)
            search.tell(Finished(job.trial, job.until))
    for point in search.front():
        print(point.config, point.metrics)

`ask` that answers Wait or Exhausted changes nothing. Every event about an unknown or ended trial changes nothing.

A config that breaks a bound on an exact metric (`bytes`, `macs`, …), or whose latency could not be measured, is
never started: others are suggested instead, and when none is found no new trial starts (`note` says why).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, assert_never

from numpy.random import Generator

from searchd.errors import SearchdError, SpaceError
from searchd.schedulers import events as told
from searchd.schedulers.events import Resume, Scheduler, Start, TrialId
from searchd.search import points as merging
from searchd.search.algorithms import check_options, make_scheduler, make_searcher
from searchd.search.book import Book
from searchd.search.events import (
    Deepened,
    Event,
    Exhausted,
    Extended,
    Failed,
    Finished,
    Injected,
    Job,
    Lost,
    Measured,
    Reported,
    SearchAnswer,
    Stop,
    Stopped,
    Wait,
)
from searchd.search.fronts import FrontPoint, front_of
from searchd.searchers.base import History, Record, Searcher, generator
from spaces.config import Config
from spaces.describe import Description, describe
from spaces.study import Study

SUGGESTIONS = 8
"""How often the searcher is asked for a trial whose config breaks a bound or is there already."""
DRAWS = 1000
"""After that, random configs until one keeps the bounds."""


@dataclass(frozen=True, slots=True)
class _Drawn:
    """A suggestion and what it was computed from: it stands while nothing changes."""

    trial: TrialId
    version: int
    config: Config | None


class Search:
    """`seed`: instead of the study's. `searcher`, `scheduler`: instead of those that the study names.

    SearchdError for an unknown name or option, Missing for a part that is not installed.
    """

    def __init__(
        self,
        study: Study,
        seed: int | None = None,
        *,
        searcher: Searcher | None = None,
        scheduler: Scheduler | None = None,
    ) -> None:
        self.study = study
        self.seed = study.seed if seed is None else seed
        if searcher is None and scheduler is None:
            check_options(study.search)
        self.searcher = make_searcher(study.search, self.seed) if searcher is None else searcher
        self.scheduler = make_scheduler(study.search, study.budget.trials) if scheduler is None else scheduler
        self.note = ""
        self._book = Book(study.space, len(study.objectives))
        self._records: Mapping[TrialId, Record] = self._book.records
        self._points: dict[TrialId, tuple[int, list[dict[str, Any]]]] = {}
        self._digests: set[str] = set()
        self._injected: deque[TrialId] = deque()
        self._started = 0
        self._measured: dict[str, Measured] = {}
        self._measuring: dict[str, TrialId] = {}
        self._ready: deque[TrialId] = deque()
        self._drawn: _Drawn | None = None
        wanted = {o.name for o in study.objectives}
        self._measures = study.task.kind == "classify" and bool(wanted & set(merging.LATENCIES))

    # ------------------------------------------------------------ what is known
    @property
    def trials(self) -> Mapping[TrialId, Record]:
        """Every trial by its id, in the order of the ids; a config that the user brought is in from then on."""
        return MappingProxyType(self._records)

    @property
    def history(self) -> History:
        """What the searcher sees."""
        return replace(self._history(()), records=tuple(self._book.rows))

    def is_rung(self, trial: TrialId, step: int) -> bool:
        """Whether a report of `trial` at `step` takes part in a decision; others need not be told."""
        return self.scheduler.is_rung(trial, step)

    def merged(
        self, trial: TrialId, step: int, metrics: Mapping[str, Any], points: tuple[Mapping[str, Any], ...] = ()
    ) -> list[dict[str, Any]]:  # fmt: skip
        """A report as people see it: one mapping an operating point, with exact and measured metrics merged in."""
        del step  # exact and measured metrics are the same at every step
        record = self._records.get(trial)
        if record is None:
            return merging.merge({}, None, metrics, points)
        description = self._describe(record.config)
        described = {} if description is None else description.metrics
        measured = None if record.signature is None else self._measured.get(record.signature)
        return merging.merge(described, measured, metrics, points)

    def violation(self, metrics: Mapping[str, Any]) -> float:
        """How far merged metrics break the objectives' bounds: 0.0 when all hold, relative to the bounds otherwise."""
        return merging.violation(self.study.objectives, metrics)

    def front(self) -> list[FrontPoint]:
        """The points that no other dominates, each trial at the last rung it reported at, failed ones left out.

        Feasible points only, if there are any, sorted by the first objective; else those of the least compromise
        between violation and objectives, the least violation first.
        """
        return front_of(self.study.objectives, self._records, self._points)

    # ------------------------------------------------------------ what is next
    def ask(self) -> SearchAnswer:
        """The next job, or Wait (nothing now), or Exhausted (nothing ever, unless extended, deepened or injected)."""
        if self._ready:
            return self._train(self._ready.popleft())
        answer = self.scheduler.peek()
        match answer:
            case Start():
                return self._start(answer)
            case Resume(trial, since, until, reason, bracket):
                self.scheduler.ask()
                self._book.change(trial, state="running", step=since, until=until, bracket=bracket, reason=reason)
                return Job(trial, self._records[trial].config, since, until, bracket=bracket, reason=reason)
            case Wait() | Exhausted():
                return answer
            case _:
                assert_never(answer)

    def _start(self, answer: Start) -> SearchAnswer:
        trial = answer.trial
        brought = self._records.get(trial)
        config = self._draw(trial) if brought is None else brought.config
        if config is None:
            running = any(r.state in ("running", "waiting") for r in self._records.values())
            return Wait() if running else Exhausted()
        signature = self._signature(config)
        if signature in self._measuring:
            return Wait()
        self.scheduler.ask()
        self._started += 1
        waits = signature is not None and not self._is_measured(signature)
        self._book.put(Record(
            trial, config, "waiting" if waits else "running", 0, answer.until, answer.bracket, answer.reason, signature,
            born=self._book.tally,
        ))  # fmt: skip
        self._digests.add(config.digest)
        if brought is not None:
            self._injected.popleft()
            self._drop_stopped()
        if not waits or signature is None:
            return Job(trial, config, 0, answer.until, bracket=answer.bracket, reason=answer.reason)
        self._measuring[signature] = trial
        reason = "its shape was not measured yet"
        return Job(trial, config, 0, 0, kind="measure", signature=signature, bracket=answer.bracket, reason=reason)

    def _train(self, trial: TrialId) -> Job:
        self._book.change(trial, state="running")
        record = self._records[trial]
        return Job(trial, record.config, 0, record.until, bracket=record.bracket, reason=record.reason or "measured")

    # ------------------------------------------------------------ what happened
    def tell(self, event: Event) -> tuple[Stop, ...]:
        """Something happened; the answer names running trials to give up on.

        SearchdError for an injected config that is none of the space, or a deepening that is no power of eta.
        """
        match event:
            case Reported(trial, step, metrics, points):
                return self._reported(trial, step, metrics, points)
            case Finished(trial, step, metrics, points):
                stops = () if metrics is None else self._reported(trial, step, metrics, points)
                self._finished(trial, step)
                return stops
            case Lost():
                return self.scheduler.tell(event)
            case Failed(trial, reason):
                self._end(trial, "failed", reason)
            case Stopped(trial, by):
                self._end(trial, "stopped", f"stopped by the {by}")
            case Injected(config):
                self._inject(config)
            case Measured():
                return self._note_measurement(event)
            case Extended():
                self._book.version += 1
                return self.scheduler.tell(event)
            case Deepened():
                self._deepen(event)
            case _:
                assert_never(event)
        return ()

    def _reported(
        self, trial: TrialId, step: int, metrics: Mapping[str, Any], points: tuple[Mapping[str, Any], ...]
    ) -> tuple[Stop, ...]:
        record = self._records.get(trial)
        if record is None or record.state != "running" or not self.is_rung(trial, step):
            return ()
        if step in record.losses or not record.step < step <= record.until:
            return ()
        merged = self.merged(trial, step, metrics, points)
        if any(merging.missing(self.study.objectives, point) for point in merged):
            lacking = sorted({name for point in merged for name in merging.missing(self.study.objectives, point)})
            seen = ", ".join(sorted(merged[0])) or "nothing"
            reason = f"the report at step {step} has no number for {', '.join(lacking)}; it has {seen}"
            self._end(trial, "failed", reason)
            return (Stop(trial, reason),)
        losses = tuple(merging.losses(self.study.objectives, point) for point in merged)
        self._points[trial] = (step, merged)
        self._book.enter(trial, step, losses)
        stops = self.scheduler.tell(told.Reported(trial, step, losses))
        for stop in stops:
            self._book.change(stop.trial, state="stopped", reason=stop.reason)
        return stops

    def _finished(self, trial: TrialId, step: int) -> None:
        record = self._records.get(trial)
        if record is None or record.state != "running" or step != record.until:
            return
        self.scheduler.tell(told.Finished(trial, step))
        self._book.change(trial, state="done" if step >= self._top(record) else "paused", step=step)

    def _end(self, trial: TrialId, state: str, reason: str) -> None:
        record = self._records.get(trial)
        if record is None or record.state in ("failed", "stopped"):
            return
        if trial in self._ready:
            self._ready.remove(trial)
        self._measuring = {signature: owner for signature, owner in self._measuring.items() if owner != trial}
        if state == "failed":
            self._book.fail(trial, reason)
            self.scheduler.tell(told.Failed(trial))
        else:
            self._book.change(trial, state="stopped", reason=reason)
            self.scheduler.tell(told.Stopped(trial))
        self._drop_stopped()

    def _drop_stopped(self) -> None:
        """A config that was stopped before it started: its Start is due before any other, and over at once."""
        while self._injected and self._records[self._injected[0]].state in ("failed", "stopped"):
            trial = self._injected[0]
            answer = self.scheduler.peek()
            if not isinstance(answer, Start) or answer.trial != trial:
                raise RuntimeError(f"this is a bug: trial {trial} was injected, but {answer} is due before it")
            self.scheduler.ask()
            self.scheduler.tell(told.Stopped(trial))
            self._injected.popleft()
            self._started += 1

    def _inject(self, config: Config) -> None:
        self.study.space.check(config)
        self._describe(config)
        trial = self._started + len(self._injected)
        signature = self._signature(config)
        self._book.put(Record(trial, config, "waiting", reason="injected", signature=signature, born=-1))
        self._digests.add(config.digest)
        self._injected.append(trial)
        self.scheduler.tell(told.Injected(trial))

    def _note_measurement(self, event: Measured) -> tuple[Stop, ...]:
        if not self._is_measured(event.signature):
            self._measured[event.signature] = event
        self._book.version += 1
        owner = self._measuring.pop(event.signature, None)
        if owner is not None and event.error is None:
            self._ready.append(owner)
        elif owner is not None:
            self._end(owner, "failed", f"its latency could not be measured: {event.error}")
        return ()

    def _deepen(self, event: Deepened) -> None:
        try:
            self.scheduler.tell(event)
        except ValueError as error:
            raise SearchdError(f"{error}: choose R · eta, R · eta², …") from None
        for record in list(self._records.values()):
            if record.state == "done" and record.step < self._top(record):
                self._book.change(record.trial, state="paused")

    # ------------------------------------------------------------ inside
    def _draw(self, trial: TrialId) -> Config | None:
        if self._drawn is None or (self._drawn.trial, self._drawn.version) != (trial, self._book.version):
            self._drawn = _Drawn(trial, self._book.version, self._suggest(trial, generator(self.seed, trial)))
        return self._drawn.config

    def _suggest(self, trial: TrialId, rng: Generator) -> Config | None:
        """A config for a new trial: it keeps the bounds, and is a new one if there is any. None: none was found."""
        self.note = why = ""
        rejected: tuple[Config, ...] = ()
        spare: Config | None = None
        try:
            for _ in range(SUGGESTIONS):
                config = self.searcher.suggest(trial, self._history(rejected), rng)
                refusal = self._refusal(config)
                if refusal is None and config.digest not in self._digests:
                    return config
                if refusal is None:
                    spare = spare or config
                why = refusal or why
                rejected = (*rejected, config)
            if spare is not None:
                return spare
            for _ in range(DRAWS):
                config = self.study.space.sample(rng)
                if self._refusal(config) is None:
                    return config
        except SpaceError as error:
            why = str(error)
        tried = SUGGESTIONS + DRAWS
        self.note = f"no new trial: none of {tried} configs was allowed ({why}): loosen the bound, or widen the space"
        return None

    def _refusal(self, config: Config) -> str | None:
        """Why a config must not start, or None."""
        try:
            description = self._describe(config)
        except SpaceError as error:
            return str(error)
        if description is None:
            return None
        signature = description.signature if self._measures else None
        measured = None if signature is None else self._measured.get(signature)
        if measured is not None and measured.error is not None:
            return f"its latency could not be measured: {measured.error}"
        return merging.broken_bound(self.study.objectives, description.metrics)

    def _describe(self, config: Config) -> Description | None:
        return describe(self.study.task, self.study.space, config)

    def _signature(self, config: Config) -> str | None:
        """What the latency of a config is measured by; None where nothing is measured."""
        description = self._describe(config) if self._measures else None
        return None if description is None else description.signature

    def _is_measured(self, signature: str) -> bool:
        measured = self._measured.get(signature)
        return measured is not None and measured.error is None

    def _top(self, record: Record) -> int:
        ladders = self.scheduler.ladders()
        return ladders[min(record.bracket, len(ladders) - 1)][-1]

    def _history(self, rejected: tuple[Config, ...]) -> History:
        version, ladders = self._book.version, self.scheduler.ladders()
        return History(
            self.study.space, self._book.rows, len(self.study.objectives), ladders, rejected, self._describe,
            lambda: self._book.table(version, ladders),
        )  # fmt: skip
