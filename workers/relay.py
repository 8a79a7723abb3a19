"""One job between a slot's child and the broker: from `run` down to the one `Ended` that goes up."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from searchd.wire import Beat, CheckpointRef, Ended, JobSpec, Outcome, Report
from workers.uplink import Uplink
from workers.warm import Warm

log = logging.getLogger("searchd.worker")

LOOK_S = 0.2
SHUT_DOWN = "worker shut down"


def who(spec: JobSpec, worker: str) -> dict[str, Any]:
    """The fields that every message about a job has."""
    return {"study": spec.study, "job": spec.id, "trial": spec.trial, "attempt": spec.attempt, "worker": worker}


class Relay:
    """Reports and beats up, stop requests down. `shutting`: whether this worker goes away; the job then gets `grace_s`
    for its last checkpoint."""

    def __init__(
        self, spec: JobSpec, warm: Warm, uplink: Uplink, worker: str, *, beat_s: float, grace_s: float,
        shutting: Callable[[], bool], noted: Callable[[str], None] = log.info,
    ) -> None:  # fmt: skip
        self._spec = spec
        self._warm = warm
        self._uplink = uplink
        self._who = who(spec, worker)
        self._beat_s = beat_s
        self._grace_s = grace_s
        self._shutting = shutting
        self._noted = noted
        limit = spec.time_limit_s or (spec.task.get("options") or {}).get("time_limit_s")
        self._limit_s = None if limit is None else float(limit)
        self._step = spec.since
        self._checkpoint: CheckpointRef | None = None
        self._asked: str | None = None
        self._began = time.monotonic()
        self._beat_at = self._began + beat_s
        self._kill_at: float | None = None

    def to_the_end(self) -> Ended:
        """Relay until the child says the end, dies, or is killed for its time."""
        self._warm.send({"do": "run", "job": self._spec.model_dump(mode="json")})
        while True:
            messages = self._warm.receive(LOOK_S)
            if messages is None:
                fault, how = self._warm.death()
                return self._end("failed" if fault else "lost", how)
            for message in messages:
                if message["up"] == "ended":
                    return self._said(message)
                if message["up"] == "note":
                    self._noted(message["text"])
                else:
                    self._report(message)
            if (ended := self._look_at_the_clock(time.monotonic())) is not None:
                return ended

    def _look_at_the_clock(self, now: float) -> Ended | None:
        """Beat; and the ends that the slot decides: time limit, shutdown, a stop of what cannot be asked."""
        limit = self._limit_s
        if now >= self._beat_at:
            self._heed(self._uplink.send(Beat(**self._who)))
            self._beat_at = now + self._beat_s
        if limit is not None and now - self._began > limit:
            return self._killed("failed", "time limit", f"the job ran longer than its limit of {limit:g} s")
        if self._shutting() and self._kill_at is None:
            self._kill_at = now + self._grace_s
            self._ask("halt", SHUT_DOWN)
        if self._kill_at is not None and now > self._kill_at:
            return self._killed("lost", SHUT_DOWN)
        if self._asked is not None and self._spec.kind != "train":
            return self._killed("stopped", self._asked)
        return None

    def _report(self, message: dict[str, Any]) -> None:
        """A report of the child goes up; the stop key comes back in the same round trip, and then the child goes on."""
        report = Report(
            **self._who, step=message["step"], metrics=message["metrics"], points=message["points"],
            seconds=message["seconds"], checkpoint=message["checkpoint"], inherited=message["inherited"],
            energy_j=message.get("energy_j"),
        )  # fmt: skip
        self._step = report.step
        self._checkpoint = report.checkpoint or self._checkpoint
        self._heed(self._uplink.send(report))
        self._warm.send({"do": "ack"})

    def _heed(self, reason: str | None) -> None:
        """Hand a stop request down, once."""
        if reason is not None and self._asked is None:
            self._asked = reason
            self._ask("stop", reason)

    def _ask(self, what: str, reason: str) -> None:
        self._warm.send({"do": what, "job": self._spec.id, "attempt": self._spec.attempt, "reason": reason})

    def _said(self, message: dict[str, Any]) -> Ended:
        self._warm.holds = tuple(message["holds"])
        fields = {k: message[k] for k in ("outcome", "step", "reason", "error", "checkpoint", "result", "seconds")}
        return Ended(**self._who, **fields)

    def _killed(self, outcome: Outcome, reason: str, error: str = "") -> Ended:
        self._warm.end()
        return self._end(outcome, reason, error)

    def _end(self, outcome: Outcome, reason: str, error: str = "") -> Ended:
        """An end that the slot says for the child, with the newest checkpoint that went up."""
        return Ended(
            **self._who, outcome=outcome, reason=reason, error=error, step=self._step, checkpoint=self._checkpoint,
            seconds=time.monotonic() - self._began,
        )  # fmt: skip
