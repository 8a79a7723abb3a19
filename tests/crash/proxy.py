"""A TCP proxy between the fleet and a server: connections cut, held up and let go again, as a bad network does."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
import time
from collections.abc import Callable

RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: a close sends a reset, as a machine that is gone does."""
LIMIT = 1 << 20
"""What is held for one end that does not take it; beyond, the other end is not read."""


class Proxy:
    """Listens on `port` of loopback and forwards to `dial()`. `cut()` resets every connection; while `frozen` nothing
    moves, in either direction, and new connections wait."""

    def __init__(self, dial: Callable[[], socket.socket]) -> None:
        self._dial = dial
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._frozen = threading.Event()
        self._over = threading.Event()
        self._cut = threading.Event()
        self._other: dict[socket.socket, socket.socket] = {}
        self._held: dict[socket.socket, bytearray] = {}
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        self._thread.start()

    def cut(self) -> None:
        """Reset all connections; returns when it is done."""
        self._cut.set()
        while self._cut.is_set() and self._thread.is_alive():
            time.sleep(0.005)

    def freeze(self) -> None:
        self._frozen.set()

    def thaw(self) -> None:
        self._frozen.clear()

    def close(self) -> None:
        self._over.set()
        self._thread.join(10)

    def _run(self) -> None:
        while not self._over.is_set():
            if self._cut.is_set():
                for one in list(self._other):
                    self._drop(one)
                self._cut.clear()
            if self._frozen.is_set():
                time.sleep(0.01)
                continue
            readers = [s for s, other in self._other.items() if len(self._held[other]) < LIMIT]
            writers = [s for s, held in self._held.items() if held]
            readable, writable, _ = select.select([self._listener, *readers], writers, [], 0.05)
            for one in readable:
                if one is self._listener:
                    self._accept()
                elif one in self._other:
                    self._read(one)
            for one in writable:
                if one in self._other:
                    self._write(one)
        for one in list(self._other):
            self._drop(one)
        self._listener.close()

    def _accept(self) -> None:
        client = self._listener.accept()[0]
        try:
            server = self._dial()
        except OSError:  # the server is down: so is this address
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            client.close()
            return
        for end in (client, server):
            end.setblocking(False)
            self._held[end] = bytearray()
        self._other[client], self._other[server] = server, client

    def _read(self, one: socket.socket) -> None:
        try:
            data = one.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._drop(one)
            return
        other = self._other[one]
        self._held[other] += data
        self._write(other)

    def _write(self, one: socket.socket) -> None:
        held = self._held[one]
        try:
            del held[: one.send(held)]
        except BlockingIOError:
            return
        except OSError:
            self._drop(one)

    def _drop(self, one: socket.socket) -> None:
        other = self._other.pop(one, None)
        if other is None:
            return
        del self._other[other]
        for end in (one, other):
            del self._held[end]
            with contextlib.suppress(OSError):
                if end.family == socket.AF_INET:
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            end.close()
