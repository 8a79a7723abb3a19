"""Time: which jobs are silent for too long, which were never claimed, how many slots live, how long a study ran.

The only module that reads a clock. What it finds becomes messages and logged events, so that nothing else, replay
least of all, needs one. Leases run on the monotonic clock, which stands still while the machine sleeps.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from searchd.store.base import JobRow
from searchd.transport import Transport, Up
from searchd.wire import LEASE_S, Ended, WorkerInfo
from spaces.labels import fits

SPEND_S = 60.0
"""How often the time that a study ran is logged; at most so much is forgotten when the daemon is killed."""


def wall() -> float:
    """Unix seconds: what events and rows carry."""
    return time.time()


@dataclass(slots=True)
class _Lease:
    attempt: int
    status: str
    heard: float
    patience: float


class Leases:
    """Every job in flight holds a lease; each message of its current attempt renews it.

    Leases live in memory: after a restart every job has a whole one again, from the moment of the restart.
    """

    def __init__(self, transport: Transport, *, lease_s: float = LEASE_S) -> None:
        self._transport = transport
        self._lease_s = lease_s
        self._leases: dict[str, _Lease] = {}

    def heard(self, messages: Iterable[Up], now: float) -> None:
        """Renew the leases of the jobs that these messages came from."""
        for message in messages:
            lease = self._leases.get(message.job)
            if lease is not None and lease.attempt == message.attempt:
                lease.heard = now

    def renew_all(self, now: float) -> None:
        """Nobody could be heard for a while: every lease is whole again."""
        for lease in self._leases.values():
            lease.heard = now

    def watch(self, jobs: Sequence[JobRow], now: float) -> None:
        """Take the jobs that are in flight now; a new one, a new attempt and a new state begin a whole lease."""
        known = self._leases
        self._leases = {}
        for job in jobs:
            lease = known.get(job.id)
            if lease is None or lease.attempt != job.attempt or lease.status != job.status:
                lease = _Lease(job.attempt, job.status, now, self._lease_s)
            self._leases[job.id] = lease

    def expired(self, jobs: Sequence[JobRow], now: float) -> list[Ended]:
        """The ends of the jobs whose lease ran out, in their workers' names.

        Call it only when every message that waited has been recorded: a daemon that was away must not take its own
        absence for the workers'.
        """
        return [
            Ended(study=job.study, job=job.id, trial=job.trial, attempt=job.attempt, worker=job.worker,
                  outcome="lost", reason=f"no sign of life for {self._lease_s:g} s")
            for job in jobs
            if job.status == "running" and self._silent(job, now, self._lease_s)
        ]  # fmt: skip

    def unclaimed(self, jobs: Sequence[JobRow], idle: Iterable[str], now: float) -> tuple[list[str], list[Ended]]:
        """Queued jobs to send again, and those that a worker claimed and then never spoke of.

        A job that an idle worker could have taken for a lease is sent again, then after two, four, …: the broker may
        have lost it. `idle`: the job's queue has a worker with nothing to do, by job id. Waiting behind other jobs is
        no fault.
        """
        again: list[str] = []
        lost: list[Ended] = []
        for job in jobs:
            lease = self._leases.get(job.id)
            if job.status != "queued" or lease is None or now - lease.heard < min(self._lease_s, lease.patience):
                continue
            if self._transport.claimed(job.id) == job.attempt:
                if self._silent(job, now, self._lease_s):
                    lost.append(
                        Ended(study=job.study, job=job.id, trial=job.trial, attempt=job.attempt, worker=job.worker,
                              outcome="lost", reason=f"claimed, then no sign of life for {self._lease_s:g} s")
                    )  # fmt: skip
            elif job.id in idle and now - lease.heard >= lease.patience:
                again.append(job.id)
                lease.heard = now
                lease.patience *= 2
        return again, lost

    def silent(self, jobs: Sequence[JobRow], now: float) -> frozenset[str]:
        """The running jobs of which nothing was heard for a third of a lease: more than one sign of life is missing."""
        return frozenset(j.id for j in jobs if j.status == "running" and self._silent(j, now, self._lease_s / 3))

    def _silent(self, job: JobRow, now: float, limit_s: float) -> bool:
        lease = self._leases.get(job.id)
        return lease is not None and lease.attempt == job.attempt and now - lease.heard >= limit_s


@dataclass(frozen=True, slots=True)
class Fleet:
    """The live worker slots at one moment."""

    workers: tuple[WorkerInfo, ...] = ()

    def slots(self, device_class: str, needs: Mapping[str, str] | None = None) -> int:
        """How many slots may serve this device class, and have the labels that are needed."""
        return sum(
            w.device_class == device_class and w.state != "stopping" and fits(needs or {}, w.labels)
            for w in self.workers
        )

    def devices(self, device_class: str) -> tuple[str, ...]:
        """The identities of the devices of this class, each once."""
        return tuple(sorted({w.device for w in self.workers if w.device_class == device_class and w.device}))

    def idle(self) -> Counter[str]:
        """Idle slots by device class."""
        return Counter(w.device_class for w in self.workers if w.state == "idle")


class Stopwatch:
    """How long each study ran while this daemon lived, in seconds; handed out in portions of `SPEND_S`."""

    def __init__(self) -> None:
        self._since: dict[str, float] = {}

    def running(self, studies: Iterable[str], now: float) -> None:
        """These studies run from now on (or still do); the others do not, and what they ran is forgotten."""
        self._since = {study: self._since.get(study, now) for study in studies}

    def due(self, study: str, now: float, left_s: float | None) -> float | None:
        """Seconds to log: a whole portion, or what spends the budget (`left_s`: what it had at the last portion)."""
        ran = self.ran(study, now)
        if ran >= SPEND_S or (left_s is not None and 0 < left_s <= ran):
            self._since[study] = now
            return ran
        return None

    def take(self, study: str, now: float) -> float:
        """Seconds since the last portion; the watch of the study starts again."""
        ran = self.ran(study, now)
        if study in self._since:
            self._since[study] = now
        return ran

    def ran(self, study: str, now: float) -> float:
        return now - self._since[study] if study in self._since else 0.0


def monotonic() -> float:
    """Seconds of the clock that leases and budgets run on."""
    return time.monotonic()
