"""What the fleet stands on: a broker with an append-only file, a database, a disk. Each can be taken away and brought
back; the fleet reaches broker and PostgreSQL through a proxy, the harness directly."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Protocol

import psutil
import redis

from tests.crash.proxy import Proxy
from tests.support.broker import server_program

ROOT = Path(__file__).parents[2]
START_S = 30.0


def _unix(path: Path) -> socket.socket:
    one = socket.socket(socket.AF_UNIX)
    try:
        one.connect(str(path))
    except OSError:
        one.close()
        raise
    return one


class Broker:
    """A Redis-protocol server as production has it: its append-only file is synced once a second."""

    def __init__(self, data: Path, log: Path) -> None:
        self._short = Path(tempfile.mkdtemp(prefix="sdc-", dir="/tmp"))
        self._socket, self._data, self._log = self._short / "s", data, log
        data.mkdir(parents=True, exist_ok=True)
        self.process: subprocess.Popen[bytes] | None = None
        self.link = Proxy(lambda: _unix(self._socket))
        self.url = f"redis://127.0.0.1:{self.link.port}/0"
        self.direct = redis.Redis(unix_socket_path=str(self._socket), decode_responses=True)
        self._program = server_program()  # once: another one, installed meanwhile, might not read what this one wrote

    def start(self) -> None:
        argv = [self._program, "--port", "0", "--unixsocket", str(self._socket), "--dir", str(self._data)]
        argv += ["--appendonly", "yes", "--appendfsync", "everysec", "--save", "", "--maxmemory-policy", "noeviction"]
        argv += ["--daemonize", "no", "--loglevel", "notice"]
        deadline = time.monotonic() + START_S
        while True:
            if self.process is None or self.process.poll() is not None:
                self._socket.unlink(missing_ok=True)
                with self._log.open("ab") as log:
                    self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            with contextlib.suppress(redis.RedisError):
                if self.direct.ping():
                    return
            if time.monotonic() > deadline:
                raise RuntimeError(f"the broker does not start; see {self._log}")
            time.sleep(0.02)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def close(self) -> None:
        self.kill()
        self.link.close()
        self.direct.close()
        shutil.rmtree(self._short, ignore_errors=True)


class Database(Protocol):
    """`url` is the fleet's, `direct` the harness's own way in. `link`: the proxy between, if there is a network."""

    name: str
    url: str
    direct: str
    link: Proxy | None

    def disturb(self, seconds: float) -> None:
        """PostgreSQL: down for so long after a crash. SQLite: locked for so long by another process."""
        ...

    def unlock(self) -> bool:
        """Take the lock of a daemon that is stopped away, as a network does that is cut for long, or a person by
        mistake. False: it was stopped in the middle of a transaction, and nobody else can begin."""
        ...

    def close(self) -> None: ...


class Sqlite:
    name = "sqlite"
    link = None

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / "study.db"
        self.url = self.direct = f"sqlite:///{self._path}"

    def disturb(self, seconds: float) -> None:
        raw = sqlite3.connect(self._path, timeout=60, isolation_level=None)
        try:
            raw.execute("BEGIN IMMEDIATE")
            time.sleep(seconds)
            raw.execute("ROLLBACK")
        finally:
            raw.close()

    def unlock(self) -> bool:
        raw = sqlite3.connect(self._path, timeout=0, isolation_level=None)
        try:
            raw.execute("BEGIN IMMEDIATE")
            raw.execute("ROLLBACK")
        except sqlite3.OperationalError:
            return False
        finally:
            raw.close()
        Path(f"{self._path}.lock").unlink()
        return True

    def close(self) -> None:
        """A file, and no more."""


class Postgres:
    """A cluster of our own. A commit is in the server's log file when it is answered, so a crash of it keeps it."""

    name = "postgres"

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="sdp-", dir="/tmp"))
        started = subprocess.run(
            [str(ROOT / ".ci/postgres.sh"), "start", str(self._folder)], capture_output=True, text=True, check=False
        )
        if started.returncode:
            raise RuntimeError(f"no PostgreSQL: {started.stderr}")
        self.direct = started.stdout.strip()
        self.link: Proxy | None = Proxy(lambda: _unix(self._folder / ".s.PGSQL.5432"))
        self.url = f"postgresql://searchd@127.0.0.1:{self.link.port}/postgres?sslmode=disable&gssencmode=disable"
        self._owner = (self._folder / "data").stat()
        self._words = (self._folder / "data/postmaster.opts").read_text().partition(" ")[2].strip().replace('"', "'")

    def disturb(self, seconds: float) -> None:
        self._control("stop", "-m", "immediate")
        time.sleep(seconds)
        self._control("start", "-l", str(self._folder / "data/server.log"))

    def _control(self, verb: str, *more: str) -> None:
        programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"))
        pg_ctl = shutil.which("pg_ctl") or str(programs[-1])
        argv = [pg_ctl, "-D", str(self._folder / "data"), "-w", "-t", "60", verb, *more]
        if verb == "start":
            argv += ["-o", self._words]
        user = {"user": self._owner.st_uid, "group": self._owner.st_gid, "extra_groups": ()} if os.getuid() == 0 else {}
        subprocess.run(argv, check=True, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **user)

    def unlock(self) -> bool:
        import psycopg

        with psycopg.connect(self.direct, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE usename = 'searchd' AND pid <> pg_backend_pid()"
            )
        return True

    def close(self) -> None:
        assert self.link is not None
        self.link.close()
        subprocess.run([str(ROOT / ".ci/postgres.sh"), "stop", str(self._folder)], check=False)


class Disk:
    """Where artifacts, the SQLite file and the broker's file lie: a small file system of its own where we may mount
    one (root), else a folder, and then a limit on the size of files stands for a disk that is full."""

    SIZE = "160m"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        argv = ["mount", "-t", "tmpfs", "-o", f"size={self.SIZE}", "searchd-crash", str(folder)]
        self.mounted = os.getuid() == 0 and shutil.which("mount") is not None and not subprocess.run(
            argv, check=False, capture_output=True
        ).returncode

    @property
    def how(self) -> str:
        return "a tmpfs of its own, filled" if self.mounted else "RLIMIT_FSIZE of every process of ours set to 0"

    def fill(self, processes: list[psutil.Process]) -> None:
        if not self.mounted:
            self._limit(processes, 0)
            return
        with (self.folder / "ballast").open("wb") as file, contextlib.suppress(OSError):
            while True:
                left = os.statvfs(self.folder)
                os.posix_fallocate(file.fileno(), file.tell(), max(4096, left.f_bavail * left.f_frsize))
                file.seek(0, os.SEEK_END)

    def empty(self, processes: list[psutil.Process]) -> None:
        if not self.mounted:
            self._limit(processes, -1)
            return
        (self.folder / "ballast").unlink(missing_ok=True)

    @staticmethod
    def _limit(processes: list[psutil.Process], most: int) -> None:
        for process in processes:
            with contextlib.suppress(psutil.Error):
                process.rlimit(psutil.RLIMIT_FSIZE, (most, -1))

    def close(self) -> None:
        if self.mounted:
            subprocess.run(["umount", "-l", str(self.folder)], check=False)


SIGNALS = {"KILL": signal.SIGKILL, "TERM": signal.SIGTERM, "STOP": signal.SIGSTOP}
