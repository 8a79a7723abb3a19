"""Which worker a job goes to: one that goes on from a checkpoint, to a free worker that has it in memory.

A hint and nothing more. What workers hold is what they said last; a job that its worker does not claim at once goes
to everybody, under the same attempt, and the claim sorts the two messages out. So nothing waits for a worker that is
slow or gone, and no decision depends on any of this.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

from searchd.store.base import JobRow
from searchd.transport import Transport, Up
from searchd.wire import Ended, JobSpec, WorkerInfo, held

log = logging.getLogger(__name__)

PATIENCE_S = 0.5
"""So long a job waits in the queue of one worker; a free one claims it within milliseconds."""


class Places:
    """What each worker holds, who is free, and the jobs that were sent to one worker and not begun yet."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._workers: dict[str, WorkerInfo] = {}
        self._holds: dict[str, frozenset[str]] = {}
        self._ended: dict[str, str] = {}
        self._doubted: dict[str, tuple[int, float]] = {}
        self._sent: dict[str, tuple[str, int, float | None]] = {}

    def heard(self, messages: Iterable[Up]) -> None:
        """Take what workers say at the end of a job: that they are free, and what they have in memory."""
        for message in messages:
            if message.job in self._sent and self._sent[message.job][1] == message.attempt:
                del self._sent[message.job]
            if isinstance(message, Ended) and message.worker:
                self._ended[message.worker] = message.job
                self._holds[message.worker] = frozenset(message.holds)

    def looked(self, workers: Sequence[WorkerInfo]) -> None:
        """Take the signs of life; one from before the end of a job that was heard of is older than that end."""
        self._workers = {info.name: info for info in workers}
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
            elif now - since >= PATIENCE_S:
                if self._transport.claimed(job) == attempt:
                    del self._sent[job]
                else:
                    found.append(job)
        return found

    def opened(self, job: str) -> None:
        """The job was sent to everybody. Nothing more goes to its worker alone until that one shows that it lives."""
        worker, _, _ = self._sent.pop(job)
        log.info("job %s: worker %s did not take it, so whoever comes first has it", job, worker, extra={"job": job})
        info = self._workers.get(worker)
        if info is not None:
            self._doubted[worker] = (info.pid, info.since)

    def _free(self, info: WorkerInfo) -> bool:
        return info.state == "idle" or (info.state == "busy" and info.job == self._ended.get(info.name))
