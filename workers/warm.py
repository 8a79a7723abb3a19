"""The slot's handle on its warm child: start, talk, kill, and tell how it died."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from searchd.wire import OOM
from workers.captured import Pump
from workers.child import ChildOptions
from workers.memory import groups, oom_kills
from workers.pipes import Gone, Pipes
from workers.tether import children, end_orphans

FAULTS = frozenset(
    int(n) for n in (signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL, signal.SIGFPE, signal.SIGSYS)
)
"""Signals that a process brings upon itself: the trial's fault. SIGKILL and SIGTERM come from outside."""


class Warm:
    """One child process at a time, in a session of its own, so that all that it started can be ended with it."""

    def __init__(self, options: ChildOptions, env: dict[str, str]) -> None:
        self._options = options
        self._env = env
        self._process: subprocess.Popen[bytes] | None = None
        self._others = children()
        """What this process had started before: not ours to end."""
        self._pipes: Pipes | None = None
        self._pump: Pump | None = None
        self._groups: list[Path] = []
        self._oom_kills = 0
        self.holds: tuple[str, ...] = ()
        """The checkpoints that the child said it has in memory, by SHA-256."""

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def ensure(self) -> None:
        """Have a child: the one that lives, or a fresh one."""
        if self.pid is not None:
            return
        self.end()
        down_read, down_write = os.pipe()
        up_read, up_write = os.pipe()
        argv = [sys.executable, "-P", "-m", "workers.child", str(down_read), str(up_write), str(os.getpid())]
        argv.append(json.dumps(asdict(self._options)))
        said, says = os.pipe()
        self._groups = groups()
        self._oom_kills = oom_kills(self._groups)
        self._process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=says, stderr=says, env=os.environ | self._env,
            pass_fds=(down_read, up_write), start_new_session=True,
        )  # fmt: skip
        os.close(down_read)
        os.close(up_write)
        os.close(says)
        self._pump = Pump(said, 2)
        self._pipes = Pipes(up_read, down_write)

    def captures(self, path: Path | None) -> None:
        """What the child prints from here on goes to `path`; None: to nobody."""
        if self._pump is not None:
            self._pump.begin(path)

    def send(self, message: dict[str, Any]) -> bool:
        """Tell the child something; False when it is gone."""
        try:
            if self._pipes is None:
                return False
            self._pipes.send(message)
        except Gone:
            return False
        return True

    def receive(self, timeout_s: float) -> list[dict[str, Any]] | None:
        """What the child said, waiting up to `timeout_s`; None when it is gone and everything was heard."""
        if self._pipes is None:
            return None
        try:
            messages = self._pipes.receive(timeout_s)
            if not messages and self.pid is None:  # something that it started may hold the pipe open
                messages = self._pipes.receive(0.0)
                return messages or None
        except Gone:
            return None
        return messages

    def death(self) -> tuple[bool, str]:
        """(whether it was the job's own fault, how it died) of a child that is gone; ends what is left of it."""
        process = self._process
        self.end(gone_s=1.0)  # its pipe closes a moment before the process is gone: hear its own code
        code = 0 if process is None else process.returncode
        if code < 0:
            name = signal.Signals(-code).name
            if code == -signal.SIGKILL and oom_kills(self._groups) > self._oom_kills:
                return True, OOM
            return -code in FAULTS, f"crashed with {name}" if -code in FAULTS else f"worker process killed ({name})"
        return True, f"the process ended with code {code}"

    def end(self, gone_s: float = 0.0) -> None:
        """SIGKILL the child (if it is not gone within `gone_s`), its group, and what they left; close the pipes."""
        process, self._process = self._process, None
        self.holds = ()
        if process is not None:
            if process.poll() is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(gone_s)
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            end_orphans(self._others)
        if self._pump is not None:
            self._pump.end()
            self._pump = None
        if self._pipes is not None:
            self._pipes.close()
            self._pipes = None
