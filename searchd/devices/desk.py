"""Registered devices of a daemon: added, removed, shown; and their profile jobs, from the wish to the stored profile.

A profile job belongs to no study: its messages carry `device:NAME` in the study's place, and it lives in the device's
row. It is sent once nothing runs on the device, and while it runs nothing else is sent there (`holds`). What is lost is
sent again with a new attempt, as every job is.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from searchd.devices.asking import ARCHITECTURES, asked
from searchd.devices.profile import KEYS, profile_of
from searchd.devices.shown import shown
from searchd.dispatch import Dispatcher
from searchd.errors import NotFound, Refused, SearchdError
from searchd.store.base import DeviceRow, JobRow, Store
from searchd.transport import Transport, Up
from searchd.wire import Dispatch, Ended, JobSpec, WorkerInfo
from spaces.study import Study

log = logging.getLogger("searchd.daemon")

PREFIX = "device:"
"""In the place of a study in the messages of a profile job."""
WAITS: frozenset[str] = frozenset({"waiting", "sent", "running"})
ATTEMPTS = 3
CLAIM_S = 30.0
RUNTIMES = ("onnxruntime", "torch", "torch-cuda")


class Devices:
    """The devices of one store. `ticks` are monotonic seconds, `now` Unix seconds: the loop gives both."""

    def __init__(self, store: Store, transport: Transport, dispatcher: Dispatcher, root: str, lease_s: float) -> None:
        self._store = store
        self._transport = transport
        self._dispatcher = dispatcher
        self._root = root
        self._lease_s = lease_s
        self._heard: dict[str, float] = {}
        self._workers: tuple[WorkerInfo, ...] = ()
        with store.reading() as reader:
            self._rows = {row.name: row for row in reader.devices()}

    # ------------------------------------------------------------ commands
    def add(self, name: str, runtime: str | None, now: float) -> dict[str, Any]:
        """Register what the workers of this class measure on. Refused while none of them lives."""
        info = next((w for w in self._live(name) if w.facts), None)
        if info is None:
            raise Refused(f"no live worker serves {name!r}: start one (`searchd worker --device {name} --broker URL`, "
                          f"or `--device {name}=cuda:0`), then add the device")  # fmt: skip
        row = registered(name, info.facts, info.device, runtime, self._rows.get(name), now)
        self._put(row)
        return shown(row, self._live(name))

    def remove(self, name: str) -> None:
        """Forget a device and its profile. Refused while it is being profiled."""
        row = self._row(name)
        if _state(row) in WAITS:
            raise Refused(f"device {name!r} is being profiled: remove it once that has ended")
        with self._store.transaction() as tx:
            tx.drop_device(name)
        del self._rows[name]

    def profile(self, name: str, spec: Mapping[str, Any], architectures: int | None, now: float) -> dict[str, Any]:
        """Ask for a profile of the operators of a study; it is sent when the device is free."""
        row = self._row(name)
        if _state(row) in WAITS:
            raise Refused(f"device {name!r} is being profiled already: `searchd device show {name}` says how far it is")
        if not self._live(name):
            raise Refused(f"device {name!r} is gone: no live worker serves it; start one (`searchd worker --device "
                          f"{name} --broker URL`), then profile")  # fmt: skip
        study = Study.parse(dict(spec))
        request = asked(study, architectures or ARCHITECTURES, runtime=row.runtime)
        job = f"{PREFIX}{name}-{round(now * 1000)}"
        self._set(row, {"status": "waiting", "job": job, "attempt": 0, "study": study.name, "since": now, "error": "",
                        "task": study.task.model_dump(mode="json"), "request": request})  # fmt: skip
        return shown(self._rows[name], self._live(name))

    # ------------------------------------------------------------ rounds
    def holds(self, device_class: str) -> bool:
        """Whether nothing else may be sent to the device: it is, or is to be, measured alone."""
        row = self._rows.get(device_class)
        return row is not None and _state(row) in WAITS

    def heard(self, messages: Sequence[Up], jobs: Sequence[JobRow], tick: float, now: float) -> None:
        """Messages of profile jobs. `jobs`: all that are in flight."""
        for message in messages:
            row = self._rows.get(message.study.removeprefix(PREFIX))
            said = None if row is None else row.profiling
            if row is None or not said or (message.job, message.attempt) != (said["job"], said["attempt"]):
                log.info("ignored: %s of profile job %s attempt %d", message.kind, message.job, message.attempt)
                continue
            if _state(row) not in WAITS:
                continue
            self._heard[row.name] = tick
            if isinstance(message, Ended):
                self._ended(row, message, jobs, now)
            elif _state(row) == "sent":
                self._set(row, {**said, "status": "running", "worker": message.worker})

    def look(self, workers: Sequence[WorkerInfo], jobs: Sequence[JobRow], tick: float, now: float) -> None:
        """Take the signs of life: what has changed on a device; and send, or send again, what waits."""
        self._workers = tuple(workers)
        for name in list(self._rows):
            self._note(self._rows[name])
            row = self._rows[name]
            if _state(row) not in WAITS:
                continue
            if _state(row) == "waiting":
                classes = {w.name: w.device_class for w in workers}
                if not any(_class_of(self._store, job, classes) == row.name for job in jobs) and self._live(row.name):
                    self._send(row, tick)
                elif not self._live(row.name) and self._silent(row.name, tick, CLAIM_S):
                    self._fail(row, "no live worker serves it any more", now)
            elif self._silent(row.name, tick, CLAIM_S if _state(row) == "sent" else self._lease_s):
                self._lost(row, "no sign of life", tick, now)

    # ------------------------------------------------------------ inside
    def _send(self, row: DeviceRow, tick: float) -> None:
        said = dict(row.profiling or {})
        attempt = int(said["attempt"]) + 1
        spec = JobSpec(
            id=said["job"], study=f"{PREFIX}{row.name}", trial=0, attempt=attempt, kind="measure", config={},
            task=said["task"], artifacts=self._root, runtime=row.runtime,
            profile={**said["request"], "architectures": [
                {"nested": a["nested"], "exit": a["exit"]} for a in said["request"]["architectures"]
            ]},
        )  # fmt: skip
        self._set(row, {**said, "status": "sent", "attempt": attempt})
        self._heard[row.name] = tick
        self._dispatcher.publish(Dispatch(id=f"{spec.id}@{attempt}", jobs=(spec,)), row.name)

    def _ended(self, row: DeviceRow, message: Ended, jobs: Sequence[JobRow], now: float) -> None:
        said = dict(row.profiling or {})
        if message.outcome == "lost":
            self._lost(row, message.reason, self._heard[row.name], now)
            return
        if message.outcome != "finished":
            self._fail(row, f"{message.reason}: {message.error}".strip(": "), now)
            return
        result = dict(message.result or {})
        alone = not any(job.status == "running" for job in jobs)
        try:
            profile = profile_of(said["study"], said["task"]["kind"], said["request"], result, row.facts, alone=alone,
                                 at=now)  # fmt: skip
        except SearchdError as error:
            self._fail(row, str(error), now)
            return
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            self._fail(row, f"the worker brought no table of operators: {type(error).__name__}: {error}", now)
            return
        done = {k: said[k] for k in ("job", "attempt", "study", "since")}
        fresh = dataclasses.replace(row, profile=profile, profiling={**done, "status": "done", "error": "", "at": now})
        self._put(fresh)
        log.info("device %s: profiled for study %s", row.name, said["study"])

    def _lost(self, row: DeviceRow, reason: str, tick: float, now: float) -> None:
        said = dict(row.profiling or {})
        if said["attempt"] >= ATTEMPTS:
            self._fail(row, f"lost {ATTEMPTS} times, at last: {reason}", now)
            return
        log.warning("device %s: attempt %d of its profile was lost (%s)", row.name, said["attempt"], reason)
        self._set(row, {**said, "status": "waiting"})
        self._heard[row.name] = tick

    def _fail(self, row: DeviceRow, why: str, now: float) -> None:
        log.warning("device %s: its profile failed: %s", row.name, why)
        said = {k: v for k, v in (row.profiling or {}).items() if k not in ("request", "task")}
        self._set(row, {**said, "status": "failed", "error": why, "at": now})

    def _note(self, row: DeviceRow) -> None:
        """A worker may say other facts than before: a driver was updated, clocks were locked."""
        info = next((w for w in self._live(row.name) if w.facts), None)
        if info is None:
            return
        facts = _facts(info.facts, row.runtime)
        if facts != dict(row.facts):
            log.info("device %s: %s was %s", row.name, facts, dict(row.facts))
            self._put(dataclasses.replace(row, facts=facts))

    def _silent(self, name: str, tick: float, limit_s: float) -> bool:
        return tick - self._heard.setdefault(name, tick) >= limit_s

    def live(self, name: str) -> tuple[WorkerInfo, ...]:
        """The live worker slots of a device."""
        return self._live(name)

    def _live(self, name: str) -> tuple[WorkerInfo, ...]:
        known = self._workers or tuple(self._transport.workers())
        return tuple(w for w in known if w.device_class == name and w.state != "stopping")

    def _row(self, name: str) -> DeviceRow:
        if name not in self._rows:
            there = ", ".join(self._rows) or "none yet"
            raise NotFound(f"no device {name!r}; there are: {there}; `searchd device add {name}` registers one")
        return self._rows[name]

    def _set(self, row: DeviceRow, profiling: Mapping[str, Any]) -> None:
        self._put(dataclasses.replace(row, profiling=profiling))

    def _put(self, row: DeviceRow) -> None:
        """Only this loop's thread writes; an engine may have taught the profile since (`searchd.engine.refitting`)."""
        with self._store.transaction() as tx:
            known = tx.device(row.name)
            theirs, ours = None if known is None else known.profile, row.profile
            if theirs is not None and ours is not None and theirs["at"] == ours["at"]:
                row = dataclasses.replace(row, profile=theirs)
            tx.put_device(row)
        self._rows[row.name] = row


