"""What a child prints, kept for its job: standard output and error, the beginning and the end of a long one.

A thread of the slot reads the child's pipe to its end, so that no flood blocks the child or fills a disk. What is kept
goes into the trial's folder as `log-JOB-aATTEMPT.txt`, and as much of it into the worker's own log.
"""

from __future__ import annotations

import array
import contextlib
import fcntl
import os
import select
import termios
import threading
import time
from collections import deque
from pathlib import Path

from searchd.storage import remote
from searchd.wire import JobSpec

HEAD_BYTES = 256 << 10
TAIL_BYTES = 256 << 10
CHUNK = 1 << 16
SETTLE_S = 2.0
"""How long at most the end of a job waits for what it printed and nobody has read yet, on a busy machine."""


class Capture:
    """One job's file. Nothing is written before the first byte; `close` adds the end of what was too long."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._left = HEAD_BYTES
        self._tail: deque[bytes] = deque()
        self._kept = self._dropped = 0

    def take(self, data: bytes) -> None:
        """More output."""
        if self._left > 0:
            self._write(data[: self._left])
            data, self._left = data[self._left :], self._left - len(data)
        if data:
            self._tail.append(data)
            self._kept += len(data)
            while self._kept - len(self._tail[0]) >= TAIL_BYTES:
                self._dropped += len(self._tail[0])
                self._kept -= len(self._tail.popleft())

    def close(self) -> None:
        """The end of what was too long."""
        if self._tail:
            cut = b"\n[... %d bytes were dropped here ...]\n" % self._dropped if self._dropped else b""
            self._write(cut + b"".join(self._tail))
            self._tail.clear()

    def _write(self, data: bytes) -> None:
        with contextlib.suppress(OSError):  # a folder that cannot be written: the job itself will say so
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("ab") as file:
                file.write(data)


class Pump:
    """Reads a child's output until all who hold the pipe are gone. `echo`: the descriptor of the worker's own log."""

    def __init__(self, source: int, echo: int) -> None:
        self._source = source
        self._echo = echo
        self._lock = threading.Lock()
        self._capture: Capture | None = None
        self._echoed = 0
        self._thread = threading.Thread(target=self._run, name="output", daemon=True)
        self._thread.start()

    def begin(self, path: Path | None) -> None:
        """From here on the output is of another job; None: of nobody."""
        deadline = time.monotonic() + SETTLE_S
        while self._thread.is_alive() and self._pending() and time.monotonic() < deadline:
            time.sleep(0.001)
        with self._lock:
            before, self._capture = self._capture, None if path is None else Capture(path)
            self._echoed = 0
        if before is not None:
            before.close()

    def end(self, seconds: float = 1.0) -> None:
        """The child is gone: take what still is in the pipe."""
        self._thread.join(seconds)
        self.begin(None)

    def _pending(self) -> bool:
        """Whether there is output that was not read yet."""
        with self._lock:
            count = array.array("i", [0])
            try:
                fcntl.ioctl(self._source, termios.FIONREAD, count)
            except OSError:
                return False
            return count[0] > 0

    def _run(self) -> None:
        while True:
            select.select([self._source], [], [])
            with self._lock:
                data = os.read(self._source, CHUNK)
                if data and self._capture is not None:
                    self._capture.take(data)
                echo = data[: max(0, HEAD_BYTES - self._echoed)]
                self._echoed += len(data)
            if not data:
                break
            if echo:
                with contextlib.suppress(OSError):
                    os.write(self._echo, echo)
        os.close(self._source)


def path_of(spec: JobSpec, artifacts: str | None) -> Path | None:
    """Where the output of a job goes; None where its folder is not one that this worker may write in, or far away."""
    from workers.place import artifact_root

    try:
        root = artifact_root(spec.artifacts, artifacts)
    except Exception:  # the child says the same, as the end of the job
        return None
    if remote(root):  # the worker's own log has it
        return None
    name = f"log-{spec.id.rsplit('-', 1)[-1]}-a{spec.attempt}.txt"
    return Path(root) / "trials" / str(spec.trial) / name
