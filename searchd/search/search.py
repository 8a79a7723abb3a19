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
    print(search.front())

`ask` that answers Wait or Exhausted changes nothing. Every event about an unknown or ended trial changes nothing.
A config that breaks a bound on an exact metric (`bytes`, `macs`, …), or whose latency could not be measured, is
never started: others are suggested instead, and when none is found no new trial starts (`note` says why).
Where a user's task describes configs by jobs, a trial begins with such a job: what breaks a bound is `vetoed` then.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Literal, assert_never

from searchd.errors import SearchdError, SpaceError
from searchd.schedulers import events as told
from searchd.schedulers.events import Resume, Scheduler, Start, TrialId
from searchd.schedulers.lineage import GIVEN
from searchd.schedulers.rungs import deeper, top
from searchd.search import points as merging
from searchd.search.algorithms import check_options, scheduler_of, searcher_of
from searchd.search.book import Book
from searchd.search.drawing import config_of, draw
from searchd.search.events import (
    Deepened,
    Described,
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
    Repredicted,
    SearchAnswer,
    Stop,
    Stopped,
    Vetoed,
    Wait,
)
from searchd.search.fronts import FrontPoint, front_of
from searchd.search.inheriting import origin
from searchd.search.pace import pace_of
from searchd.search.predictions import Predictions
from searchd.search.races import averaged, standing_for
from searchd.search.vetting import UNKNOWN, Vetting
from searchd.searchers.base import History, Morphed, Record, Searcher, Stream, bounds_of
from searchd.searchers.earlier import foreign
from searchd.searchers.record import OVER
from spaces.config import Config
from spaces.study import Study


