"""One job between a slot's child and the broker: from `run` down to the one `Ended` that goes up."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from searchd.wire import OOM, SHUT_DOWN, TIME_LIMIT, Beat, CheckpointRef, Ended, JobSpec, Outcome, Report
from workers.memory import MIB, resident, tree
from workers.uplink import Superseded, Uplink
from workers.warm import Warm

log = logging.getLogger("searchd.worker")

LOOK_S = 0.2
LAST_S = 0.01
"""How long the last report of a job waits for the end, which most often follows at once: one round for both."""
SUPERSEDED = "given to another worker"
WEIGH_S = 0.5
"""How often the memory of a job's processes is looked at."""
MOST_PROCESSES = 512
STOP_GRACES = 6
"""So many times the grace of a shutdown a job that was asked to stop gets for its next report."""


def who(spec: JobSpec, worker: str) -> dict[str, Any]:
    """The fields that every message about a job has."""
    return {"study": spec.study, "job": spec.id, "trial": spec.trial, "attempt": spec.attempt, "worker": worker}


class Relay:
    """Reports and beats up, stop requests down. `shutting`: whether this worker goes away; the job then gets `grace_s`
    for its last checkpoint. `most_bytes`: what its processes may hold together, 0: no limit."""

    def __init__(
        self, spec: JobSpec, warm: Warm, uplink: Uplink, worker: str, *, beat_s: float, grace_s: float,
        shutting: Callable[[], bool], noted: Callable[[str], None] = log.info, most_bytes: int = 0,
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
        self._stop_by: float | None = None
        self._most_bytes = most_bytes
        self._weigh_at = self._began + WEIGH_S
        self._peak: int | None = None
        self._leaving = ""

    def begin(self) -> None:
        """Hand the job to the child."""
        self._warm.send({"do": "run", "job": self._spec.model_dump(mode="json")})

    def to_the_end(self) -> Ended:
        """Relay until the child says the end, dies, or is killed for its time."""
        while True:
            messages = self._warm.receive(LOOK_S)
            if messages is None:
                fault, how = self._warm.death()
                return self._end("failed" if fault else "lost", how)
            if any(message.get("last") for message in messages) and messages[-1]["up"] != "ended":
                messages += self._warm.receive(LAST_S) or ()
            of_kind: dict[str, list[dict[str, Any]]] = {"report": [], "note": [], "ended": []}
            for message in messages:
                of_kind[message["up"]].append(message)
            for note in of_kind["note"]:
                self._noted(note["text"])
            self._report(of_kind["report"], over=bool(of_kind["ended"]))
            for said in of_kind["ended"]:
                return self._said(said)
            if (ended := self._look_at_the_clock(time.monotonic())) is not None:
                return ended

    def _look_at_the_clock(self, now: float) -> Ended | None:
        """Beat; and the ends that the slot decides: time limit, shutdown, a stop of what cannot be asked."""
        limit = self._limit_s
        if now >= self._beat_at:
            self._heed(self._uplink.send(Beat(**self._who)))
            self._beat_at = now + self._beat_s
        if limit is not None and now - self._began > limit:
            return self._killed("failed", TIME_LIMIT, f"the job ran longer than its limit of {limit:g} s")
        if self._shutting():
            self._leave(SHUT_DOWN)
        if self._kill_at is not None and now > self._kill_at:
            return self._killed("lost", self._leaving)
        if self._asked is not None and self._spec.kind != "train":
            return self._killed("stopped", self._asked)
        if self._asked is not None and self._stop_by is not None and now > self._stop_by:
            return self._killed("stopped", self._asked)
        return self._weigh(now)

    def _weigh(self, now: float) -> Ended | None:
        """The memory that the job's processes hold, and how many there are."""
        pid = self._warm.pid
        if now < self._weigh_at or pid is None:
            return None
        self._weigh_at = now + WEIGH_S
        pids = tree(pid)
        held = resident(pids)
        if len(pids) > MOST_PROCESSES:
            return self._killed("failed", "crashed: too many processes",
                                f"the job had more than {MOST_PROCESSES} processes")  # fmt: skip
        if self._most_bytes and held > self._most_bytes:
            return self._killed("failed", OOM, f"the job's processes held {held // MIB} MiB, more than the "
                                f"{self._most_bytes // MIB} MiB of this worker (--memory)")  # fmt: skip
        return None

    def _report(self, messages: list[dict[str, Any]], over: bool) -> None:
        """Reports of the child go up; the stop key comes back in the same round trip, and then the child goes on.
        Where the job is `over`, they wait for its end, which is sent next."""
        if not messages:
            return
        reports = [
            Report(
                **self._who, step=message["step"], metrics=message["metrics"], points=message["points"],
                seconds=message["seconds"], checkpoint=message["checkpoint"], inherited=message["inherited"],
                energy_j=message.get("energy_j"), peak_bytes=message.get("peak_bytes"),
            )
            for message in messages
        ]  # fmt: skip
        for report in reports:
            self._step = report.step
            self._checkpoint = report.checkpoint or self._checkpoint
            self._peak = report.peak_bytes or self._peak
        if over:
            self._uplink.hold(*reports)
            return
        self._heed(self._uplink.send(*reports))
        up = not self._uplink.waits and self._leaving != SUPERSEDED
        self._warm.send({"do": "ack", "reports": len(reports), "up": up})

    def _heed(self, reason: str | None) -> None:
        """Hand a stop request down, once; let go of what another worker has by now."""
        if isinstance(reason, Superseded):
            self._leave(SUPERSEDED)
        elif reason is not None and self._asked is None:
            self._asked = reason
            self._stop_by = time.monotonic() + STOP_GRACES * self._grace_s
            self._ask("stop", reason)

    def _leave(self, reason: str) -> None:
        """The job goes elsewhere: it gets `grace_s` for its last checkpoint."""
        if self._kill_at is None:
            self._leaving = reason
            self._kill_at = time.monotonic() + self._grace_s
            self._ask("halt", reason)

    def _ask(self, what: str, reason: str) -> None:
        self._warm.send({"do": what, "job": self._spec.id, "attempt": self._spec.attempt, "reason": reason})

    def _said(self, message: dict[str, Any]) -> Ended:
        self._warm.holds = tuple(message["holds"])
        fields = {k: message[k] for k in ("outcome", "step", "reason", "error", "checkpoint", "result", "seconds")}
        return Ended(**self._who, **fields, peak_bytes=message.get("peak_bytes"))

    def _killed(self, outcome: Outcome, reason: str, error: str = "") -> Ended:
        self._warm.end()
        return self._end(outcome, reason, error)

    def _end(self, outcome: Outcome, reason: str, error: str = "") -> Ended:
        """An end that the slot says for the child, with the newest checkpoint that went up."""
        return Ended(
            **self._who, outcome=outcome, reason=reason, error=error, step=self._step, checkpoint=self._checkpoint,
            peak_bytes=self._peak, seconds=time.monotonic() - self._began,
        )  # fmt: skip
