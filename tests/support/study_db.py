"""A realistic study in a real store: about 40 trials on rungs 1, 3, 9, 27, with points, jobs, events and files.

    written = write_study(folder, name="digits")             # ended, its front verified, files below artifacts/
    written = write_study(folder, name="digits", upto=60)    # still running after 60 happenings ...
    written.play(5)                                          # ... and it goes on

The course of it is a small asynchronous successive halving over made-up networks, the same for the same seed; the
rows and events are what the engine writes (`searchd.log`), put there through the store's own contract. A search is
not replayable from it: its configs come from here and not from a searcher.
"""

from __future__ import annotations

import heapq
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from searchd.store import open_store
from searchd.store.base import CheckpointRow, JobRow, PointRow, ReportRow, Store, StudyRow, Transaction, TrialRow

RUNGS = (1, 3, 9, 27)
ETA = 3
DEVICE = "cpu/Example CPU/onnxruntime 1.32"
ERROR = 'Traceback (most recent call last):\n  File "classify.py", line 88, in train\nMemoryError: 1.2 GB asked for'

SPEC: dict[str, Any] = {
    "space": {
        "width": {"int": [8, 32], "log": True},
        "depth": {"int": [1, 3]},
        "kernel": {"choice": [3, 5], "ordered": True},
        "optimizer": {
            "choice": {
                "sgd": {"lr": {"float": [0.001, 1], "log": True}, "momentum": {"float": [0.0, 0.99]}},
                "adamw": {"lr": {"float": [1e-5, 1e-2], "log": True}},
                "lion": {"lr": {"float": [1e-6, 1e-3], "log": True}},
            }
        },
        "bits": {"repeat": "depth", "choice": [2, 4, 8, 32], "ordered": True},
        "exits": {"subset": [0, 1], "min": 0},
    },
    "objectives": {
        "val_error": {"goal": "minimize", "at_most": 60}, "latency_ms": {"goal": "minimize", "at_most": 1},
        "bytes": "minimize",
    },
    "search": {
        "scheduler": "async-hyperband", "searcher": "tpe", "r": 1, "R": 27, "eta": 3, "unit": "epoch", "brackets": 1,
    },
    "task": "classify",
    "seed": 0,
}  # fmt: skip

Happening = Callable[[Transaction, float], None]


@dataclass(slots=True)
class Written:
    """A study under way: `play` makes the next things happen; `id`, `folder` and `url` say where it is."""

    id: str
    name: str
    folder: Path
    url: str
    start: float
    store: Store
    course: Iterator[tuple[float, Happening]]
    left: bool = True
    played: int = 0
    trials: dict[int, Any] = field(default_factory=dict)

    def play(self, most: int | None = None) -> int:
        """Make up to `most` things happen (None: all that are left), each in a transaction; answers how many did."""
        done = 0
        while self.left and (most is None or done < most):
            moment = next(self.course, None)
            if moment is None:
                self.left = False
                break
            with self.store.transaction() as tx:
                moment[1](tx, self.start + moment[0])
            done += 1
        self.played += done
        return done

    def close(self) -> None:
        self.store.close()


def write_study(
    folder: Path,
    *,
    name: str = "digits",
    trials: int = 40,
    upto: int | None = None,
    seed: int = 0,
    start: float = 1_700_000_000.0,
    objectives: dict[str, Any] | None = None,
) -> Written:
    """A study in `folder/study.db` with its files in `folder/`; `upto` stops after that many happenings.

    `objectives` may name a subset of val_error, latency_ms and bytes; violations stay those of `SPEC`.
    """
    from spaces.study import Study

    folder.mkdir(parents=True, exist_ok=True)
    told = {"study": name, **SPEC, "budget": {"trials": trials, "parallel": 2}, "seed": seed}
    if objectives is not None:
        told["objectives"] = objectives
    url = f"sqlite:///{folder / 'study.db'}"
    identity = f"{name}-{seed:04d}"
    written = Written(identity, name, folder, url, start, open_store(url), iter(()))
    course = _Course(identity, Study.parse(told).dump(), name, folder, trials, np.random.default_rng(seed))
    written.course = course.run()
    written.trials = course.nets
    written.play(upto)
    return written


