"""The service as a fleet has it: daemon and workers as processes, told by environment what compose.yaml tells them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx

from tests.support.broker import free_port

TOKEN = "a-token-of-the-fleet"


class Place:
    """What compose.yaml tells its services, and the commands that it runs. `broker`: its URL."""

    def __init__(
        self, folder: Path, database: str, broker: str, stack: ExitStack, artifacts: str | None = None
    ) -> None:
        self.folder = folder
        self.stack = stack
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        (folder / "token").write_text(f"{TOKEN}\n")
        both = {"SEARCHD_BROKER": broker, "SEARCHD_ARTIFACTS": artifacts or str(folder / "artifacts")}
        self.worker = both | {"SEARCHD_ALLOW": ""}
        self.daemon = both | {
            "SEARCHD_DATABASE": database, "SEARCHD_HOST": "127.0.0.1", "SEARCHD_PORT": str(self.port),
            "SEARCHD_TOKEN_FILE": str(folder / "token"),
        }  # fmt: skip

    def start(self, environ: Mapping[str, str], *args: str) -> subprocess.Popen[bytes]:
        """`searchd ARGS` in the background, its output in `ARGS[0].log`; ended with the test at the latest."""
        clean = {k: v for k, v in os.environ.items() if not k.startswith("SEARCHD_")}
        with self.log(args[0]).open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-P", "-c", "from searchd.cli import main; main()", *args],
                env=clean | environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        self.stack.callback(end, process)
        return process

    def log(self, command: str) -> Path:
        return self.folder / f"{command}.log"

    def refusal(self, environ: Mapping[str, str], *args: str) -> tuple[int, str]:
        """`searchd ARGS` that must end by itself: its exit code and the last line of what it said."""
        code = self.start(environ, *args).wait(60)
        said = self.log(args[0]).read_text()
        assert "Traceback" not in said
        return code, said.strip().splitlines()[-1]

    def ready(self, more: Mapping[str, str] = MappingProxyType({})) -> subprocess.Popen[bytes]:
        """`searchd serve`, once it is healthy as compose.yaml asks it; `more` variables."""
        daemon = self.start({**self.daemon, **more}, "serve")

        def healthy() -> bool:
            assert daemon.poll() is None, self.log("serve").read_text()
            try:
                return httpx.get(f"{self.url}/readyz", timeout=5).is_success
            except httpx.TransportError:
                return False

        until(healthy, "the daemon is ready")
        return daemon


def end(process: subprocess.Popen[bytes]) -> int:
    """SIGTERM, so that a worker takes its children along; the exit code."""
    if process.poll() is None:
        process.terminate()
    try:
        return process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def until(condition: Callable[[], Any], what: str, timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout_s:g} s in vain until {what}"
        time.sleep(0.05)
