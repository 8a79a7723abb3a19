"""A whole service in one process, for the engine's tests: a real SQLite store, the memory transport, scripted workers.

The workers speak through messages only, as real ones do; what they train is a formula of the config and the step.
`Faults` crashes the daemon at a named point; `World.restart` is what its supervisor does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from searchd.dispatch import MemoryDispatcher
from searchd.loop import Loop
from searchd.replay import ReplayReport, replay
from searchd.store import open_store
from searchd.store.base import Store
from searchd.transport.memory import MemoryBroker, MemoryTransport
from searchd.wire import (
    Beat,
    Begun,
    CheckpointRef,
    Dispatch,
    Ended,
    JobSpec,
    Report,
    WorkerInfo,
    held,
    own_queue,
    queue,
)

POINTS = ("before commit", "after commit", "before publish", "after publish", "before acknowledge")
DEVICE = "cpu: scripted"


class Crash(BaseException):
    """The daemon's process ends here; no `except Exception` sees it."""


@dataclass
class Faults:
    """Crashes at the n-th passing of a point; counts the passings."""

    point: str = ""
    after: int = 0
    passed: dict[str, int] = field(default_factory=dict)

    def arm(self, point: str, after: int = 0) -> None:
        self.point, self.after = point, after

    def passing(self, point: str) -> None:
        self.passed[point] = self.passed.get(point, 0) + 1
        if point != self.point:
            return
        if self.after == 0:
            self.point = ""
            raise Crash(point)
        self.after -= 1


class FaultyStore:
    """A store that can crash just before and just after each commit."""

    def __init__(self, store: Store, faults: Faults) -> None:
        self.inner = store
        self.faults = faults

    @contextmanager
    def transaction(self) -> Iterator[Any]:
        with self.inner.transaction() as tx:
            yield tx
            self.faults.passing("before commit")
        self.faults.passing("after commit")

    @property
    def moved(self) -> int:
        return self.inner.moved

    def reading(self) -> Any:
        return self.inner.reading()

    def close(self) -> None:
        self.inner.close()


class FaultyTransport(MemoryTransport):
    """The memory transport that can crash before an acknowledgement."""

    def __init__(self, broker: MemoryBroker, faults: Faults) -> None:
        self.faults = faults
        super().__init__(broker)

    def acknowledge(self, ids: Iterable[str]) -> None:
        listed = list(ids)
        if listed:
            self.faults.passing("before acknowledge")
        super().acknowledge(listed)


class FaultyDispatcher(MemoryDispatcher):
    """Hands dispatches to the workers' queue; can crash before and after each."""

    def __init__(self, fleet: Fleet, faults: Faults) -> None:
        super().__init__(lambda dispatch, at: fleet.take(dispatch, at))  # noqa: PLW0108 - tests replace take
        self.faults = faults

    def publish(self, dispatch: Dispatch, device_class: str, worker: str = "") -> None:
        self.faults.passing("before publish")
        super().publish(dispatch, device_class, worker)
        self.faults.passing("after publish")


def loss(config: dict[str, Any], step: int) -> float:
    """What the scripted training reports: better with more steps, best at x = 0.3."""
    return float((config["x"] - 0.3) ** 2 + 1.0 / (1 + step))


def n_exits(config: dict[str, Any]) -> int:
    """The exits of a network of one or two blocks: the last, and the one after block 0 when it is chosen."""
    return 1 + int(config["depth"] == 2 and 0 in config["exits"])


