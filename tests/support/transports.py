"""Both ends of a transport, over each implementation: the daemon's, and a worker's as workers really speak."""

from __future__ import annotations

import time
from typing import Protocol

from searchd import wire
from searchd.transport import Transport, Up, open_transport
from searchd.transport.memory import MemoryBroker, MemoryTransport
from searchd.wire import Beat, Begun, JobSpec, Report, WorkerInfo
from tests.support.broker import Broker
from workers.uplink import Uplink


def report(step: int, job: str = "j", attempt: int = 1, **metrics: float) -> Report:
    return Report(study="s", job=job, trial=0, attempt=attempt, worker="w", step=step, metrics=metrics or {"e": 1.0})


def beat(job: str = "j") -> Beat:
    return Beat(study="s", job=job, trial=0, attempt=1, worker="w")


def info(name: str = "w", **changes: object) -> WorkerInfo:
    values: dict[str, object] = {"name": name, "device_class": "cpu", "device": "cpu:x", "host": "h", "pid": 1}
    return WorkerInfo.model_validate({**values, **changes})


class Ends(Protocol):
    """`daemon()` is a daemon's transport, each call a daemon that has just started; the rest is a worker's side."""

    def daemon(self) -> Transport: ...
    def raw(self, text: bytes | str) -> None: ...
    def send(self, message: Up) -> str | None: ...
    def claim(self, job: str, attempt: int) -> bool: ...
    def alive(self, who: WorkerInfo) -> None: ...
    def waiting(self) -> int: ...


class RedisEnds:
    """A real server, `workers.uplink` on the one side and `searchd.transport` on the other."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.uplink = Uplink(broker.url)
        self.client = broker.client()
        self.opened: list[Transport] = []

    def daemon(self) -> Transport:
        self.opened.append(open_transport(self.broker.url))
        return self.opened[-1]

    def raw(self, text: bytes | str) -> None:
        self.client.xadd(wire.UP, {"m": text})

    def send(self, message: Up) -> str | None:
        assert not isinstance(message, Begun), "a worker sends Begun by its claim"
        return self.uplink.send(message)

    def claim(self, job: str, attempt: int) -> bool:
        return self.uplink.claim(*_claim(job, attempt))

    def alive(self, who: WorkerInfo) -> None:
        self.uplink.info(who, None)

    def waiting(self) -> int:
        return int(self.client.xlen(wire.UP))

    def close(self) -> None:
        for transport in self.opened:
            transport.close()
        self.client.close()
        self.uplink._redis.close()


class MemoryEnds:
    def __init__(self) -> None:
        self.now = time.monotonic()
        self.server = MemoryBroker(clock=lambda: self.now)

    def daemon(self) -> Transport:
        return MemoryTransport(self.server)

    def raw(self, text: bytes | str) -> None:
        self.server.push(text if isinstance(text, str) else text.decode(errors="replace"))

    def send(self, message: Up) -> str | None:
        self.server.push(message)
        return self.server.stop_reason(message.job)

    def claim(self, job: str, attempt: int) -> bool:
        if not self.server.claim(job, attempt):
            return False
        self.server.push(_claim(job, attempt)[1])
        return True

    def alive(self, who: WorkerInfo) -> None:
        self.server.alive(who)

    def waiting(self) -> int:
        return len(self.server.entries)


def _claim(job: str, attempt: int) -> tuple[JobSpec, Begun]:
    spec = JobSpec(id=job, study="s", trial=0, attempt=attempt, kind="train", config={}, task={}, artifacts="out")
    return spec, Begun(study="s", job=job, trial=0, attempt=attempt, worker="w", device="cpu:x")