@dataclass(slots=True)
class _Net:
    """A made-up trial: what it would report at every step."""

    config: dict[str, Any]
    floor: float
    speed: float
    bytes: int
    prefix_ms: tuple[float, ...]
    epoch_s: float
    fate: str = ""

    def error(self, step: int) -> float:
        """Validation error in percent."""
        return self.floor + (88 - self.floor) * math.exp(-self.speed * step**0.7)

    def points(self, step: int) -> list[dict[str, Any]]:
        """Operating points: a higher threshold sends fewer images out at the first exit."""
        full, early = self.error(step), self.error(step) * 1.25 + 2.5
        static = {"bytes": self.bytes, "params": self.bytes * 2, "macs": int(self.prefix_ms[-1] * 4e6)}
        if len(self.prefix_ms) == 1:
            return [{"val_error": full, "latency_ms": self.prefix_ms[0], "exit_rates": [1.0], **static}]
        found = []
        for i, share in enumerate((0.0, 0.25, 0.5, 0.75, 0.9, 1.0)):
            latency = share * self.prefix_ms[0] + (1 - share) * self.prefix_ms[-1]
            error = full + (early - full) * share**3
            found.append({"threshold": round(1 - share / 2, 3), "val_error": error, "latency_ms": latency,
                          "exit_rates": [share, 1 - share], "point": i, **static})  # fmt: skip
        return found


def _net(rng: np.random.Generator) -> _Net:
    width = round(8 * 4 ** rng.random())
    depth, kernel = int(rng.integers(1, 4)), int(rng.choice([3, 5]))
    bits = [int(b) for b in rng.choice([2, 4, 8, 32], depth)]
    optimizer = str(rng.choice(["sgd", "adamw", "lion"]))
    low, high = {"sgd": (-3, 0), "adamw": (-5, -2), "lion": (-6, -3)}[optimizer]
    place = rng.random()
    config: dict[str, Any] = {"width": width, "depth": depth, "kernel": kernel, "optimizer": optimizer}
    config[f"optimizer.{optimizer}.lr"] = float(f"{10 ** (low + (high - low) * place):.4g}")
    if optimizer == "sgd":
        config["optimizer.sgd.momentum"] = round(float(rng.random() * 0.99), 3)
    config |= {f"bits.{i}": b for i, b in enumerate(bits)}
    config["exits"] = [0] if depth > 1 and rng.random() < 0.6 else []
    channels = [width * 2 ** min(i, 2) for i in range(depth)]
    weights = [a * b * kernel**2 for a, b in zip([1, *channels], channels, strict=False)]
    size = sum(math.ceil(w * b / 8) + 4 * c for w, b, c in zip(weights, bits, channels, strict=True))
    size += channels[-1] * 10 + 80
    cost = [w * s * s / 9e6 * (1.0 if b == 32 else 0.35) for w, s, b in zip(weights, (8, 4, 2), bits, strict=False)]
    total = np.cumsum(cost) + 0.012
    prefix = (float(total[0]) + 0.004, float(total[-1]) + 0.008) if config["exits"] else (float(total[-1]),)
    coarse = sum({2: 3.0, 4: 0.9, 8: 0.1, 32: 0.0}[b] for b in bits) / depth
    off = 4 * (place - 0.62) ** 2 * 14
    floor = 0.9 + coarse + 20 / width + 2.2 * (3 - depth) + off + float(rng.gamma(1.2, 0.4))
    return _Net(config, floor, 0.35 + 0.5 * place, size, prefix, 0.4 + 0.1 * depth + width / 60)


