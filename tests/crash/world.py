"""The fleet under fire: a daemon and workers as an operator runs them, each under a restart policy."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import psutil

from searchd import Client
from searchd.errors import SearchdError
from searchd.store import open_store
from searchd.store.base import JobRow, Reader, Store
from tests.crash.services import ROOT, Broker, Database, Disk, Postgres, Sqlite

MARK = "SEARCHD_CRASH_WORLD"
RESTART_S = 0.2
"""The restart policy's pause, as systemd and Docker have one."""
LOOK_S = 0.1
FLEET = {"a": ["--name", "a"], "b": [], "c": ["--name", "c", "--slots", "2"]}
"""Three `searchd worker`: one keeps its name over its deaths, one takes a new name each time, one has two slots."""
SLOTS = 4
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Note:
    """A child computed a step: the witness's line."""

    pid: int
    at: float


Notes = Mapping[tuple[str, int, int], list[Note]]
"""By (study, trial, step)."""


class Ward:
    """One process under a restart policy. `ends`: how each life ended, (Unix seconds, exit code)."""

    def __init__(self, name: str, argv: list[str], env: Mapping[str, str], log: Path) -> None:
        self.name, self.argv, self.env, self.log = name, argv, env, log
        self.process: subprocess.Popen[bytes] | None = None
        self.ends: list[tuple[float, int]] = []
        self.held = True
        self._due = 0.0

    def start(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.argv, env=dict(self.env), cwd=self.log.parent, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        return self.process

    def tend(self, now: float) -> None:
        """Start it again when it has ended, unless `held`."""
        if self.held:
            return
        if self.process is not None and self.process.poll() is not None:
            self.ends.append((time.time(), self.process.returncode))
            self.process, self._due = None, now + RESTART_S
        if self.process is None and now >= self._due:
            self.start()

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process is not None and self.process.poll() is None else None


class World:
    """All of it in `folder`; `lease_s`: the silence after which the daemon gives a job up."""

    def __init__(self, folder: Path, database: str, lease_s: float = 4.0) -> None:
        self.folder, self.lease_s = folder, lease_s
        folder.mkdir(parents=True, exist_ok=True)
        self.mark = uuid.uuid4().hex
        self.notes = folder / "notes.txt"
        self.logs = folder / "logs"
        self.logs.mkdir(exist_ok=True)
        self.disk = Disk(folder / "disk")
        self.artifacts = self.disk.folder / "artifacts"
        self.broker = Broker(self.disk.folder / "broker", self.logs / "broker.log")
        self.database: Database = Postgres() if database == "postgres" else Sqlite(self.disk.folder)
        self.state = folder / "daemon.json"
        base = {k: v for k, v in os.environ.items() if not k.startswith("SEARCHD_")}
        base |= {"PYTHONPATH": os.environ.get("PYTHONPATH", str(ROOT)), MARK: self.mark, "OMP_NUM_THREADS": "1",
                 "SEARCHD_BROKER": self.broker.url}  # fmt: skip
        command = [sys.executable, "-P", "-c", "from searchd.cli import main; main()"]
        # what `searchd serve` becomes, with a short lease
        serve = [sys.executable, "-P", "-m", "searchd.daemon", "--artifacts", str(self.artifacts), "--port", "0",
                 "--state-file", str(self.state), "--lease", str(lease_s)]  # fmt: skip
        worker = [*command, "worker", "--artifacts", str(self.artifacts), "--allow", "crash_tasks:*",
                  "--path", str(Path(__file__).parent)]  # fmt: skip
        self.daemon = Ward("daemon", serve, base | {"SEARCHD_DATABASE": self.database.url}, self.logs / "daemon.log")
        self.workers = [
            Ward(name, [*worker, *more], base, self.logs / f"worker-{name}.log") for name, more in FLEET.items()
        ]
        self.studies: list[str] = []
        self._store: Store | None = None
        self._notes: dict[tuple[str, int, int], list[Note]] = {}
        self._noted = 0
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._keeper = threading.Thread(target=self._keep, name="restart policy", daemon=True)

    @property
    def wards(self) -> list[Ward]:
        return [self.daemon, *self.workers]

    # ------------------------------------------------------------ life
    def __enter__(self) -> World:
        self.broker.start()
        self._keeper.start()
        self.hold(self.wards, False)
        try:
            self.until(self.ready, "the daemon is ready", 60)
            self.until(lambda: self.slots() >= SLOTS, "four slots are there", 60)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def hold(self, wards: list[Ward], held: bool) -> None:
        """Suspend or resume the restart policy."""
        with self._lock:
            for ward in wards:
                ward.held = held

    def _keep(self) -> None:
        while not self._over.wait(LOOK_S / 2):
            with self._lock:
                for ward in self.wards:
                    ward.tend(time.monotonic())

    def end(self, patience_s: float = 25.0) -> list[str]:
        """SIGTERM to workers and daemon; what did not end, or left a process behind."""
        self.hold(self.wards, True)
        said: list[str] = []
        for ward in [*self.workers, self.daemon]:
            if (process := ward.process) is None or process.poll() is not None:
                continue
            process.terminate()
        deadline = time.monotonic() + patience_s
        for ward in self.wards:
            if ward.process is not None:
                try:
                    code = ward.process.wait(max(0.1, deadline - time.monotonic()))
                    if code != 0:
                        said.append(f"{ward.name} ended with code {code} after SIGTERM")
                except subprocess.TimeoutExpired:
                    said.append(f"{ward.name} does not end within {patience_s:g} s of SIGTERM")
        with contextlib.suppress(AssertionError):
            self.until(lambda: not self.family(), "nothing is left", 5)
        said += [f"orphan: {line(p)}" for p in self.family()]
        return said

    def close(self) -> None:
        """Nothing outlives the world."""
        self._over.set()
        self._keeper.join(5)
        for process in self.family():
            with contextlib.suppress(psutil.Error):
                process.kill()
        for ward in self.wards:
            if ward.process is not None:
                ward.process.wait()
        if self._store is not None:
            self._store.close()
        self.broker.close()
        self.database.close()
        self.disk.close()

    # ------------------------------------------------------------ who is there
    def family(self) -> list[psutil.Process]:
        """Every living process of workers and daemon, also one that lost its parent."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get(MARK) == self.mark and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def named(self, module: str) -> list[psutil.Process]:
        """The processes of the workers that run `module` (workers.app: a slot, workers.child: its child)."""
        found = []
        for ward in self.workers:
            with contextlib.suppress(psutil.Error):
                if ward.pid is not None:
                    found += [p for p in psutil.Process(ward.pid).children(recursive=True) if module in p.cmdline()]
        return found

    def slots(self) -> int:
        return len(self.broker.direct.keys("searchd:worker:*"))

    # ------------------------------------------------------------ talking to it
    def ready(self) -> bool:
        """Whether the daemon that runs now answers."""
        with contextlib.suppress(OSError, ValueError, SearchdError):
            state = json.loads(self.state.read_text())
            if state["pid"] == self.daemon.pid:
                with Client(state["url"]) as client:
                    client.studies()
                return True
        return False

    def submit(self, **changes: Any) -> str:
        """A study over HTTP, as soon as the daemon takes it; its id."""
        number = len(self.studies)
        name = f"crash-{number}"
        spec: dict[str, Any] = {
            "study": name, "space": {"x": {"float": [0.0, 1.0]}}, "objectives": {"error": "minimize"},
            "search": {"scheduler": "asha", "searcher": "random", "r": 3, "R": 27, "eta": 3}, "budget": {"trials": 60},
            "seed": number,
            "task": {"function": "crash_tasks:train", "study": name, "notes": str(self.notes), "step_s": 0.15},
        } | changes  # fmt: skip

        def try_it() -> str | None:
            found = self.read(lambda reader: [row.id for row in reader.studies() if row.name == name])
            if found:
                return str(found[0])
            try:
                with Client(json.loads(self.state.read_text())["url"]) as client:
                    return client.submit(spec)
            except Exception:  # the daemon may be dead, stopped or young; whether it took it, the database knows
                return None

        study = self.until(try_it, f"study {name} is taken", 120)
        self.studies.append(study)
        return study

    def read(self, question: Callable[[Reader], T]) -> T | None:
        """Ask the database past the fleet's ways; None while it does not answer."""
        try:
            if self._store is None:
                self._store = open_store(self.database.direct, readonly=True)
            with self._store.reading() as reader:
                return question(reader)
        except (SearchdError, OSError):
            return None

    def witness(self) -> Notes:
        """Every step that was computed so far."""
        if self.notes.exists():
            with self.notes.open("rb") as file:
                file.seek(self._noted)
                whole, _, _ = file.read().rpartition(b"\n")
            self._noted += len(whole) + 1 if whole else 0
            for text in whole.decode().splitlines():
                name, trial, step, pid, at = text.split()
                study = self.studies[int(name.rpartition("-")[2])]
                self._notes.setdefault((study, int(trial), int(step)), []).append(Note(int(pid), float(at)))
        return self._notes

    def active(self) -> list[str]:
        """The studies that have not ended."""
        over = ("done", "stopped", "faulted")
        found = self.read(lambda r: [row.id for row in r.studies() if row.status not in over])
        return self.studies if found is None else found

    def running(self) -> list[JobRow]:
        return self.read(lambda reader: reader.jobs(statuses=("running",))) or []

    def until(self, question: Callable[[], T | None], what: str, seconds: float) -> T:
        """The first truthy answer; AssertionError when there is none in time."""
        deadline = time.monotonic() + seconds
        while not (answer := question()):
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {seconds:g} s: {what} (logs: {self.logs})")
            time.sleep(LOOK_S / 2)
        return answer

    def signal(self, process: psutil.Process, number: signal.Signals) -> None:
        with contextlib.suppress(psutil.Error):
            process.send_signal(number)


def line(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return f"{process.pid} {' '.join(process.cmdline())[:120]}"
    return str(process.pid)
