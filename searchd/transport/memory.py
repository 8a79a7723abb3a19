"""The transport inside one process: for tests, simulations and a worker that runs in a thread.

`MemoryBroker` is the server with both its ends; `MemoryTransport(broker)` is the daemon's side. A second transport
on the same broker is a daemon that started again.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable

from pydantic import ValidationError

from searchd.transport.base import KEEP_POISON, Up
from searchd.wire import LEASE_S, WorkerInfo, decode, encode


class MemoryBroker:
    """What a Redis-protocol server would keep, and the worker's side of it: `push`, `claim`, `stop_reason`, `alive`.

    Messages cross as JSON, as they do on the real thing. `clock`: seconds, for the time to live of workers.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.changed = threading.Condition()
        self.entries: OrderedDict[str, str] = OrderedDict()
        """What nobody acknowledged yet, by its id."""
        self.received = 0
        """The number of the newest entry that anybody has received."""
        self.stops: dict[str, str] = {}
        self.fences: dict[str, int] = {}
        self.claims: dict[str, int] = {}
        self.infos: dict[str, tuple[float, WorkerInfo]] = {}
        self.poison: list[tuple[str, str]] = []
        self._next = 0

    def push(self, message: Up | str) -> str:
        """A message up (text is taken as it is); returns the entry's id."""
        with self.changed:
            self._next += 1
            entry = f"{self._next}-0"
            self.entries[entry] = message if isinstance(message, str) else encode(message)
            self.changed.notify_all()
            return entry

    def claim(self, job: str, attempt: int) -> bool:
        """True when no worker has begun this attempt of the job or a newer one."""
        with self.changed:
            if attempt <= self.claims.get(job, 0):
                return False
            self.claims[job] = attempt
            return True

    def stop_reason(self, job: str) -> str | None:
        return self.stops.get(job)

    def alive(self, info: WorkerInfo) -> None:
        """A worker's sign of life, good for `LEASE_S`."""
        with self.changed:
            self.infos[info.name] = (self.clock() + LEASE_S, info)


class MemoryTransport:
    """`transport.base.Transport` over a `MemoryBroker`."""

    def __init__(self, broker: MemoryBroker | None = None) -> None:
        self.broker = broker if broker is not None else MemoryBroker()
        self._after = 0

    def receive(self, max: int = 500, block_s: float = 0.2) -> list[tuple[str, Up]]:
        """See `Transport.receive`."""
        broker = self.broker

        def ahead() -> list[tuple[str, str]]:
            return [(e, text) for e, text in broker.entries.items() if _number(e) > self._after][:max]

        with broker.changed:
            broker.changed.wait_for(lambda: bool(ahead()), timeout=block_s if block_s > 0 else 0.0)
            while found := ahead():
                self._after = _number(found[-1][0])
                broker.received = broker.received if broker.received > self._after else self._after
                if messages := self._messages(found):
                    return messages
            return []

    def _messages(self, entries: list[tuple[str, str]]) -> list[tuple[str, Up]]:
        good: list[tuple[str, Up]] = []
        for entry, text in entries:
            try:
                good.append((entry, decode(text)))
            except ValidationError as e:
                self.broker.poison = [*self.broker.poison, (text, str(e))][-KEEP_POISON:]
                del self.broker.entries[entry]
        return good

    def acknowledge(self, ids: Iterable[str]) -> None:
        with self.broker.changed:
            for entry in ids:
                self.broker.entries.pop(entry, None)

    def rewind(self) -> None:
        self._after = 0

    def stop(self, job: str, reason: str) -> None:
        with self.broker.changed:
            self.broker.stops[job] = reason or "stopped"

    def clear(self, job: str) -> None:
        with self.broker.changed:
            self.broker.stops.pop(job, None)

    def fence(self, job: str, attempt: int) -> None:
        with self.broker.changed:
            self.broker.fences[job] = attempt

    def claimed(self, job: str) -> int | None:
        return self.broker.claims.get(job)

    def workers(self) -> list[WorkerInfo]:
        with self.broker.changed:
            now = self.broker.clock()
            alive = [info for until, info in self.broker.infos.values() if until > now]
        return sorted(alive, key=lambda info: info.name)

    def poisoned(self) -> int:
        return len(self.broker.poison)

    def ping(self) -> None:
        """It always answers."""

    def close(self) -> None:
        """Nothing to close: the broker outlives its daemon."""


def _number(entry: str) -> int:
    return int(entry.partition("-")[0])
