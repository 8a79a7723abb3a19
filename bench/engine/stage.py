"""A fleet on this machine for the benches beside it: a real broker, a real daemon process, real or scripted workers.

`tree` is the checkout whose daemon and workers run: give another one to compare two versions in one run.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import psutil
import redis

from searchd.broker import broker, short_folder, wait_until_it_answers
from searchd.local import daemon, workers
from searchd.processes import Member
from searchd.wire import UP, WorkerInfo, claim_key, queue, worker_key

HERE = Path(__file__).parents[2]
START_S = 120.0
BYTECODE = Path(tempfile.gettempdir()) / "searchd-bench-pyc"
COMPILED = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(BYTECODE)}
"""Bytecode is kept, as an installed package has it; where Python may not write, a checkout is compiled anew at every
start (0.2 to 0.3 s of CPU for a daemon)."""


def cpu_s(pid: int, *, children: bool = False) -> float:
    """User and system seconds of a process, with those below it where asked."""
    process = psutil.Process(pid)
    family = [process, *(process.children(recursive=True) if children else ())]
    total = 0.0
    for member in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            spent = member.cpu_times()
            total += spent.user + spent.system
    return total


def rss_mb(pid: int) -> float:
    return psutil.Process(pid).memory_info().rss / 1e6


class Stage:
    """Broker and daemon over one folder; `start_daemon` again after `end_daemon` is a restart."""

    def __init__(self, folder: Path, tree: Path = HERE, allow: tuple[str, ...] = ()) -> None:
        self.folder = folder
        self.tree = tree
        self.allow = list(allow)
        self._short = short_folder()
        self.url = f"unix://{self._short / 'broker.sock'}"
        self._members: list[Member] = []
        self.broker = self._begin(broker(self._short / "broker.sock", folder / "broker", folder / "broker.log"))
        wait_until_it_answers(self._short / "broker.sock", lambda: None)
        self.redis = redis.Redis(unix_socket_path=str(self._short / "broker.sock"), decode_responses=True)
        self.daemon: Member | None = None

    def _begin(self, member: Member) -> Member:
        member.env = {"PYTHONPATH": str(self.tree), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", **COMPILED}
        member.start()
        self._members.append(member)
        return member

    @property
    def database(self) -> Path:
        return self.folder / "study.db"

    @property
    def pid(self) -> int:
        """The daemon's."""
        found = None if self.daemon is None else self.daemon.pid
        if found is None:
            raise RuntimeError("no daemon runs")
        return found

    def start_daemon(self) -> float:
        """Seconds from the start of its process to its first answer over HTTP."""
        state = self.folder / "daemon.json"
        state.unlink(missing_ok=True)
        began = time.perf_counter()
        self.daemon = self._begin(
            daemon(self.url, f"sqlite:///{self.database}", self.folder, self.folder / "daemon.log", None)
        )
        while not state.exists():
            if self.daemon.pid is None or time.perf_counter() - began > START_S:
                raise RuntimeError(self.daemon.tail())
            time.sleep(0.002)
        said = json.loads(state.read_text())
        httpx.get(f"{said['url']}/v1/studies", timeout=START_S).raise_for_status()
        self.http = said["url"]
        return time.perf_counter() - began

    def end_daemon(self, *, kill: bool = False) -> None:
        assert self.daemon is not None
        assert self.daemon.process is not None
        (self.daemon.process.kill if kill else self.daemon.process.terminate)()
        self.daemon.process.wait(30)
        self._members.remove(self.daemon)

    def start_workers(self, slots: int, beside: Path) -> Member:
        """Real ones, up and waiting for jobs."""
        member = self._begin(
            workers(self.url, "cpu", slots, self.folder, self.folder / "workers.log", self.allow, beside)
        )
        deadline = time.perf_counter() + START_S
        while len(list(self.redis.scan_iter(match=worker_key("*")))) < slots:
            if member.pid is None or time.perf_counter() > deadline:
                raise RuntimeError(member.tail())
            time.sleep(0.02)
        time.sleep(3.0)  # Celery's consumer is up a moment after the first sign of life, a child has its imports
        return member

    def submit(self, spec: Mapping[str, Any]) -> str:
        answer = httpx.post(f"{self.http}/v1/studies", json={"spec": dict(spec)}, timeout=60)
        answer.raise_for_status()
        return str(answer.json()["id"])

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The database, read-only: what is seen there is committed."""
        with contextlib.closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as raw:
            yield raw

    def wait(
        self, study: str, statuses: tuple[str, ...] = ("done",), every_s: float = 0.01, most_s: float = 900
    ) -> None:  # fmt: skip
        """Until the study has one of these statuses."""
        deadline = time.perf_counter() + most_s
        with self.reading() as raw:
            while True:
                (now,) = raw.execute("SELECT status FROM studies WHERE id=?", (study,)).fetchone()
                if now in statuses:
                    return
                if now == "faulted" or time.perf_counter() > deadline:
                    raise RuntimeError(f"{study} is {now}: {self.daemon.tail() if self.daemon else ''}")
                time.sleep(every_s)

    def close(self) -> None:
        for member in reversed(self._members):
            if member.process is not None and member.process.poll() is None:
                member.process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    member.process.wait(member.end_s)
                if member.process.poll() is None:
                    member.process.kill()
                    member.process.wait()
        shutil.rmtree(self._short, ignore_errors=True)


class Scripted:
    """Workers of nothing but messages: they take dispatches off the broker's queue as Celery left them there, claim,
    and put everything that a job has to say on the stream at once. One thread plays all `slots`."""

    def __init__(self, stage: Stage, slots: int, loss: Any = None) -> None:
        self.stage = stage
        self.slots = slots
        self.loss = loss or (lambda trial, step: (trial * 2654435761 % 1000003) / 1000003 + 1.0 / (1 + step))
        self.reports = 0
        self.held: list[str] | None = None
        """A list: messages wait there instead of going up."""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Scripted:
        self._beat()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _beat(self) -> None:
        pipe = self.stage.redis.pipeline(transaction=False)
        for n in range(self.slots):
            info = WorkerInfo(name=f"w{n}", device_class="cpu", device="cpu: scripted", host="here", pid=os.getpid())
            pipe.hset(worker_key(info.name), "m", info.model_dump_json())
            pipe.expire(worker_key(info.name), 15)
        pipe.execute()

    def _run(self) -> None:
        client, beat = self.stage.redis, time.monotonic()
        while not self._over.is_set():
            if time.monotonic() - beat > 3.0:
                beat = time.monotonic()
                self._beat()
            taken = client.blpop([queue("cpu")], timeout=0.2)
            if taken is None:
                continue
            texts = [taken[1], *(client.lpop(queue("cpu"), self.slots) or ())]
            self._play([job for text in texts for job in _jobs(text)])

    def _play(self, jobs: list[dict[str, Any]]) -> None:
        pipe = self.stage.redis.pipeline(transaction=False)
        for job in jobs:
            pipe.set(claim_key(job["id"]), job["attempt"], ex=3600)
            for text in self._says(job):
                if self.held is None:
                    pipe.xadd(UP, {"m": text})
                else:
                    self.held.append(text)
        pipe.execute()

    def _says(self, job: dict[str, Any]) -> Iterator[str]:
        worker = f"w{job['trial'] % self.slots}"
        who = (f'"study":"{job["study"]}","job":"{job["id"]}","trial":{job["trial"]},"attempt":{job["attempt"]},'
               f'"worker":"{worker}"')  # fmt: skip
        yield f'{{{who},"kind":"begun","device":"cpu: scripted"}}'
        for step in range(job["since"] + 1, job["until"] + 1):
            self.reports += 1
            kept = ""
            if step == job["until"]:
                kept = (f',"checkpoint":{{"step":{step},"path":"trials/{job["trial"]}/ckpt-{step}.safetensors",'
                        f'"sha256":"{job["trial"]:032x}{step:032x}","bytes":1000}}')  # fmt: skip
            yield (f'{{{who},"kind":"report","step":{step},"metrics":{{"loss":{self.loss(job["trial"], step)!r}}},'
                   f'"points":[],"seconds":0.05{kept}}}')  # fmt: skip
        yield f'{{{who},"kind":"ended","outcome":"finished","step":{job["until"]},"seconds":1.0}}'


def _jobs(text: str) -> list[dict[str, Any]]:
    body = json.loads(base64.b64decode(json.loads(text)["body"]))
    return list(body[0][0]["jobs"])


def drained(stage: Stage) -> bool:
    """Whether everything on the stream was recorded, committed and acknowledged."""
    return bool(stage.redis.xlen(UP) == 0)


def study(name: str, function: str, **changes: Any) -> dict[str, Any]:
    """The benches' study: two floats, an int, a choice; one loss; r = 1, R = 27, eta = 3."""
    base: dict[str, Any] = {
        "study": name,
        "space": {"lr": {"float": [1e-4, 1], "log": True}, "momentum": {"float": [0, 0.99]},
                  "width": {"int": [8, 512], "log": True}, "optimizer": {"choice": ["sgd", "adam", "lion"]}},
        "objectives": {"loss": "minimize"},
        "search": {"scheduler": "asha", "searcher": "random", "r": 1, "R": 27, "eta": 3},
        "budget": {"trials": 60},
        "task": {"function": function},
        "seed": 1,
    }  # fmt: skip
    return {**base, **changes}
