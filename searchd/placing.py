"""Which worker a job goes to: one that goes on from a checkpoint, to a free worker that has it in memory.

A hint and nothing more. What workers hold is what they said last; a job that its worker does not claim at once goes
to everybody, under the same attempt, and the claim sorts the two messages out. So nothing waits for a worker that is
slow or gone, and no decision depends on any of this.

Where slots of a device class differ for the jobs that there are (a study needs labels, a slot refuses one, memory is
shared, a job must run alone), the class is *directed*: each of its jobs goes to a slot that suits it, and waits in the
outbox for one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence

from searchd.refusals import Refusals
from searchd.seats import Need, Seats
from searchd.store.base import JobRow
from searchd.transport import Transport, Up
from searchd.wire import Ended, JobSpec, WorkerInfo, cause_of, held

log = logging.getLogger(__name__)

PATIENCE_S = 0.5
"""So long a job waits in the queue of one worker; a free one claims it within milliseconds."""
DIRECTED_S = 5.0
"""So long where it is not for everybody: the worker may be starting."""


class Places:
    """What each worker holds, who is free, and the jobs that were sent to one worker and not begun yet."""

    def __init__(self, transport: Transport, need: Callable[[JobRow], Need] | None = None) -> None:
        self.directed: frozenset[str] = frozenset()
        self.alone = False
        self.refusals = Refusals()
        self._transport = transport
        self._need = need
        self._workers: dict[str, WorkerInfo] = {}
        self._holds: dict[str, frozenset[str]] = {}
        self._ended: dict[str, str] = {}
        self._doubted: dict[str, tuple[int, float]] = {}
        self._sent: dict[str, tuple[str, int, float | None]] = {}
        self._rows: dict[str, JobRow] = {}

    def heard(self, messages: Iterable[Up]) -> None:
        """Take what workers say at the end of a job: that they are free, and what they have in memory."""
        for message in messages:
            if message.job in self._sent and self._sent[message.job][1] == message.attempt:
                del self._sent[message.job]
            if isinstance(message, Ended) and message.worker:
                self._ended[message.worker] = message.job
                self._holds[message.worker] = frozenset(message.holds)

    def ended(self, messages: Iterable[Up], device_class: str) -> None:
        """Take from the ends of a study's jobs what changes where others may go: no memory, refusals."""
        messages = list(messages)
        self.refusals.heard(messages, device_class)
        ends = [m for m in messages if isinstance(m, Ended)]
        self.alone |= any((m.cause or cause_of(m.outcome, m.reason)) == "out_of_memory" for m in ends)

    def looked(self, workers: Sequence[WorkerInfo]) -> None:
        """Take the signs of life; one from before the end of a job that was heard of is older than that end."""
        self._workers = {info.name: info for info in workers}
        self.refusals.looked(workers)
        for known in (self._holds, self._ended, self._doubted):
            for name in known.keys() - self._workers.keys():
                del known[name]
        for info in workers:
            if info.state == "idle" or info.job != self._ended.get(info.name):
                self._holds[info.name] = frozenset(info.holds)
            if self._doubted.get(info.name) != (info.pid, info.since):
                self._doubted.pop(info.name, None)

    def choose(self, spec: JobSpec, device_class: str, queued: Sequence[tuple[str, JobRow]]) -> str | None:
        """The worker that gets a job for itself, or None: the job is for whoever comes.

        `queued`: the jobs in flight that were sent, each with its device class. While one of them waits for whoever
        comes, no free worker will be free for long.
        """
        if self.directs(device_class):
            return self._direct(spec, queued)
        if spec.kind != "train" or spec.checkpoint is None:
            return None
        if any(row.status == "queued" and not row.worker and asks == device_class for asks, row in queued):
            return None
        name = held(spec.checkpoint.sha256)
        taken = {row.worker for _, row in queued}
        for info in self._workers.values():
            if info.device_class != device_class or info.name in taken or info.name in self._doubted:
                continue
            if name in self._holds.get(info.name, ()) and self._free(info):
                self._sent[spec.id] = (info.name, spec.attempt, None)
                return info.name
        return None

    def directs(self, device_class: str) -> bool:
        """Whether each job of the class goes to a slot that suits it; `alone`: those of every class do."""
        return self._need is not None and (self.alone or device_class in self.directed | self.refusals.devices)

    @property
    def chooses(self) -> bool:
        """Whether it directs the jobs of any class."""
        return self.alone or bool(self.directed | self.refusals.devices)

    def seats(self, rows: Iterable[JobRow], doubted: bool = True) -> tuple[Seats, dict[str, Need]]:
        """The slots as they are with these jobs in flight, and what those need that wait for one, by job."""
        if self._need is None:
            raise ValueError("these places do not know what a job needs: a bug")
        taken: dict[str, Need] = {}
        waiting: dict[str, Need] = {}
        known = set()
        for row in rows:
            known.add(row.id)
            if row.worker and row.status != "outbox":
                taken[row.worker] = self._need(row)
            else:
                waiting[row.id] = self._need(row)
        for name, info in self._workers.items():
            leaves = info.state == "stopping" or (not doubted and name in self._doubted)
            elsewhere = info.state == "busy" and info.job not in known and info.job != self._ended.get(name)
            if name not in taken and (leaves or elsewhere):
                taken[name] = Need(info.device_class)
        return Seats(list(self._workers.values()), taken), waiting

    def fill(self, rows: Sequence[JobRow]) -> None:
        """Before jobs are sent: all that are in flight, those in the outbox among them."""
        self._rows = {row.id: row for row in rows}

    def _direct(self, spec: JobSpec, queued: Sequence[tuple[str, JobRow]]) -> str | None:
        self._rows |= {row.id: row for _, row in queued}
        row = self._rows.get(spec.id)
        if row is None or self._need is None:
            return None
        name = None if spec.checkpoint is None else held(spec.checkpoint.sha256)
        warm = next((w for w, holds in self._holds.items() if name in holds), "")
        for doubted in (False, True):  # one that took nothing a moment ago only where there is no other
            seats, waiting = self.seats(self._rows.values(), doubted)
            need = waiting.pop(spec.id, None) or self._need(row)
            found = seats.take(need, list(waiting.values()), warm)
            if found is not None:
                self._sent[spec.id] = (found, spec.attempt, None)
                return found
        return None

    def adopt(self, rows: Iterable[JobRow]) -> None:
        """After a restart: the jobs that the daemon before sent to one worker."""
        for row in rows:
            if row.status == "queued" and row.worker:
                self._sent[row.id] = (row.worker, row.attempt, None)

    def overdue(self, now: float) -> list[str]:
        """The jobs that their workers did not claim in time: send them to everybody, and say so (`opened`)."""
        found: list[str] = []
        for job, (worker, attempt, since) in list(self._sent.items()):
            if since is None:
                self._sent[job] = (worker, attempt, now)
            elif now - since >= (DIRECTED_S if self.directs(self._class(worker)) else PATIENCE_S):
                if self._transport.claimed(job) == attempt:
                    del self._sent[job]
                else:
                    found.append(job)
        return found

    def opened(self, job: str) -> None:
        """The job was taken back from its worker. Nothing more goes to that one alone until it shows that it lives."""
        worker, _, _ = self._sent.pop(job)
        log.info("job %s: worker %s did not take it, so another may have it", job, worker, extra={"job": job})
        info = self._workers.get(worker)
        if info is not None:
            self._doubted[worker] = (info.pid, info.since)

    def _class(self, worker: str) -> str:
        info = self._workers.get(worker)
        return "" if info is None else info.device_class

    def _free(self, info: WorkerInfo) -> bool:
        return info.state == "idle" or (info.state == "busy" and info.job == self._ended.get(info.name))