def registered(
    name: str, said: Mapping[str, str], identity: str, runtime: str | None, known: DeviceRow | None, now: float
) -> DeviceRow:
    """The row of a device by what a worker (or this machine, asked by `workers.facts`) says of it. Refused for a
    runtime that there is not. A device that is known keeps its profile, unless the runtime is another."""
    chosen = runtime or (known.runtime if known is not None else said["runtime"].partition(" ")[0])
    if chosen not in RUNTIMES:
        raise Refused(f"no runtime {chosen!r}: a device is measured by {', '.join(RUNTIMES)}")
    facts = _facts(said, chosen)
    if facts["runtime"].startswith("no "):
        raise Refused(f"the worker of {name!r} has {facts['runtime']}: install it there, or another --runtime")
    parts = identity.split(" · ")
    named = " · ".join([*parts[:2], facts["runtime"], *parts[3:]]) if len(parts) == 4 else identity
    keeps = known is not None and known.runtime == chosen
    return DeviceRow(name, named, chosen, facts, known.profile if known and keeps else None,
                     known.profiling if known and keeps else None, known.added_at if known else now)  # fmt: skip


def _facts(said: Mapping[str, str], runtime: str) -> dict[str, str]:
    return {**{k: said.get(k, "unknown") for k in KEYS}, "runtime": said.get(runtime, said.get("runtime", "unknown"))}


def _state(row: DeviceRow) -> str:
    return str((row.profiling or {}).get("status", ""))


def _class_of(store: Store, job: JobRow, classes: Mapping[str, str]) -> str:
    """The device class that a job in flight is for: that of its worker, or what its study asks for."""
    if job.worker in classes:
        return classes[job.worker]
    with store.reading() as reader:
        study = reader.study(job.study)
    return "" if study is None else str(study.spec["device"])
