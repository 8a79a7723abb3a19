"""The warm child of a slot: `python -P -m workers.child IN OUT PARENT OPTIONS`. It holds imports, data and kernels.

It takes one job at a time from its slot, runs it, and says how it ended. It imports no Celery, no Redis, and torch only
with the first task that needs it. Its standard output is the log: what a training function prints cannot disturb the
conversation, which has descriptors of its own.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import kernels
import spaces
from searchd import lines
from searchd.wire import CheckpointRef, Inherited, JobSpec
from workers import compiler, job
from workers.energy import Spent, meter
from workers.kept import KEEP_MB, Kept
from workers.memory import Peak
from workers.pipes import Gone, Pipes
from workers.place import sweep
from workers.tether import die_with
from workers.trial import Request

PINNED = (kernels, spaces)
"""Imported before a user's folder is on the path, whose `kernels/` would else be found first: the finder of an
editable install comes after every folder."""

AHEAD = 32
AHEAD_S = 0.01
"""How far a training function may be ahead of the answers to its reports: so much later does it hear of a stop."""


@dataclass(frozen=True, slots=True)
class ChildOptions:
    """What a child may do: functions and commands allowed, folders searched for functions, where artifacts may lie,
    and how much memory (MiB) the checkpoints of ended jobs may take."""

    allow: tuple[str, ...] = ()
    path: tuple[str, ...] = ()
    artifacts: str | None = None
    keep_mb: int = KEEP_MB

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> ChildOptions:
        """From what JSON made of one."""
        return cls(tuple(given["allow"]), tuple(given["path"]), given["artifacts"], given["keep_mb"])


class SlotLink:
    """The child's end of the conversation with its slot; a trial's `Link`."""

    def __init__(self, pipes: Pipes) -> None:
        self._pipes = pipes
        self._asked: Request | None = None
        self._job: tuple[str, int] | None = None
        self._waiting: list[dict[str, Any]] = []
        self._unanswered = 0
        self._ahead_since = 0.0
        self._spent = Spent(meter())
        self._peak = Peak()
        self._up = True

    def next_job(self) -> JobSpec:
        """The next job; waits for it. Raises Gone when the slot is."""
        self._asked = self._job = None
        self._unanswered = 0  # the answers that are still to come are of the last job, and before the next one
        while True:
            for message in self._waiting or self._pipes.receive(None):
                if message["do"] == "run":
                    self._waiting = []
                    spec = JobSpec.model_validate(message["job"])
                    self._job = (spec.id, spec.attempt)
                    self._spent.joules()  # what was spent before is nobody's
                    self._peak.begin()
                    return spec
            self._waiting = []

    def report(
        self, step: int, metrics: Mapping[str, float], points: Sequence[Mapping[str, Any]], seconds: float,
        checkpoint: CheckpointRef | None, inherited: Inherited | None = None, *, last: bool = False,
    ) -> bool:  # fmt: skip
        """Send a report and wait until the slot has sent it on: its answer may bring a stop. Whether it went up.

        Steps shorter than that round trip do not wait one by one: the function may be ahead of the answers by
        `AHEAD` reports or `AHEAD_S`, whichever is less, and what became of such a report is not known yet (False).
        With a checkpoint, or while the broker is away, every report waits: a checkpoint is removed only once newer
        ones are known to have gone up. Nothing comes after the `last` report of a job: it goes up with the end.
        """
        self._pipes.send({
            "up": "report", "step": step, "metrics": dict(metrics), "points": [dict(p) for p in points],
            "seconds": seconds, "checkpoint": None if checkpoint is None else checkpoint.model_dump(),
            "inherited": None if inherited is None else inherited.model_dump(), "energy_j": self._spent.joules(),
            "peak_bytes": self._peak.bytes(), "last": last,
        })  # fmt: skip
        if last:
            return False
        now = time.monotonic()
        if not self._unanswered:
            self._ahead_since = now
        self._unanswered += 1
        while self._unanswered and (messages := self._pipes.receive(0.0)):
            self._heard(messages)
        quick = seconds < AHEAD_S and now - self._ahead_since < AHEAD_S
        if quick and self._up and checkpoint is None and 0 < self._unanswered < AHEAD:
            return False
        while self._unanswered:
            self._heard(self._pipes.receive(None))
        return self._up

    def request(self) -> Request | None:
        """What the slot asked of this job so far."""
        while self._asked is None and (messages := self._pipes.receive(0.0)):
            self._heard(messages)
        return self._asked

    def note(self, text: str) -> None:
        """Why the job stands still; empty: it goes on."""
        self._pipes.send({"up": "note", "text": text})

    def ended(self, end: job.End, holds: Sequence[str]) -> None:
        """The last word about a job; `holds`: the checkpoints that are in memory now, by SHA-256."""
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        self._pipes.send({
            "up": "ended", "peak_bytes": self._peak.bytes(),
            "outcome": end.outcome, "step": end.step, "reason": end.reason, "error": end.error,
            "checkpoint": None if end.checkpoint is None else end.checkpoint.model_dump(),
            "result": end.result, "seconds": end.seconds, "holds": list(holds),
        })  # fmt: skip

    def _heard(self, messages: list[dict[str, Any]]) -> None:
        """Take note of what came. Requests for other jobs are too late."""
        for message in messages:
            match message["do"]:
                case "ack":
                    self._unanswered = max(0, self._unanswered - message["reports"])
                    self._up = message["up"]
                case "stop" | "halt" if (message["job"], message["attempt"]) == self._job:
                    self._asked = Request(message["do"], message["reason"])
                case "run":
                    self._waiting.append(message)


def main(argv: list[str]) -> int:
    source, sink, parent = (int(a) for a in argv[:3])
    die_with(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C in the terminal is the supervisor's to hand on
    for descriptor in (source, sink):
        os.set_inheritable(descriptor, False)
    faulthandler.enable()
    lines.set_up()
    options = ChildOptions.of(json.loads(argv[3]))
    sys.path.extend(p for p in options.path if p not in sys.path)  # last, and see PINNED: none of ours is shadowed
    link = SlotLink(Pipes(source, sink))
    sweep()
    compiler.put_off()
    kept = Kept(options.keep_mb << 20)
    try:
        while True:
            spec = link.next_job()
            end = job.run(spec, link, options.allow, options.path, options.artifacts, kept)
            link.ended(end, kept.names)
    except Gone:
        return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
