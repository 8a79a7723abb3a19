"""A slot: one Celery `solo` worker that serves one device, one job at a time, through its warm child.

The Celery task is thin. It claims the job, hands it to the child, sends up what the child says and its own beats, and
hands down what is asked. Whatever the child does, the slot lives: killed, it is `lost`; crashed, out of memory, over
its time, it is `failed`; and the next job gets a fresh child.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from searchd.errors import Unreachable
from searchd.lines import about
from searchd.wire import BEAT_S, OOM, SHUT_DOWN, Begun, Dispatch, Ended, JobSpec, WorkerInfo, cause_of, held
from workers.captured import path_of
from workers.child import ChildOptions
from workers.device import Device
from workers.facts import facts
from workers.relay import LOOK_S, Relay, who
from workers.tether import adopt_orphans
from workers.uplink import Uplink
from workers.warm import Warm

log = logging.getLogger("searchd.worker")


class Requeue(Exception):
    """The job was not begun and this worker goes away: its message belongs back into the queue."""


@dataclass(frozen=True, slots=True)
class SlotOptions:
    """`name` is unique among workers; `grace_s`: what a job gets to write its checkpoint when the worker is shut down;
    `parent`: the supervisor's process id (the slot ends with it), 0 for none; `shared`: jobs begin only
    where they fit beside those of other slots."""

    name: str
    broker: str
    device: Device
    child: ChildOptions
    threads: int | None = None
    grace_s: float = 5.0
    parent: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)
    memory_bytes: int = 0
    """What a job's processes may hold on a CPU, and all of a shared device together; 0: what there is."""
    shared: bool = False


