"""JSON lines over a pair of pipes, without threads: a slot at one end, its child at the other."""

from __future__ import annotations

import json
import os
import select
import time
from typing import Any

CHUNK = 1 << 16


class Gone(Exception):
    """The other end is closed."""


class Pipes:
    """`source` is read, `sink` written; both are file descriptors and are closed by `close`."""

    def __init__(self, source: int, sink: int) -> None:
        self.source = source
        self.sink = sink
        self._buffer = b""
        self._closed = False

    def send(self, message: dict[str, Any]) -> None:
        """Write one message, whole. Raises Gone."""
        data = json.dumps(message, separators=(",", ":")).encode() + b"\n"
        try:
            while data:
                data = data[os.write(self.sink, data) :]
        except OSError as error:
            raise Gone from error

    def receive(self, timeout_s: float | None) -> list[dict[str, Any]]:
        """The messages that are there, waiting up to `timeout_s` for the first (None: for ever). Raises Gone."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while b"\n" not in self._buffer:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if not select.select([self.source], [], [], left)[0]:
                return []
            chunk = os.read(self.source, CHUNK)
            if not chunk:
                raise Gone
            self._buffer += chunk
        *lines, self._buffer = self._buffer.split(b"\n")
        return [json.loads(line) for line in lines if line]

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            os.close(self.source)
            os.close(self.sink)
