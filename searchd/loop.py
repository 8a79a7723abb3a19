"""The daemon's loop without its process: receive, record, ask, commit, send, acknowledge; one round at a time.

Every round can be cut off anywhere: what was committed is in the store, what was not comes again.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from searchd.devices.desk import PREFIX, Devices
from searchd.dispatch import Dispatcher
from searchd.engine import Engine, Stops, publish, republish, submit, withdraw
from searchd.engine.turn import IN_FLIGHT
from searchd.errors import Fenced, NotFound, Unreachable
from searchd.fencing import Fencing
from searchd.filling import Filling
from searchd.leases import Fleet, Leases, Stopwatch, monotonic, wall
from searchd.placing import Places
from searchd.seats import Need
from searchd.store.base import JobRow, Store, StudyStatus
from searchd.strikes import Strikes
from searchd.transport import Transport, Up
from searchd.waits import Waits
from searchd.wire import LEASE_S

log = logging.getLogger("searchd.daemon")

BATCH = 500
LOOK_S = 1.0
"""How often the loop looks at workers, leases and budgets of time."""
ACTIVE: frozenset[StudyStatus] = frozenset({"queued", "running", "paused", "verifying"})

T = TypeVar("T")


class Loop:
    """Drives every study of a store. One thread owns it; `fleet` may be read from others, and `strangers`: how many
    messages were of no study of the store.

    `clock` (Unix seconds) and `ticks` (monotonic seconds) are given by the tests of leases.
    """

    def __init__(
        self, store: Store, transport: Transport, dispatcher: Dispatcher, *, root: str, lease_s: float = LEASE_S,
        clock: Callable[[], float] = wall, ticks: Callable[[], float] = monotonic,
    ) -> None:  # fmt: skip
        self.fleet = Fleet()
        self._store = store
        self._transport = transport
        self._dispatcher = Fencing(dispatcher, transport)
        self._root = root
        self._clock = clock
        self._ticks = ticks
        self._leases = Leases(transport, lease_s=lease_s)
        self._engines: dict[str, Engine] = {}
        self._places = Places(transport, self._need)
        self._filling = Filling(self._engines, self._places, self._jobs, self._ask)
        self._waits = Waits()
        self._watch = Stopwatch()
        self._devices = Devices(store, transport, dispatcher, root, lease_s)
        self._strikes = Strikes(clock)
        self._stops: dict[str, str | None] = {}
        self._looked: float | None = None
        self._away = False
        self._recorded: list[str] = []
        self._flying: tuple[int, list[JobRow]] = (-1, [])
        self.strangers = 0
        self._wake()

    # ------------------------------------------------------------ rounds
    def round(self, block_s: float = 0.2) -> int | None:
        """One round; waits at most `block_s` for messages. The number received; None when broker or database is away.

        Messages that were received and not recorded come again.
        """
        try:
            self._acknowledge()
            judged = self._ticks()  # what came before this moment is heard in this round, whatever stops us meanwhile
            entries = self._transport.receive(max=BATCH, block_s=block_s)
            tick = self._ticks()
            if self._away:
                self._back(tick)
            messages = [message for _, message in entries]
            self._leases.heard(messages, tick)
            self._places.heard(messages)
            self._record(entries)
            if self._looked is None or tick - self._looked >= LOOK_S:
                self._looked = tick
                self._look(tick, judged if len(entries) < BATCH else None)
            self._fill()
            self._send(tick)
            self._acknowledge()
            if self._away:
                log.info("broker and database answer again")
                self._away = False
        except Fenced:
            raise
        except Unreachable as error:
            if not self._away:
                log.warning("%s; waiting, nothing is lost", error)
            self._away = True
            self._transport.rewind()
            return None
        return len(entries)

    def close(self) -> None:
        """Log the time that studies ran since the last portion."""
        tick = self._ticks()
        for study, engine in self._engines.items():
            ran = self._watch.take(study, tick)
            if engine.hours_left_s is not None and ran > 0:
                try:
                    engine.spend(ran, self._clock())
                except Unreachable as error:  # at most a portion is forgotten
                    log.warning("%s", error)

    def active(self) -> list[str]:
        """The studies that have not ended."""
        return [study for study, engine in self._engines.items() if engine.status in ACTIVE]

    def status(self, study: str) -> StudyStatus:
        """The status of a study that was active in this daemon's life."""
        return self._engines[study].status

    # ------------------------------------------------------------ commands (searchd.desk.Handler)
    def submit(self, spec: Mapping[str, Any], artifacts: str | None = None) -> str:
        study = submit(self._store, spec, self._root, artifacts, self._clock())
        self._engines[study] = Engine(self._store, study)
        self._engines[study].wake(self._clock())
        self._looked = None
        log.info("study %s submitted", study, extra={"study": study})
        return study

    def pause(self, study: str) -> None:
        self._command(study, lambda engine, now: engine.pause(now))

    def resume(self, study: str) -> None:
        self._strikes.forgive(study)
        self._command(study, lambda engine, now: engine.resume(now))
        self._places.refusals.only(self._engines.keys() - {study})  # every worker is asked again

    def stop(self, study: str) -> None:
        self._command(study, lambda engine, now: engine.stop(now))

    def stop_trial(self, study: str, trial: int) -> None:
        self._command(study, lambda engine, now: engine.stop_trial(trial, now))

    def inject(self, study: str, values: Mapping[str, Any]) -> int:
        trial = 0

        def do(engine: Engine, now: float) -> Stops:
            nonlocal trial
            trial = engine.inject(values, now)
            return {}

        self._command(study, do)
        return trial

    def extend(self, study: str, budget: Mapping[str, Any]) -> None:
        self._command(study, lambda engine, now: engine.extend(budget, now))

    def prioritize(self, study: str, priority: float) -> None:
        self._command(study, lambda engine, now: engine.prioritize(priority, now))

    def deepen(self, study: str, max_resource: int, trials: int | None = None) -> None:
        self._command(study, lambda engine, now: engine.deepen(max_resource, trials, now))

    def rebase(self, study: str, *, apply: bool) -> dict[str, Any]:
        found: dict[str, Any] = {}

        def do(engine: Engine, now: float) -> Stops:
            nonlocal found
            what, stops = engine.rebase(now, apply=apply)
            found = what.as_json()
            return stops

        self._command(study, do)
        if apply:
            self._strikes.forgive(study)
        return found

    def add_device(self, name: str, runtime: str | None = None) -> dict[str, Any]:
        return self._devices.add(name, runtime, self._clock())

    def remove_device(self, name: str) -> None:
        self._devices.remove(name)

    def profile_device(self, name: str, spec: Mapping[str, Any], architectures: int | None = None) -> dict[str, Any]:
        self._looked = None
        return self._devices.profile(name, spec, architectures, self._clock())

    def _command(self, study: str, do: Callable[[Engine, float], Stops]) -> None:
        engine = self._engine(study)
        if engine is None:
            raise NotFound(f"no study {study!r}")
        self._stops |= do(engine, self._clock())
        self._looked = None

    # ------------------------------------------------------------ the parts of a round
    def _record(self, entries: Sequence[tuple[str, Up]]) -> None:
        batches: dict[str, list[Up]] = defaultdict(list)
        for _, message in entries:
            batches[message.study].append(message)
        for study, batch in batches.items():
            if study.startswith(PREFIX):
                self._devices.heard(batch, self._jobs(), self._ticks(), self._clock())
            else:
                self._take(study, batch)
        self._recorded += [entry for entry, _ in entries]

    def _acknowledge(self) -> None:
        if self._recorded:
            self._transport.acknowledge(self._recorded)
            self._recorded = []

    def _wake(self) -> None:
        """After a restart: every study that has not ended is rebuilt from its log, and stop keys are set again."""
        with self._store.reading() as reader:
            rows = [row for row in reader.studies() if row.status in ACTIVE]
            jobs = reader.jobs(statuses=IN_FLIGHT)
        for row in rows:
            self._engines[row.id] = Engine(self._store, row.id)
            self._guarded(row.id, lambda engine: engine.wake(self._clock()))
        self._stops = _wanted(jobs)
        self._places.adopt(jobs)

    def _back(self, tick: float) -> None:
        """After an outage nobody could be heard, and the broker may have forgotten its last second: leases are whole
        again, and the requests to stop are made again."""
        self._leases.renew_all(tick)
        self._stops = _wanted(self._jobs()) | self._stops

    def _engine(self, study: str) -> Engine | None:
        engine = self._engines.get(study)
        if engine is None:
            with self._store.reading() as reader:
                if reader.study(study) is None:
                    return None
            engine = self._engines[study] = Engine(self._store, study)
        return engine

    def _take(self, study: str, batch: Sequence[Up]) -> None:
        """Record a batch; one that breaks is taken message by message, so that the culprit is found."""
        engine = self._engine(study)
        if engine is None:
            self.strangers += len(batch)
            log.warning("%d messages of a study that is not in this database: do two databases share the broker?",
                        len(batch))  # fmt: skip
            return
        self._places.ended(batch, engine.device)
        try:
            slots = self._alone(study)
            devices = self.fleet.devices(engine.device) if slots else ()
            self._stops |= engine.step(batch, self._clock(), slots=slots, devices=devices)
        except Unreachable:
            raise
        except Exception:
            log.exception("study %s: a batch of %d messages broke the engine", study, len(batch),
                          extra={"study": study})  # fmt: skip
            for message in batch:
                self._stops |= self._strikes.message(engine, message)

    def _alone(self, study: str) -> int:
        """How many slots a study may fill in the transaction that records its messages; 0 where others have a say in
        who gets them: another study, a profile, a choice of slots."""
        device = self._engines[study].device
        if self._places.directs(device) or self._devices.holds(device):
            return 0
        served = [s for s in self.active() if self._engines[s].device == device]
        return self.fleet.slots(device) if served == [study] else 0

    def _guarded(self, study: str, do: Callable[[Engine], T]) -> T | None:
        return self._strikes.guarded(self._engines[study], do)

    def _look(self, tick: float, judged: float | None) -> None:
        """Workers, leases, hours: what only a clock can know. `judged`: the moment up to which every message was heard;
        None when more wait."""
        self._transport.rewind()  # a stream that was deleted and made anew may count from below where we are
        self.fleet = Fleet(tuple(self._transport.workers()))
        self._places.looked(self.fleet.workers)
        running = [study for study in self.active() if self._engines[study].status == "running"]
        for study in self.active():
            engine = self._engines[study]
            self._note_slots(study, self.fleet.slots(engine.device, engine.needs))
        for study in running:
            self._note_time(study, tick)
        self._watch.running(running, tick)
        jobs = self._jobs()
        self._leases.watch(jobs, tick)
        self._devices.look(self.fleet.workers, jobs, tick, self._clock())
        self._places.directed = frozenset(
            {e.device for s in self.active() if (e := self._engines[s]).needs}
            | {w.device_class for w in self.fleet.workers if w.shared}
        )
        self._places.refusals.only(self.active())
        self._places.alone = any(job.spec.get("alone") for job in jobs)
        if judged is not None:
            self._overdue(jobs, judged)
        self._say_why(jobs, self._leases.silent(jobs, tick))

    def _say_why(self, jobs: Sequence[JobRow], silent: frozenset[str]) -> None:
        """Why studies wait, now; and in the log of those of which nothing runs, once it has been so for a while."""
        active = {study: self._engines[study] for study in self.active()}
        seats, _ = self._places.seats(jobs)
        held = {e.device for e in active.values() if self._devices.holds(e.device)}
        looked = self._waits.look(active, jobs, self.fleet, seats, held, self._places.refusals, silent)
        for study, text in looked.items():
            self._guarded(study, partial(Engine.note_waits, text=text, now=self._clock()))

    @property
    def waits(self) -> Mapping[str, str]:
        """Why each active study waits, at the last look; may be read from other threads."""
        return self._waits.now

    def _note_slots(self, study: str, slots: int) -> None:
        engine = self._engines[study]
        if engine.status in ("queued", "running") and slots != (engine.slots or 0):
            self._guarded(study, lambda e: e.capacity(slots, self._clock()))

    def _note_time(self, study: str, tick: float) -> None:
        left_s = self._engines[study].hours_left_s
        ran = None if left_s is None else self._watch.due(study, tick, left_s)
        if ran is not None:
            self._guarded(study, lambda e: e.spend(ran, self._clock()))

    def _overdue(self, jobs: Sequence[JobRow], tick: float) -> None:
        idle = self.fleet.idle()
        could = {job.id for job in jobs if (e := self._engines.get(job.study)) is not None and idle[e.device] > 0}
        again, lost = self._leases.unclaimed(jobs, could, tick)
        ends: dict[str, list[Up]] = defaultdict(list)
        for end in [*self._leases.expired(jobs, tick), *lost]:
            log.warning("trial %d job %s attempt %d: %s", end.trial, end.job, end.attempt, end.reason, extra={
                "study": end.study, "trial": end.trial, "job": end.job, "attempt": end.attempt})  # fmt: skip
            self._transport.fence(end.job, end.attempt + 1)  # first, so that nothing it says from now on counts as said
            ends[end.study].append(end)
        for study, batch in ends.items():
            self._take(study, batch)
        for job in again:
            log.warning("job %s was not claimed for long: sent again", job, extra={"job": job})
            self._again(job)

    def _fill(self) -> None:
        """Give the free slots away; a device that is measured alone gets nothing."""
        held = {e.device for e in self._engines.values() if self._devices.holds(e.device)}
        wanting = [s for s in self.active() if self._engines[s].device not in held and self._engines[s].wants()]
        self._filling.fill(wanting, self.fleet, self._ticks())

    def _need(self, job: JobRow) -> Need:
        engine = self._engine(job.study)
        if engine is None:
            return Need("")
        return Need(engine.device, engine.needs, engine.memory(job.trial), alone=bool(job.spec.get("alone")),
                    refused=frozenset(self._places.refusals.of(job.study)))  # fmt: skip

    def _ask(self, study: str, slots: int) -> None:
        devices = self.fleet.devices(self._engines[study].device)
        stops = self._guarded(study, lambda e: e.step((), self._clock(), slots=slots, devices=devices))
        self._stops |= stops or {}

    def _send(self, tick: float) -> None:
        """Stop keys and the outbox; what a broker that is away does not take is sent in a later round."""
        for job, reason in list(self._stops.items()):
            if reason is None:
                self._transport.clear(job)
            else:
                self._transport.stop(job, reason)
            del self._stops[job]
        if self._places.chooses:
            self._places.fill(self._jobs())
        publish(self._store, self._dispatcher, self._places.choose, self._places.directs, flying=self._jobs())
        for job in self._places.overdue(tick):
            self._again(job)
            self._places.opened(job)

    def _again(self, job: str) -> None:
        """A job that was not claimed: to whoever comes, or to another slot that suits it."""
        with self._store.reading() as reader:
            row = reader.job(job)
        engine = None if row is None else self._engine(row.study)
        if engine is not None and self._places.directs(engine.device):
            withdraw(self._store, job)
        else:
            republish(self._store, self._dispatcher, job)

    def _jobs(self) -> list[JobRow]:
        """The jobs in flight; asked for again only after one of them changed."""
        if self._flying[0] != self._store.moved:
            with self._store.reading() as reader:
                self._flying = (self._store.moved, reader.jobs(statuses=IN_FLIGHT))
        return self._flying[1]


def _wanted(jobs: Sequence[JobRow]) -> dict[str, str | None]:
    """Job → why it is to stop, of those that are."""
    return {job.id: job.stop_reason for job in jobs if job.stop_reason is not None}