class Worker:
    """One slot: takes a job from its own queue or its class's when it has none, then does one thing a call.

    It holds the checkpoints that its last jobs ended with, and says so. `refuses`: why it does no job of the study
    `whose`, or of any.
    """

    def __init__(self, fleet: Fleet, name: str) -> None:
        self.fleet = fleet
        self.name = name
        self.job: JobSpec | None = None
        self.step = 0
        self.refuses = ""
        self.whose = ""
        self.own: list[JobSpec] = []
        self.holds: tuple[str, ...] = ()
        self.warm: list[str] = []
        self.says: dict[str, Any] = {}

    def work(self) -> bool:
        """Begin a job, train one step, or end; False when there was nothing to do."""
        if self.job is None:
            return self._begin()
        broker, job = self.fleet.broker, self.job
        if self.refuses and job.study.startswith(self.whose):
            self._end("failed", reason="refused", error=self.refuses)
        elif job.kind == "measure":
            exits = n_exits(job.config)
            result = {"cumulative_ms": [1.0, 2.0][-exits:], "p95_ms": [1.5, 2.5][-exits:], "device": DEVICE,
                      "kernel_bits": [32]}  # fmt: skip
            self._end("finished", result=result)
        elif job.kind == "describe":
            self._end("finished", result=self.fleet.description(job))
        elif job.kind == "export":
            found = {"test_error": 5.0, "latency_ms": 1.25}
            points = [{**{n: p[n] for n in ("point", "subnet") if n in p}, "metrics": found} for p in job.points]
            self._end("finished", result={"points": points, "files": ["model.onnx"], "cumulative_ms": [1.0, 2.0]})
        elif broker.stop_reason(job.id) is not None:
            self._end("stopped", reason=broker.stop_reason(job.id) or "")
        elif self.step >= job.until:
            self._end("finished")
        else:
            self._train()
        return True

    def die(self) -> None:
        """Nothing more comes of the job; a new process has the same name."""
        self.job = None
        self.holds = ()

    def _begin(self) -> bool:
        while queue := self.own or self.fleet.queue:
            job = queue.pop(0)
            self.fleet.dispatched.append(job)
            if self.fleet.broker.claim(job.id, job.attempt):
                self.job, self.step = job, job.since
                warm = job.checkpoint is not None and held(job.checkpoint.sha256) in self.holds
                if warm:
                    self.warm.append(job.id)
                self._up(Begun, device=DEVICE, warm=warm)
                return True
        return False

    def _train(self) -> None:
        assert self.job is not None
        self.step += 1
        metrics, points = self.fleet.metrics(self.job, self.step)
        seen = self.fleet.trained
        seen[self.job.trial, self.step] = seen.get((self.job.trial, self.step), 0) + 1
        self._up(Report, step=self.step, metrics=metrics, points=points, checkpoint=self._checkpoint(),
                 seconds=self.fleet.step_s)  # fmt: skip

    def _checkpoint(self) -> CheckpointRef | None:
        assert self.job is not None
        if not self.fleet.checkpoints or (self.step % self.fleet.save_every and self.step != self.job.until):
            return None
        path = f"trials/{self.job.trial}/ckpt-{self.step}-a{self.job.attempt}.safetensors"
        return CheckpointRef(step=self.step, path=path, sha256=sha256(path.encode()).hexdigest(), bytes=10)

    def _end(self, outcome: Any, **more: Any) -> None:
        assert self.job is not None
        kept = self._checkpoint() if outcome == "finished" and self.job.kind == "train" else None
        if kept is not None:
            self.holds = (*self.holds, held(kept.sha256))[-8:]
        self._up(Ended, outcome=outcome, step=self.step, checkpoint=kept, holds=self.holds, **more)
        self.job = None

    def _up(self, kind: Any, **more: Any) -> None:
        assert self.job is not None
        job = self.job
        message = kind(study=job.study, job=job.id, trial=job.trial, attempt=job.attempt, worker=self.name, **more)
        self.fleet.send(message)

    def beat(self) -> None:
        state = "idle" if self.job is None else "busy"
        info = WorkerInfo(name=self.name, device_class="cpu", device=DEVICE, host="here", pid=1, state=state,
                          job=None if self.job is None else self.job.id, holds=self.holds)  # fmt: skip
        self.fleet.broker.alive(info.model_copy(update=self.says))
        if self.job is not None:
            self._up(Beat)


class Fleet:
    """The workers' queue and slots. `trained`: how often each (trial, step) was computed."""

    def __init__(self, broker: MemoryBroker, slots: int) -> None:
        self.broker = broker
        self.queue: list[JobSpec] = []
        self.dispatched: list[JobSpec] = []
        self.sent: list[Any] = []
        self.trained: dict[tuple[int, int], int] = {}
        self.save_every = 2
        self.step_s = 0.0
        self.checkpoints = True
        self.drop = 0
        self.workers = [Worker(self, f"w{i}") for i in range(slots)]

    def metrics(self, job: JobSpec, step: int) -> tuple[dict[str, float], tuple[dict[str, Any], ...]]:
        if "function" in str(job.task):
            return {"loss": loss(job.config, step)}, ()
        error = 200 / job.config["width"] + 10 / step
        if n_exits(job.config) == 1:
            return {"val_error": error}, ({"threshold": 1.0, "val_error": error, "exit_rates": [1.0]},)
        points = (
            {"threshold": 0.5, "val_error": error + 1, "exit_rates": [0.5, 0.5]},
            {"threshold": 1.0, "val_error": error, "exit_rates": [0.0, 1.0]},
        )
        return {"val_error": error}, points

    def description(self, job: JobSpec) -> dict[str, Any]:
        """What the scripted task says of a config; it will not have k = 4."""
        if job.config["k"] == 4:
            return {"metrics": {"size": 40.0}, "veto": "four is too many"}
        return {"metrics": {"size": 10.0 * job.config["k"]}}

    def take(self, dispatch: Dispatch, at: str) -> None:
        if at == queue("cpu"):
            self.queue += dispatch.jobs
            return
        (worker,) = [w for w in self.workers if at == own_queue(w.name)]
        worker.own += dispatch.jobs

    def send(self, message: Any) -> None:
        if self.drop > 0 and not isinstance(message, Beat):
            self.drop -= 1
            return
        self.sent.append(message)
        self.broker.push(message)

    def beat(self) -> None:
        for worker in self.workers:
            worker.beat()


