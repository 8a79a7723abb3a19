"""A family of processes on this machine: started, started again when one dies, ended in order, never orphaned."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from searchd.errors import SearchdError
from searchd.guard import guarded

CALM_S = 10.0
"""A process that lived this long starts again at once; a younger one waits `BACKOFF_S`, twice as long each time."""
BACKOFF_S = 0.2
MAX_BACKOFF_S = 5.0
MAX_EARLY_DEATHS = 5
TAIL_LINES = 12
ECHO_S = 0.5
"""Two signals closer than this are one wish to end."""
HOPELESS = 2
"""The exit code by which our own programs say that a restart will not help: the last line of the log says why."""


@dataclass(slots=True)
class Member:
    """One program of the family. `argv` as it is run; output goes to `log`; `end_s`: how long a clean end may take."""

    name: str
    argv: list[str]
    log: Path
    end_s: float
    env: Mapping[str, str] = field(default_factory=dict)
    vital: bool = True
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    early: int = 0
    due: float = 0.0
    restarts: int = 0

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process and self.process.poll() is None else None

    def start(self) -> None:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                guarded(self.argv),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env={**os.environ, **self.env},
                start_new_session=True,  # a Ctrl-C in the terminal is ours to hand on, in order
            )
        self.started = time.monotonic()

    def tail(self) -> str:
        """The last lines of its log, for a message."""
        with contextlib.suppress(OSError):
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-TAIL_LINES:])
        return ""


@dataclass(slots=True)
class Family:
    """Members in the order of their start; `tell` hears what a person may want to know (one line)."""

    tell: Callable[[str], None]
    members: list[Member] = field(default_factory=list)

    def add(self, member: Member) -> Member:
        member.start()
        self.members.append(member)
        return member

    def tend(self) -> None:
        """Start again what died. Raises SearchdError, with the end of its log, when one dies young again and again."""
        now = time.monotonic()
        for member in self.members:
            if member.process is None or member.process.poll() is None:
                continue
            if member.due == 0.0:
                self._note_death(member, now)
            if now >= member.due:
                member.due = 0.0
                member.restarts += 1
                member.start()

    def _note_death(self, member: Member, now: float) -> None:
        code = member.process.returncode if member.process else 0
        if code == HOPELESS:
            raise SearchdError(f"the {member.name} refuses to run: {(member.tail() or 'no word').splitlines()[-1]}")
        how = f"was killed ({signal.Signals(-code).name})" if code < 0 else f"ended with code {code}"
        member.early = member.early + 1 if now - member.started < CALM_S else 0
        if member.early >= MAX_EARLY_DEATHS:
            raise SearchdError(
                f"the {member.name} {how} {member.early} times in a row; the end of {member.log}:\n{member.tail()}"
            )
        member.due = now + (min(MAX_BACKOFF_S, BACKOFF_S * 2**member.early) if member.early else 0.0)
        self.tell(f"the {member.name} {how}; starting it again")

    def end(self, hurry: Callable[[], bool] = lambda: False) -> None:
        """End the members, the last started first: SIGTERM, then SIGKILL after `end_s` or as soon as `hurry()`."""
        for member in reversed(self.members):
            process = member.process
            if process is None:
                continue
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    process.terminate()
                deadline = time.monotonic() + member.end_s
                while process.poll() is None and time.monotonic() < deadline and not hurry():
                    time.sleep(0.02)
            self._sweep(process)
        self.members.clear()

    @staticmethod
    def _sweep(process: subprocess.Popen[bytes]) -> None:
        """Whatever is left in the member's session: a group that outlived its leader is killed too."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


class Interrupted(Exception):
    """Ctrl-C, SIGTERM or SIGHUP."""


@dataclass(slots=True)
class Signals:
    """How often the user asked us to end; `check()` raises Interrupted once they did."""

    count: int = 0
    number: int = 0
    last: float = -math.inf

    def hear(self, number: int, now: float) -> None:
        """One press may arrive twice, from the terminal or `timeout` and again from `make`: that is once."""
        if now - self.last >= ECHO_S:
            self.count += 1
        self.number, self.last = number, now

    def check(self) -> None:
        if self.count:
            raise Interrupted

    def twice(self) -> bool:
        return self.count > 1


@contextlib.contextmanager
def listening() -> Iterator[Signals]:
    """Count SIGINT, SIGTERM and SIGHUP instead of dying of them; the old handlers come back afterwards."""
    heard = Signals()

    def hear(number: int, _: object) -> None:
        heard.hear(number, time.monotonic())

    numbers = [signal.SIGINT, signal.SIGTERM] + ([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])
    old = {n: signal.signal(n, hear) for n in numbers}
    try:
        yield heard
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
