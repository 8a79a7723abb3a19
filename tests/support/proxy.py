"""A unix-socket proxy that breaks a connection just after the server answered: what a network does, made to order."""

from __future__ import annotations

import contextlib
import select
import shutil
import socket
import tempfile
import threading
from pathlib import Path
from types import TracebackType


class LossyProxy:
    """Forwards to `target`. Set `lose_answer_to` to a command: the next request that holds it reaches the server, its
    answer is read and thrown away, and the connection is closed; `lost` counts them.
    `for_good`: so it goes with each one after it too, until it is None again."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self.folder = Path(tempfile.mkdtemp(prefix="sdp-", dir="/tmp"))
        self.path = self.folder / "s"
        self.lose_answer_to: bytes | None = None
        self.for_good = False
        self.lost = 0
        self._over = threading.Event()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> LossyProxy:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join(10)
        shutil.rmtree(self.folder)

    def _run(self) -> None:
        """All connections in one thread; each is a pair of sockets that know each other."""
        other: dict[socket.socket, socket.socket] = {}
        clients: set[socket.socket] = set()
        doomed: set[socket.socket] = set()  # servers whose next answer is thrown away

        def close(one: socket.socket) -> None:
            pair = other.pop(one)
            del other[pair]
            for end in (one, pair):
                clients.discard(end)
                doomed.discard(end)
                end.close()

        while not self._over.is_set():
            for one in select.select([self._listener, *other], [], [], 0.05)[0]:
                if one is self._listener:
                    client, server = self._listener.accept()[0], socket.socket(socket.AF_UNIX)
                    try:
                        server.connect(str(self.target))
                    except OSError:  # the server is down: so is this address
                        client.close()
                        server.close()
                        continue
                    other[client], other[server] = server, client
                    clients.add(client)
                    continue
                if one not in other:
                    continue
                try:
                    data = one.recv(65536)
                except ConnectionResetError:
                    data = b""
                if one in clients and self.lose_answer_to is not None and self.lose_answer_to in data:
                    if not self.for_good:
                        self.lose_answer_to = None
                    doomed.add(other[one])
                if one in doomed and data:
                    self.lost += 1
                if not data or one in doomed:
                    close(one)
                    continue
                with contextlib.suppress(OSError):
                    other[one].sendall(data)
        for one in list(clients):
            close(one)
        self._listener.close()
