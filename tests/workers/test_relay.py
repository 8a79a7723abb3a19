"""A job's last words: its last report and its end go up in one round, and nobody waits for what is there already."""

from __future__ import annotations

from typing import Any

import pytest

from searchd.transport.redis import RedisTransport
from searchd.wire import JobSpec
from tests.support.broker import Broker
from workers.relay import LAST_S, LOOK_S, Relay
from workers.uplink import Uplink

SPEC = JobSpec(
    id="j", study="s", trial=1, attempt=1, kind="train", config={}, task={"kind": "function"}, artifacts=".", until=2
)


class Child:
    """Says what it is given, a batch at a time; keeps how long it was listened to."""

    pid = None
    holds: tuple[str, ...] = ()

    def __init__(self, *batches: list[dict[str, Any]]) -> None:
        self.batches = list(batches)
        self.waits: list[float] = []
        self.told: list[dict[str, Any]] = []

    def receive(self, timeout_s: float) -> list[dict[str, Any]]:
        self.waits.append(timeout_s)
        return self.batches.pop(0)

    def send(self, message: dict[str, Any]) -> None:
        self.told.append(message)


def report(step: int, *, last: bool = False) -> dict[str, Any]:
    return {"up": "report", "step": step, "metrics": {"loss": 1.0}, "points": [], "seconds": 0.1, "checkpoint": None,
            "inherited": None, "last": last}  # fmt: skip


ENDED = {"up": "ended", "outcome": "finished", "step": 2, "reason": "", "error": "", "checkpoint": None, "result": None,
         "seconds": 0.2, "holds": []}  # fmt: skip


@pytest.mark.parametrize(
    ("batches", "waits"),
    [
        ([[report(1)], [report(2, last=True), ENDED]], [LOOK_S, LOOK_S]),
        ([[report(1)], [report(2, last=True)], [ENDED]], [LOOK_S, LOOK_S, LAST_S]),
        ([[report(1)], [report(2, last=True)], [], [ENDED]], [LOOK_S, LOOK_S, LAST_S, LOOK_S]),
    ],
)
def test_the_end_is_waited_for_only_where_it_is_to_come(
    clean_broker: Broker, batches: list[list[dict[str, Any]]], waits: list[float]
) -> None:
    """With the last report: at once. A moment after it: together. Later: the report goes up alone. None is lost."""
    child, daemon = Child(*batches), RedisTransport(clean_broker.url)
    uplink = Uplink(clean_broker.url)
    relay = Relay(SPEC, child, uplink, "w", beat_s=60.0, grace_s=1.0, shutting=lambda: False)  # type: ignore[arg-type]
    ended = relay.to_the_end()
    assert (ended.outcome, ended.step) == ("finished", 2)
    assert child.waits == waits
    uplink.send(ended)
    assert [m.kind for _, m in daemon.receive(block_s=0)] == ["report", "report", "ended"]
    alone = 1 + (len(batches) == 4)
    assert [m["do"] for m in child.told] == ["ack"] * alone
    daemon.close()