@dataclass(slots=True)
class _Course:
    study: str
    spec: dict[str, Any]
    name: str
    folder: Path
    budget: int
    rng: np.random.Generator
    nets: dict[int, _Net] = field(default_factory=dict)
    rungs: dict[int, dict[int, float]] = field(default_factory=lambda: {r: {} for r in RUNGS})
    promoted: set[tuple[int, int]] = field(default_factory=set)
    jobs: dict[int, int] = field(default_factory=dict)

    def run(self) -> Iterator[tuple[float, Happening]]:
        yield 0.0, self._submitted
        yield 0.2, lambda tx, at: self._status(tx, at, "running")
        yield 0.3, lambda tx, at: self._event(tx, "capacity", {"slots": 2}, at)
        busy: list[tuple[float, int, int, int, int]] = [(0.4 + 0.1 * w, w, -1, 0, 0) for w in range(2)]
        heapq.heapify(busy)
        waiting: list[int] = []
        while busy:
            now, worker, trial, step, until = heapq.heappop(busy)
            if trial >= 0:
                net = self.nets[trial]
                if net.fate and step == 2:
                    yield now, self._failed(trial, net.fate)
                    net.fate = "over"
                elif step == until:
                    yield now, self._finished(trial, step, worker)
                else:
                    yield now, self._report(trial, step, worker)
                    heapq.heappush(busy, (now + net.epoch_s, worker, trial, step + 1, until))
                    continue
            job = self._next()
            if job is None:
                waiting.append(worker)
                continue
            for free in [worker, *waiting]:
                job = self._next() if free != worker else job
                if job is None:
                    break
                trial, since, until, reason = job
                now += 0.05
                yield now, self._asked(trial, since, until, reason, free)
                heapq.heappush(busy, (now + self.nets[trial].epoch_s, free, trial, since + 1, until))
                if free != worker:
                    waiting.remove(free)
        yield now + 1, lambda tx, at: self._status(tx, at, "verifying", "the budget of trials is spent")
        for offset, trial in enumerate(self._on_front()):
            yield now + 2 + offset, self._verified(trial)
        yield now + 14, lambda tx, at: self._status(tx, at, "done", "the budget of trials is spent")

    def _next(self) -> tuple[int, int, int, str] | None:
        """Trial, since, until, reason: a promotion from the highest rung that has one, else a new trial."""
        for i in reversed(range(len(RUNGS) - 1)):
            rung = self.rungs[RUNGS[i]]
            ranked = sorted(rung, key=lambda t: (rung[t], t))
            for rank, trial in enumerate(ranked[: len(ranked) // ETA], 1):
                if (RUNGS[i], trial) not in self.promoted:
                    self.promoted.add((RUNGS[i], trial))
                    reason = f"promoted: rank {rank} of {len(ranked)} at rung {RUNGS[i]}"
                    return trial, RUNGS[i], RUNGS[i + 1], reason
        if len(self.nets) < self.budget:
            trial = len(self.nets)
            self.nets[trial] = _net(self.rng)
            self.nets[trial].fate = {5: "oom", 17: "diverged"}.get(trial, "")
            return trial, 0, 3 if self.nets[trial].fate else 1, "new trial in bracket 0"
        return None

    # ------------------------------------------------------------ what happens, each in one transaction
    def _submitted(self, tx: Transaction, at: float) -> None:
        tx.add_study(StudyRow(self.study, self.name, self.spec, "queued", "", at, None, None, str(self.folder)))
        self._event(tx, "submitted", {"name": self.name, "spec": self.spec, "artifacts": str(self.folder)}, at)

    def _status(self, tx: Transaction, at: float, status: str, reason: str = "") -> None:
        changes: dict[str, Any] = {"status": status, "status_reason": reason}
        if status == "running":
            changes["started_at"] = at
        if status in ("done", "stopped", "faulted"):
            changes["ended_at"] = at
        tx.set_study(self.study, **changes)
        self._event(tx, "status", {"status": status, "reason": reason}, at)

    def _asked(self, trial: int, since: int, until: int, reason: str, worker: int) -> Happening:
        def happen(tx: Transaction, at: float) -> None:
            net = self.nets[trial]
            told: dict[str, Any] = {"answer": "job", "trial": trial, "kind": "train", "since": since, "until": until,
                                    "bracket": 0, "signature": None, "reason": reason, "trials": []}  # fmt: skip
            if since == 0:
                tx.put_trial(TrialRow(self.study, trial, net.config, "running", 0, 0, reason, "", None, at, None))
                told["trials"] = [{"trial": trial, "config": net.config, "state": "waiting"}]
            else:
                tx.set_trial(self.study, trial, status="running", reason=reason)
            self.jobs[trial] = self.jobs.get(trial, -1) + 1
            job = self._job(trial)
            tx.put_job(JobRow(job, self.study, trial, "train", since, until, 1, "running", _worker(worker), DEVICE, "",
                              None, {"id": job, "kind": "train"}, at, at + 0.02, None))  # fmt: skip
            self._event(tx, "asked", {**told, "job": job}, at)
            begun = {"job": job, "trial": trial, "attempt": 1, "worker": _worker(worker), "device": DEVICE,
                     "kind": "train", "since": since, "until": until}  # fmt: skip
            self._event(tx, "begun", begun, at + 0.02)

        return happen

    def _store_report(self, tx: Transaction, trial: int, step: int, at: float, bad: bool = False) -> None:
        net = self.nets[trial]
        points = net.points(step)
        error = math.nan if bad else net.error(step)
        metrics = {"val_error": error, "val_loss": error / 30, "train_loss": error / 40}
        tx.add_report(ReportRow(self.study, trial, step, self._job(trial), 1, at, net.epoch_s, metrics, points))
        tx.set_trial(self.study, trial, step=step)

    def _report(self, trial: int, step: int, _worker: int) -> Happening:
        return lambda tx, at: self._store_report(tx, trial, step, at)

    def _finished(self, trial: int, step: int, _worker: int) -> Happening:
        net = self.nets[trial]
        self.rungs[step][trial] = net.error(step)

        def happen(tx: Transaction, at: float) -> None:
            self._store_report(tx, trial, step, at)
            points = net.points(step)
            rows = [PointRow(self.study, trial, i, step, _merged(p), _violation(p), False)
                    for i, p in enumerate(points)]  # fmt: skip
            tx.put_points(self.study, trial, rows)
            path = self.folder / "trials" / str(trial) / f"ckpt-{step}-a1.safetensors"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"\0" * 64)
            name = str(path.relative_to(self.folder))
            tx.put_checkpoint(CheckpointRow(self.study, trial, step, name, "0" * 64, 64, at))
            last = step == RUNGS[-1]
            tx.set_job(self._job(trial), status="finished", ended_at=at)
            tx.set_trial(self.study, trial, status="done" if last else "paused", ended_at=at if last else None,
                         reason="reached the largest step" if last else f"waits at rung {step}")  # fmt: skip
            told = {"event": "reported", "trial": trial, "step": step, "points": points, "stops": [],
                    "metrics": {"val_error": net.error(step)}}  # fmt: skip
            self._event(tx, "told", told, at)
            self._event(tx, "told", {"event": "finished", "trial": trial, "step": step, "stops": []}, at)

        return happen

    def _failed(self, trial: int, fate: str) -> Happening:
        def happen(tx: Transaction, at: float) -> None:
            if fate == "diverged":
                self._store_report(tx, trial, 2, at, bad=True)
            tx.set_job(self._job(trial), status="failed", reason=fate, ended_at=at)
            error = ERROR if fate == "oom" else ""
            tx.set_trial(self.study, trial, status="failed", reason=fate, error=error, ended_at=at)
            self._event(tx, "told", {"event": "failed", "trial": trial, "reason": fate, "stops": []}, at)

        return happen

    def _verified(self, trial: int) -> Happening:
        def happen(tx: Transaction, at: float) -> None:
            net = self.nets[trial]
            step = max(r for r in RUNGS if trial in self.rungs[r])
            files = ["config.json", "model.onnx", "model_card.json", "weights.bin"]
            place = self.folder / "trials" / str(trial)
            place.mkdir(parents=True, exist_ok=True)
            (place / "config.json").write_text(json.dumps(net.config))
            (place / "model.onnx").write_bytes(b"onnx" * 64)
            (place / "model_card.json").write_text(json.dumps({"trial": trial}))
            (place / "weights.bin").write_bytes(b"\0" * net.bytes)
            rows = []
            for i, p in enumerate(net.points(step)):
                found = _merged(p) | {"latency_ms": p["latency_ms"] * 0.94, "latency_p95_ms": p["latency_ms"] * 1.2,
                                      "test_error": p["val_error"] * 1.08 + 0.2}  # fmt: skip
                found["test_accuracy"] = 100 - found["test_error"]
                rows.append(PointRow(self.study, trial, i, step, found, _violation(found), True))
            tx.put_points(self.study, trial, rows)
            points = [{"point": r.point, "metrics": dict(r.metrics)} for r in rows]
            job = f"{self.study}-{trial}-export0"
            self._event(tx, "exporting", {"trial": trial, "step": step, "job": job, "points": points}, at - 0.8)
            self._event(tx, "verified", {"trial": trial, "job": job, "step": step, "ok": True, "alone": True,
                                         "points": points, "files": files, "reason": ""}, at)  # fmt: skip

        return happen

    # ------------------------------------------------------------ small things
    def _event(self, tx: Transaction, kind: str, payload: dict[str, Any], at: float) -> None:
        tx.append(self.study, kind, payload, at)

    def _job(self, trial: int) -> str:
        return f"{self.study}-{trial}-train{self.jobs[trial]}"

    def _on_front(self) -> list[int]:
        """Trials with a point that none beats in error, latency and bytes."""
        found = []
        for trial in self.nets:
            steps = [r for r in RUNGS if trial in self.rungs[r]]
            if steps:
                points = self.nets[trial].points(steps[-1])
                found += [(trial, (p["val_error"], p["latency_ms"], p["bytes"])) for p in points]
        free = [
            t for t, a in found if not any(b != a and all(x <= y for x, y in zip(b, a, strict=True)) for _, b in found)
        ]
        return sorted(set(free))


def _violation(point: dict[str, Any]) -> float:
    """How far a point breaks the bounds of `SPEC`, each as a share of its bound."""
    return max(0.0, point["latency_ms"] - 1.0) + max(0.0, point["val_error"] / 60 - 1.0)


def _merged(point: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in point.items() if k != "point"}


def _worker(slot: int) -> str:
    return f"host-cpu-{slot}"
