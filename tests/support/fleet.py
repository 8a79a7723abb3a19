"""Real workers for tests: the supervisor as a process, jobs sent as the daemon sends them, messages as they come up."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import psutil

from searchd import wire
from searchd.dispatch import CeleryDispatcher
from searchd.wire import Dispatch, Ended, JobSpec, Report, WorkerInfo
from tests.support.broker import Broker

ROOT = Path(__file__).resolve().parents[2]
TASKS = ROOT / "tests" / "support"
WAIT_S = 40.0
"""How long a step of a test may take on a loaded machine; it takes about a second on a quiet one."""
_count = itertools.count(1)
T = TypeVar("T")


def until(question: Callable[[], T | None], what: str, seconds: float = WAIT_S) -> T:
    """The first answer that is truthy; AssertionError with `what` when there is none in time."""
    deadline = time.monotonic() + seconds
    while True:
        answer = question()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(0.02)


class Fleet:
    """`python -P -m workers` over a broker, with functions of tests/support allowed."""

    def __init__(
        self, broker: Broker, folder: Path, *options: str, slots: int = 1, allow: str = "*", path: Path = TASKS
    ) -> None:
        self.broker = broker
        self.folder = folder
        self.name = f"w{next(_count)}"
        self.log = folder / f"{self.name}.log"
        argv = [
            sys.executable, "-P", "-m", "workers", "--broker", broker.url, "--slots", str(slots), "--name", self.name,
            "--path", str(path), "--allow", allow, "--allow", "command", *options,
        ]  # fmt: skip
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                argv, cwd=folder, stdout=out, stderr=out, env=os.environ | {"PYTHONPATH": str(ROOT)},
                start_new_session=True,
            )  # fmt: skip
        self.redis = broker.client()
        self.dispatcher = CeleryDispatcher(broker.url)
        self.seen: list[Any] = []
        self._after = "0"
        self.processes: set[psutil.Process] = set()

    # jobs

    def job(self, name: str = "slow_count", **fields: Any) -> JobSpec:
        """A training job of a function in tests/support/tasks_for_workers.py."""
        number = next(_count)
        task = fields.pop("task", {"kind": "function", "name": f"tasks_for_workers:{name}", "argv": [], "options": {}})
        given: dict[str, Any] = {
            "id": f"s-{number}-train1", "study": "s", "trial": number, "attempt": 1, "kind": "train", "until": 3,
            "config": {}, "nested": {}, "task": task, "objectives": ("error",), "artifacts": str(self.folder / "art"),
        }  # fmt: skip
        return JobSpec(**(given | fields))

    def send(self, *jobs: JobSpec) -> JobSpec:
        self.dispatcher.publish(Dispatch(id=f"d{next(_count)}", jobs=jobs), "cpu")
        return jobs[0]

    def messages(self, job: str, attempt: int | None = None) -> list[Any]:
        """Everything that came up about a job so far, in order."""
        for _, entries in self.redis.xread({wire.UP: self._after}, count=1000) or []:
            for entry, fields in entries:
                self._after = entry
                self.seen.append(wire.decode(fields["m"]))
        return [m for m in self.seen if m.job == job and attempt in (None, m.attempt)]

    def reports(self, job: str, attempt: int | None = None) -> list[Report]:
        return [m for m in self.messages(job, attempt) if isinstance(m, Report)]

    def ended(self, spec: JobSpec, seconds: float = WAIT_S) -> Ended:
        """The end of this attempt; waits for it."""

        def look() -> Ended | None:
            found = [m for m in self.messages(spec.id, spec.attempt) if isinstance(m, Ended)]
            return found[0] if found else None

        try:
            return until(look, f"the end of {spec.id}", seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log.read_text()[-3000:]}") from None

    def report(self, spec: JobSpec, step: int = 1) -> Report:
        """The report of a step; waits for it."""

        def look() -> Report | None:
            return next((r for r in self.reports(spec.id, spec.attempt) if r.step >= step), None)

        return until(look, f"report {step} of {spec.id}; log: {self.log}")

    # processes

    def info(self, slot: int = 0) -> WorkerInfo | None:
        text = self.redis.hget(wire.worker_key(f"{self.name}-{slot}"), "m")
        return None if text is None else WorkerInfo.model_validate_json(str(text))

    def ready(self, slot: int = 0) -> WorkerInfo:
        """The slot's info once it has a child."""

        def look() -> WorkerInfo | None:
            info = self.info(slot)
            return info if info is not None and info.child_pid else None

        info = until(look, f"slot {slot} of {self.name}; log: {self.log}")
        self.remember()
        return info

    def remember(self) -> set[psutil.Process]:
        """All processes of this fleet, kept so that a test can see them gone."""
        if self.process.poll() is None:
            top = psutil.Process(self.process.pid)
            self.processes |= {top, *top.children(recursive=True)}
        return self.processes

    def left(self) -> list[psutil.Process]:
        """Those that still run."""
        return [p for p in self.processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]

    def gone(self, seconds: float) -> None:
        until(lambda: not self.left(), f"all processes gone, left: {self.left()}", seconds)

    def terminate(self, seconds: float = 12.0) -> int:
        self.remember()
        self.process.terminate()
        return self.process.wait(seconds)

    def __enter__(self) -> Fleet:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remember()
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for process in self.left():
            os.kill(process.pid, signal.SIGKILL)
        self.dispatcher.close()
        self.redis.close()