class World:
    """Store, broker, workers and a daemon's loop on one clock that only `tick` moves."""

    def __init__(self, folder: Path, slots: int = 2) -> None:
        self.time = 1000.0
        self.folder = folder
        self.faults = Faults()
        self.store = FaultyStore(open_store(f"sqlite:///{folder / 'study.db'}"), self.faults)
        self.broker = MemoryBroker(clock=lambda: self.time)
        self.fleet = Fleet(self.broker, slots)
        self.crashes = 0
        self.loop = self._loop()

    def _loop(self) -> Loop:
        return Loop(
            self.store, FaultyTransport(self.broker, self.faults), FaultyDispatcher(self.fleet, self.faults),
            root=str(self.folder), clock=lambda: self.time, ticks=lambda: self.time,
        )  # fmt: skip

    def close(self) -> None:
        self.store.close()

    def restart(self) -> None:
        """A new daemon on the same store and broker; one that crashes while it starts is followed by the next."""
        while True:
            try:
                self.loop = self._loop()
                return
            except Crash:
                self.crashes += 1

    def round(self) -> None:
        """One round of the daemon; a crash in it is followed by a restart."""
        try:
            self.loop.round(block_s=0.0)
        except Crash:
            self.crashes += 1
            self.restart()

    def tick(self, seconds: float, *, beat: bool = True) -> None:
        self.time += seconds
        if beat:
            self.fleet.beat()

    def submit(self, spec: dict[str, Any]) -> str:
        return self.loop.submit(spec, ".")

    def run(self, study: str, limit: int = 4000) -> str:
        """Everything works until the study has ended; its status."""
        for _ in range(limit):
            self.tick(1.0)
            self.round()
            for worker in self.fleet.workers:
                worker.work()
            with self.store.reading() as reader:
                status = reader.study(study).status
            if status in ("done", "stopped", "faulted"):
                return str(status)
        raise AssertionError(f"{study} did not end: {self.describe(study)}")

    def describe(self, study: str) -> str:
        with self.store.reading() as reader:
            row = reader.study(study)
            jobs = [(j.id, j.attempt, j.status) for j in reader.jobs(study, ("outbox", "queued", "running"))]
        return f"{row.status} ({row.status_reason}); in flight: {jobs}; queue: {[j.id for j in self.fleet.queue]}"

    # ------------------------------------------------------------ what a test asks
    def replay(self, study: str) -> ReplayReport:
        with self.store.reading() as reader:
            return replay(reader, study)

    def events(self, study: str, kind: str | None = None) -> list[Any]:
        with self.store.reading() as reader:
            return [e for e in reader.events(study) if kind is None or e.kind == kind]

    def asked(self, study: str) -> list[tuple[Any, ...]]:
        """The jobs that the search gave, in order: (trial, kind, since, until)."""
        return [
            (e.payload["trial"], e.payload["kind"], e.payload["since"], e.payload["until"])
            for e in self.events(study, "asked")
            if e.payload["answer"] == "job"
        ]

    def check(self, study: str, *, complete: bool = True) -> None:
        """What holds for every ended study, whatever happened to it on the way.

        `complete`: no message was lost for good (a real broker loses none), so that every step has its report.
        """
        report = self.replay(study)
        assert report.equal, str(report.differences)
        told: dict[tuple[Any, ...], int] = {}
        for event in self.events(study):
            if event.payload.get("event") in ("reported", "finished"):
                key = (event.payload["event"], event.payload["trial"], event.payload["step"])
                told[key] = told.get(key, 0) + 1
        assert all(count == 1 for count in told.values()), told
        with self.store.reading() as reader:
            for row in reader.reports(study):
                config = reader.trial(study, row.trial).config
                if "loss" in row.metrics:
                    assert row.metrics["loss"] == loss(config, row.step)
            for trial in reader.trials(study):
                steps = [r.step for r in reader.reports(study, trial.trial)]
                assert not complete or steps == list(range(1, trial.step + 1)), (trial.trial, trial.step, steps)
                assert steps == [] if trial.step == 0 else steps[-1] == trial.step
            assert not reader.jobs(study, ("outbox", "queued", "running"))


def spec(**changes: Any) -> dict[str, Any]:
    """A small study of a user's function: asynchronous successive halving over one float."""
    base: dict[str, Any] = {
        "study": "toy",
        "space": {"x": {"float": [0, 1]}, "k": {"int": [1, 4]}},
        "objectives": {"loss": "minimize"},
        "search": {"scheduler": "asha", "searcher": "random", "r": 1, "R": 9, "eta": 3},
        "budget": {"trials": 9},
        "task": {"function": "toys.train:train"},
        "seed": 3,
    }
    return {**base, **changes}