class Slot:
    """Runs dispatches. `shutting` says whether this process was asked to end."""

    def __init__(self, options: SlotOptions, uplink: Uplink, shutting: Callable[[], bool]) -> None:
        self._options = options
        self._uplink = uplink
        self._shutting = shutting
        self._warm = Warm(options.child, options.device.environment(options.threads))
        self._facts = facts(options.device, options.threads)
        self._memory = options.memory_bytes or options.device.memory_bytes()
        self._doing: JobSpec | None = None
        self._since = self._began = time.time()
        self._note = ""
        self._over = threading.Event()
        self._saying = threading.Lock()

    # life

    def start(self) -> None:
        """Account for a predecessor that died, start the child and the heartbeat."""
        adopt_orphans()
        self._bury_predecessor()
        self._warm.ensure()
        threading.Thread(target=self._heartbeat, name="heartbeat", daemon=True).start()

    def end(self) -> None:
        """End the child, and be forgotten."""
        self._over.set()
        self._warm.end()
        self._uplink.forget(self._options.name)

    def _bury_predecessor(self) -> None:
        """A slot of this name died a moment ago: its job is lost, and nobody need wait for the lease to run out."""
        doing = self._uplink.predecessor(self._options.name)
        if doing is not None:
            lost = Ended.model_validate_json(doing)
            log.warning("job %s attempt %d was lost with the slot that ran it", lost.job, lost.attempt)
            self._uplink.send(lost)

    def _heartbeat(self) -> None:
        """In a thread of its own, so that an idle slot is seen too; and ends a slot that outlived its supervisor."""
        while not self._over.is_set():
            self._say()
            self._over.wait(BEAT_S)
            if self._options.parent and os.getppid() != self._options.parent:
                os.kill(os.getpid(), signal.SIGTERM)
                if not self._over.wait(self._options.grace_s + 5.0):
                    self._warm.end()
                    os._exit(1)

    def _say(self) -> None:
        """Tell what this worker is and does; one at a time, so that what is older is never written last."""
        with self._saying:
            self._tell()

    def _tell(self) -> None:
        spec, options = self._doing, self._options
        state: Literal["idle", "busy", "stopping"]
        state = "stopping" if self._shutting() else "idle" if spec is None else "busy"
        info = WorkerInfo(
            name=options.name, device_class=options.device.device_class, device=options.device.identity,
            host=socket.gethostname(), pid=os.getpid(), child_pid=self._warm.pid, state=state,
            job=None if spec is None else spec.id, since=self._since, began=self._began, functions=options.child.allow,
            holds=self._holds(), facts=self._facts, labels=dict(options.labels), domain=options.device.domain,
            memory_bytes=self._memory, shared=options.shared, note=self._note,
        )  # fmt: skip
        last_words = None
        if spec is not None:
            last_words = self._lost(spec, "worker slot killed").model_dump_json()
        self._uplink.info(info, last_words)

    # jobs

    def run(self, dispatch: Dispatch) -> None:
        """Run the jobs of a dispatch. Raises Requeue when none was begun before a shutdown."""
        beat_s = min(BEAT_S, dispatch.lease_s / 5)
        for number, spec in enumerate(dispatch.jobs):
            with about(study=spec.study, trial=spec.trial, job=spec.id, attempt=spec.attempt):
                self._run(number, spec, beat_s)

    def _run(self, number: int, spec: JobSpec, beat_s: float) -> None:
        if self._shutting():
            if number == 0:
                raise Requeue
            self._finish(self._lost(spec, SHUT_DOWN))
        elif self._claim(spec):
            relay = self._begin(spec, beat_s)
            try:
                ended = relay.to_the_end()
                log.info("job %s attempt %d: %s %s", spec.id, spec.attempt, ended.outcome, ended.reason)
                self._warm.captures(None)
                if ended.reason == OOM:
                    self._warm.end()
                said = {"holds": self._holds(), "cause": cause_of(ended.outcome, ended.reason)}
                self._finish(ended.model_copy(update=said))
            finally:
                self._idle()
        else:
            log.info("dropped: job %s attempt %d was begun before", spec.id, spec.attempt)

    def _claim(self, spec: JobSpec) -> bool:
        warm = spec.checkpoint is not None and held(spec.checkpoint.sha256) in self._holds()
        begun = Begun(**who(spec, self._options.name), device=self._options.device.identity, warm=warm)
        token = uuid.uuid4().hex
        while True:
            try:
                return self._uplink.claim(spec, begun, token)
            except Unreachable as error:
                if self._shutting():
                    raise Requeue from error
                time.sleep(LOOK_S)

    def _begin(self, spec: JobSpec, beat_s: float) -> Relay:
        log.info("job %s attempt %d: %s from %d to %d", spec.id, spec.attempt, spec.kind, spec.since, spec.until)
        self._doing, self._since = spec, time.time()
        self._warm.ensure()
        self._warm.captures(path_of(spec, self._options.child.artifacts))
        relay = self._relay(spec, beat_s)
        relay.begin()
        self._say()  # while the child begins
        return relay

    def _noted(self, text: str) -> None:
        self._note = text
        self._say()

    def _idle(self) -> None:
        self._doing, self._since, self._note = None, time.time(), ""
        self._say()
        if not self._shutting():
            self._warm.ensure()

    def _relay(self, spec: JobSpec, beat_s: float) -> Relay:
        options = self._options
        return Relay(spec, self._warm, self._uplink, options.name, beat_s=beat_s, grace_s=options.grace_s,
                     shutting=self._shutting, noted=self._noted, most_bytes=self._limit())  # fmt: skip

    def _limit(self) -> int:
        return self._options.memory_bytes if self._options.device.index is None else 0

    def _holds(self) -> tuple[str, ...]:
        if self._shutting() or self._warm.pid is None:
            return ()
        return tuple(held(sha256) for sha256 in self._warm.holds)

    def _lost(self, spec: JobSpec, reason: str) -> Ended:
        return Ended(**who(spec, self._options.name), outcome="lost", reason=reason, step=spec.since,
                     cause=cause_of("lost", reason))  # fmt: skip

    def _finish(self, ended: Ended) -> None:
        """Send the end and stay until it is up; a broker that is away is waited for, but not beyond a shutdown."""
        self._uplink.send(ended)
        leave_at: float | None = None
        while not self._uplink.drain(ended.job):
            if self._shutting():
                leave_at = leave_at or time.monotonic() + self._options.grace_s
                if time.monotonic() > leave_at:
                    log.error("job %s: its end (%s) could not be sent before the shutdown", ended.job, ended.outcome)
                    return
            time.sleep(LOOK_S)
