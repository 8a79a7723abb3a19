"""How far a training function may be ahead of the answers to its reports."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

import workers.child
from searchd.wire import CheckpointRef
from workers.child import AHEAD, SlotLink
from workers.job import End
from workers.pipes import Pipes


@pytest.fixture
def ends() -> Iterator[tuple[SlotLink, Pipes]]:
    """A child's link and its slot's end of the pipes."""
    down_read, down_write = os.pipe()
    up_read, up_write = os.pipe()
    child, slot = Pipes(down_read, up_write), Pipes(up_read, down_write)
    link = SlotLink(child)
    link._job = ("j", 1)
    yield link, slot
    child.close()
    slot.close()


WRITTEN = CheckpointRef(step=1, path="trials/0/ckpt-1-a1.safetensors", sha256="0" * 64, bytes=1)


def report(link: SlotLink, step: int, seconds: float, written: CheckpointRef | None = None) -> bool:
    return link.report(step, {"loss": 1.0}, (), seconds, written)


def heard(slot: Pipes, count: int) -> list[int]:
    steps: list[int] = []
    while len(steps) < count:
        steps += [message["step"] for message in slot.receive(5.0)]
    return steps


def test_quick_steps_do_not_wait_one_by_one(
    ends: tuple[SlotLink, Pipes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a clock that stands still `AHEAD` - 1 reports go out unanswered; the next waits for all the answers."""
    link, slot = ends
    monkeypatch.setattr(workers.child, "time", SimpleNamespace(monotonic=lambda: 0.0))
    for step in range(1, AHEAD):
        report(link, step, 0.0)  # nobody answers: one that waited would wait for ever
    assert heard(slot, AHEAD - 1) == list(range(1, AHEAD))
    last = threading.Thread(target=report, args=(link, AHEAD, 0.0))
    last.start()
    assert heard(slot, 1) == [AHEAD]
    last.join(0.2)
    assert last.is_alive()
    slot.send({"do": "stop", "job": "j", "attempt": 1, "reason": "rank 3 of 3"})
    slot.send({"do": "ack", "reports": AHEAD, "up": True})
    last.join(30)
    assert not last.is_alive()
    asked = link.request()
    assert asked is not None
    assert asked.reason == "rank 3 of 3"


@pytest.mark.parametrize(("seconds", "clock"), [(1.0, [0.0, 0.0]), (0.0, [0.0, 1.0])])
def test_a_slow_step_waits_for_its_answer(
    ends: tuple[SlotLink, Pipes], monkeypatch: pytest.MonkeyPatch, seconds: float, clock: list[float]
) -> None:
    """A step that took long, or came long after the first unanswered report, hears of a stop before the next begins."""
    link, slot = ends
    ticks = iter(clock)
    monkeypatch.setattr(workers.child, "time", SimpleNamespace(monotonic=lambda: next(ticks)))
    report(link, 1, 0.0)
    second = threading.Thread(target=report, args=(link, 2, seconds))
    second.start()
    assert heard(slot, 2) == [1, 2]
    second.join(0.2)
    assert second.is_alive()
    slot.send({"do": "stop", "job": "j", "attempt": 1, "reason": "enough"})
    slot.send({"do": "ack", "reports": 2, "up": True})
    second.join(30)
    assert not second.is_alive()
    asked = link.request()
    assert asked is not None
    assert asked.reason == "enough"


@pytest.mark.parametrize("up", [True, False])
def test_a_report_with_a_checkpoint_waits_until_it_is_known_to_be_up(
    ends: tuple[SlotLink, Pipes], monkeypatch: pytest.MonkeyPatch, up: bool
) -> None:
    """Older checkpoints may be removed then, and not while the broker is away; what ran ahead is not known to be up."""
    link, slot = ends
    monkeypatch.setattr(workers.child, "time", SimpleNamespace(monotonic=lambda: 0.0))
    assert not report(link, 1, 0.0)
    answers: list[bool] = []
    second = threading.Thread(target=lambda: answers.append(report(link, 2, 0.0, WRITTEN)))
    second.start()
    assert heard(slot, 2) == [1, 2]
    slot.send({"do": "ack", "reports": 1, "up": True})
    second.join(0.2)
    assert second.is_alive()
    slot.send({"do": "ack", "reports": 1, "up": up})
    second.join(30)
    assert answers == [up]


def test_nothing_runs_ahead_while_the_broker_is_away(
    ends: tuple[SlotLink, Pipes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each report waits for its answer until one says that it went up."""
    link, slot = ends
    monkeypatch.setattr(workers.child, "time", SimpleNamespace(monotonic=lambda: 0.0))
    report(link, 1, 0.0)
    slot.send({"do": "ack", "reports": 1, "up": False})
    for step, up in ((2, False), (3, True)):
        waits = threading.Thread(target=report, args=(link, step, 0.0))
        waits.start()
        heard(slot, step if step == 2 else 1)
        waits.join(0.2)
        assert waits.is_alive()
        slot.send({"do": "ack", "reports": 1, "up": up})
        waits.join(30)
        assert not waits.is_alive()
    report(link, 4, 0.0)  # ahead again


def test_the_last_report_of_a_job_waits_for_nobody(ends: tuple[SlotLink, Pipes]) -> None:
    """Its end follows at once, so that the slot sends both together; whether it went up is not known here."""
    link, slot = ends
    assert not link.report(3, {"loss": 1.0}, (), 1.0, WRITTEN, last=True)  # nobody answers
    link.ended(End("finished", 3), ())
    messages: list[dict[str, Any]] = []
    while len(messages) < 2:
        messages += slot.receive(5.0)
    assert [m["up"] for m in messages] == ["report", "ended"]
    assert messages[0]["last"]