class Search:
    """`seed`: instead of the study's. `searcher`, `scheduler`: instead of those that the study names. `trials`: every
    one by its id, in the order of the ids; a config that the user brought is in from then on. `recorded`: what a log
    says that the searcher said, by trial; it is not asked again.
    SearchdError for an unknown name or option, Missing for a part that is not installed."""

    def __init__(
        self, study: Study, seed: int | None = None, *, searcher: Searcher | None = None,
        scheduler: Scheduler | None = None,
    ) -> None:  # fmt: skip
        self.study = study
        self.seed = study.seed if seed is None else seed
        if searcher is None and scheduler is None:
            check_options(study.search)
        self.searcher = searcher_of(study, self.seed) if searcher is None else searcher
        self.scheduler = scheduler_of(study) if scheduler is None else scheduler
        self.note = ""
        self._earlier = foreign(study.space, study.earlier)
        self._book = Book(study.space, len(study.objectives))
        self._records: Mapping[TrialId, Record] = self._book.records
        self.trials: Mapping[TrialId, Record] = MappingProxyType(self._records)
        self.recorded: Mapping[TrialId, Config | Morphed] = {}
        self.take_changed = self._book.take_changed
        """The trials that are new, or other than when this was asked last: who writes rows need not look at all."""
        self._points: dict[TrialId, tuple[int, list[dict[str, Any]]]] = {}
        self._read = merging.Reader(study.objectives)
        self._formulas = tuple(o for o in study.objectives if o.formula is not None)
        self._races = bool(study.task.instances)
        self._taken: set[Config] = set()
        self._injected: deque[TrialId] = deque()
        self._started = 0
        self._stream = Stream(self.seed)
        self._vetting = Vetting(study)
        self._measurements, self._descriptions = self._vetting.measurements, self._vetting.descriptions
        self._bounds = bounds_of(study.objectives)
        self._goals = tuple((o.name, -1.0 if o.goal == "maximize" else 1.0) for o in study.objectives)
        self._ready: deque[TrialId] = deque()
        self._drawn: tuple[tuple[TrialId, int], Config | Morphed | None] = ((-1, -1), None)  # while nothing changes

    # ------------------------------------------------------------ what is known
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
        figures = UNKNOWN if record is None else self._vetting.figures(record.signature, record.config)
        return merging.merge(*figures, metrics, points, self._formulas)

    def costs(self, trial: TrialId) -> tuple[float, ...]:
        """Latency in ms up to each exit of a trial's network; empty where it was not measured."""
        record = self._records.get(trial)
        measured = None if record is None else self._measurements.get(record.signature)
        return () if measured is None else measured.cumulative_ms

    def exact(self, config: Config) -> Mapping[str, float]:
        """The metrics of a config that no training changes: by arithmetic, or by a describe job that has ended."""
        return self._vetting.exact(config)

    @property
    def predictions(self) -> Predictions:
        """What networks are predicted to cost."""
        return self._vetting.predictions

    def violation(self, metrics: Mapping[str, Any]) -> float:
        """How far merged metrics break the objectives' bounds: 0.0 when all hold, relative to the bounds otherwise."""
        return merging.violation(self.study.objectives, metrics)

    def front(self) -> list[FrontPoint]:
        """The points that no other dominates, each trial at the last rung it reported at, failed ones left out.

        Feasible points only, if there are any, sorted by the first objective; else those of the least compromise
        between violation and objectives, the least violation first. Of a study over instances: the one config that
        has won its races so far, with the means of its runs.
        """
        return front_of(self.study.objectives, self._records, standing_for(self.scheduler, self._points))

    # ------------------------------------------------------------ what is next
    def ask(self) -> SearchAnswer:
        """The next job, or Wait (nothing now), or Exhausted (nothing ever, unless extended, deepened or injected)."""
        if self._ready:
            return self._train(self._ready.popleft())
        answer = self.scheduler.peek()
        match answer:
            case Start():
                return self._start(answer)
            case Resume():
                self.scheduler.ask()
                trial, since, until, why, s = answer.trial, answer.since, answer.until, answer.reason, answer.bracket
                self._book.change(trial, state="running", step=since, until=until, bracket=s, reason=why)
                return Job(trial, self._records[trial].config, since, until, "train", None, s, why)
            case Wait() | Exhausted():
                return answer
            case _:
                assert_never(answer)

    def _start(self, answer: Start) -> SearchAnswer:
        trial = answer.trial
        brought = self._records.get(trial)
        said = self._draw(trial, answer.parent) if brought is None else brought
        if said is None:
            running = any(r.state in ("running", "waiting") for r in self._records.values())
            return Wait() if running else Exhausted()
        config, parent, morph, why = origin(said, answer, self._records)
        signature, describes, waits = None, False, False
        if self._vetting.looks:
            signature, describes = self._vetting.signature(config), self._descriptions.needs(config)
            if self._measurements.is_coming(signature) or self._descriptions.is_coming(config):
                return Wait()
            waits = describes or self._measurements.needs(signature)
        self.scheduler.ask()
        self._started += 1
        self._book.put(Record(
            trial, config, "waiting" if waits else "running", answer.since, answer.until, answer.bracket, why,
            signature, born=self._book.tally, parent=parent, morph=morph,
        ))  # fmt: skip
        self._taken.add(config)
        if brought is not None:
            self._injected.popleft()
            self._drop_stopped()
        if describes:
            self._descriptions.begin(trial, config)
            reason = "its config was not described yet"
            return Job(trial, config, 0, 0, kind="describe", bracket=answer.bracket, reason=reason)
        if not waits or signature is None:
            return self._job(self._records[trial])
        self._measurements.begin(trial, signature)
        reason = "its shape was not measured yet"
        return Job(trial, config, 0, 0, kind="measure", signature=signature, bracket=answer.bracket, reason=reason)

    def _train(self, trial: TrialId) -> Job:
        self._book.change(trial, state="running")
        return self._job(self._records[trial])

    def _job(self, record: Record) -> Job:
        """A trial's first training: from nothing, or from its parent's weights."""
        return Job(record.trial, record.config, record.step, record.until, "train", None, record.bracket,
                   record.reason, record.parent, record.morph)  # fmt: skip

    # ------------------------------------------------------------ what happened
    def tell(self, event: Event) -> tuple[Stop, ...]:
        """Something happened; the answer names running trials to give up on.

        SearchdError for an injected config that is none of the space or was vetoed, or a deepening that is no power of
        eta.
        """
        match event:
            case Reported():  # these two are nearly all that is told: a pattern with fields costs five times as much
                return self._reported(event.trial, event.step, event.metrics, event.points)
            case Finished():
                trial, step, metrics = event.trial, event.step, event.metrics
                stops = () if metrics is None else self._reported(trial, step, metrics, event.points)
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
                self._note_measurement(event)
            case Described(trial, metrics):
                self._note_description(trial, metrics)
            case Vetoed(trial, reason):
                self._veto(trial, reason)
            case Extended():
                self._book.version += 1
                return self.scheduler.tell(event)
            case Deepened():
                self._deepen(event)
            case Repredicted(predictor):
                self._vetting.predictions.renew(predictor)
                self._book.version += 1
            case _:
                assert_never(event)
        return ()

    def _reported(
        self, trial: TrialId, step: int, metrics: Mapping[str, Any], points: tuple[Mapping[str, Any], ...]
    ) -> tuple[Stop, ...]:
        record = self._records.get(trial)
        if record is None or record.state != "running" or not record.step < step <= record.until:
            return ()
        if step in record.losses or not self.scheduler.is_rung(trial, step):
            return ()
        figures = self._vetting.figures(record.signature, record.config)
        merged = merging.merge(*figures, metrics, points, self._formulas)
        if (losses := self._read(merged)) is None:
            reason = f"the report at step {step} has no number for {merging.lacking(self.study.objectives, merged)}"
            self._end(trial, "failed", reason)
            return (Stop(trial, reason),)
        if self._races:
            merged = [averaged(self._points.get(trial), merged[0])]
        self._points[trial] = (step, merged)
        self._book.enter(trial, step, losses, pace_of(metrics, step))
        stops = self.scheduler.tell(told.Reported(trial, step, losses))
        for stop in stops:
            self._book.change(stop.trial, state="stopped", reason=stop.reason)
        return stops

    def _finished(self, trial: TrialId, step: int) -> None:
        record = self._records.get(trial)
        if record is None or record.state != "running" or step != record.until:
            return
        self.scheduler.tell(told.Finished(trial, step))
        state = "done" if step >= top(self.scheduler.ladders(), record.bracket) else "paused"
        self._book.change(trial, state=state, step=step)

    def _end(self, trial: TrialId, state: Literal["failed", "stopped", "vetoed"], reason: str) -> None:
        record = self._records.get(trial)
        if record is None or record.state in OVER:
            return
        if trial in self._ready:
            self._ready.remove(trial)
        self._measurements.end(trial)
        self._descriptions.end(trial)
        if state == "stopped":
            self._book.change(trial, state=state, reason=reason)
        else:
            self._book.fail(trial, reason, state)
        self.scheduler.tell(told.Failed(trial) if state == "failed" else told.Stopped(trial))
        self._drop_stopped()

    def _drop_stopped(self) -> None:
        """A config that was stopped before it started: its Start is due before any other, and over at once."""
        while self._injected and self._records[self._injected[0]].state in OVER:
            trial = self._injected[0]
            answer = self.scheduler.peek()
            if not isinstance(answer, Start) or answer.trial != trial:
                raise RuntimeError(f"this is a bug: trial {trial} was injected, but {answer} is due before it")
            self.scheduler.ask()
            self.scheduler.tell(told.Stopped(trial))
            self._injected.popleft()
            self._started += 1

    def _inject(self, config: Config) -> None:
        if self.study.reproduces is not None:
            raise SearchdError(GIVEN)
        self.study.space.check(config)
        self._vetting.describe(config)
        if (why := self._descriptions.refusal(config)) is not None:
            raise SpaceError(f"this config was vetoed: {why}")
        trial = self._started + len(self._injected)
        signature = self._vetting.signature(config)
        self._book.put(Record(trial, config, "waiting", reason="injected", signature=signature, born=-1))
        self._taken.add(config)
        self._injected.append(trial)
        self.scheduler.tell(told.Injected(trial))

    def _note_measurement(self, event: Measured) -> None:
        owner = self._measurements.learn(event)
        self._book.version += 1
        if owner is not None and event.error is None:
            self._ready.append(owner)
        elif owner is not None:
            self._end(owner, "failed", f"its latency could not be measured: {event.error}")

    def _note_description(self, trial: TrialId, metrics: Mapping[str, float]) -> None:
        record = self._records.get(trial)
        if record is None or not self._descriptions.describes(trial, record.config):
            return
        self._descriptions.learn(record.config, metrics)
        self._book.version += 1
        broken = merging.broken_bound(self.study.objectives, metrics)
        if broken is None:
            self._ready.append(trial)
        else:
            self._veto(trial, broken)

    def _veto(self, trial: TrialId, reason: str) -> None:
        """The scheduler hears that the trial was stopped: what never competed takes no place in a rung."""
        record = self._records.get(trial)
        if record is None or record.state != "waiting":
            return
        self._descriptions.veto(record.config, reason)
        same = [r.trial for r in self._records.values() if r.state == "waiting" and r.config == record.config]
        for twin in same:  # the user may have brought it twice
            self._end(twin, "vetoed", reason)

    def _deepen(self, event: Deepened) -> None:
        try:
            self.scheduler.tell(event)
        except ValueError as error:
            nearest = deeper(max(map(max, self.scheduler.ladders())), event.R, self.study.search.eta)
            hint = "" if event.R in nearest else f": choose {' or '.join(map(str, nearest))}"
            raise SearchdError(f"{error}{hint}") from None
        self._book.version += 1
        for record in list(self._records.values()):
            if record.state == "done" and record.step < top(self.scheduler.ladders(), record.bracket):
                self._book.change(record.trial, state="paused")

    def _draw(self, trial: TrialId, parent: TrialId | None) -> Config | Morphed | None:
        known = self.recorded.get(trial)
        if known is not None and self._vetting.refusal(config_of(known)) is None:  # else the log has other rules
            self.note = ""
            return known
        now = (trial, self._book.version)
        if self._drawn[0] != now:
            rng = self._stream.at(trial)
            said, self.note = draw(lambda rejected: self.searcher.suggest(trial, self._history(rejected, parent), rng),
                                   lambda: self.study.space.sample(rng), self._vetting.refusal, self._taken)
            self._drawn = now, said
        return self._drawn[1]

    def _history(self, rejected: tuple[Config, ...], parent: TrialId | None = None) -> History:
        version, ladders = self._book.version, self.scheduler.ladders()
        return History(
            self.study.space, self._book.rows, len(self.study.objectives), ladders, rejected, self._vetting.foretell,
            lambda: self._book.table(version, ladders), self._earlier, parent, self._vetting.unfit, self._bounds,
            self._goals,
        )  # fmt: skip
