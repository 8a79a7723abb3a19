"""The contract of `searchd.transport.base`, over every implementation, with a real worker's end against it."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from searchd.transport import Transport, Up
from searchd.wire import Beat, Begun, CheckpointRef, Ended, Report
from tests.support.broker import Broker
from tests.support.transports import Ends, MemoryEnds, RedisEnds, beat, info, report

IMPLEMENTATIONS = ["redis", "memory"]


@pytest.fixture(params=IMPLEMENTATIONS)
def ends(request: pytest.FixtureRequest) -> Iterator[Ends]:
    if request.param == "memory":
        yield MemoryEnds()
        return
    broker: Broker = request.getfixturevalue("clean_broker")
    both = RedisEnds(broker)
    yield both
    both.close()


def messages(transport: Transport, max: int = 500) -> list[Up]:
    return [m for _, m in transport.receive(max, 0)]


def take(transport: Transport) -> list[Up]:
    """Receive and acknowledge until nothing is left."""
    taken: list[Up] = []
    while batch := transport.receive(block_s=0):
        taken += [m for _, m in batch]
        transport.acknowledge(entry for entry, _ in batch)
    return taken


def test_messages_come_up_in_order_and_whole(ends: Ends) -> None:
    """Every kind of message arrives as it was sent, in the order of sending, NaN and infinity included."""
    kept = CheckpointRef(step=3, path="trials/0/ckpt-3-a1.safetensors", sha256="ab" * 32, bytes=9)
    sent: list[Up] = [
        beat(),
        report(1, e=0.5),
        Report(study="s", job="j", trial=0, attempt=1, step=2, metrics={"e": math.inf}, checkpoint=kept, seconds=0.25,
               points=({"threshold": 0.5, "exit_rates": [0.25, 0.75]},)),
        Ended(study="s", job="j", trial=0, attempt=1, outcome="failed", step=2, reason="oom", error="é\n\x00🙂"),
        Ended(study="s", job="k", trial=1, attempt=3, outcome="finished", step=3, checkpoint=kept,
              result={"points": [{"point": 0, "metrics": {"latency_ms": 0.5}}]}),
    ]  # fmt: skip
    daemon = ends.daemon()
    assert ends.claim("j", 1)
    for message in sent:
        ends.send(message)
    ends.send(report(4, e=math.nan))
    got = take(daemon)
    assert got[0] == Begun(study="s", job="j", trial=0, attempt=1, worker="w", device="cpu:x")
    assert got[1:-1] == sent
    assert isinstance(got[-1], Report)
    assert math.isnan(got[-1].metrics["e"])


def test_nothing_is_delivered_twice_to_one_daemon(ends: Ends) -> None:
    """Without a restart or `rewind` an entry is handed out once, acknowledged or not, in batches of at most `max`."""
    daemon = ends.daemon()
    for step in range(1, 8):
        ends.send(report(step))
    batches = [messages(daemon, 3) for _ in range(4)]
    assert [[m.step for m in b if isinstance(m, Report)] for b in batches] == [[1, 2, 3], [4, 5, 6], [7], []]


def test_messages_wait_while_no_daemon_runs(ends: Ends) -> None:
    """What was sent before the first daemon ever started is received by it."""
    ends.send(report(1))
    assert len(messages(ends.daemon())) == 1


def test_a_restart_begins_with_what_was_not_acknowledged(ends: Ends) -> None:
    """The next daemon gets the unacknowledged entries first, in the old order and under the same ids, then the new."""
    first = ends.daemon()
    for step in range(1, 6):
        ends.send(report(step))
    received = first.receive(4, 0)
    first.acknowledge([received[0][0], received[2][0]])
    ends.send(report(6))
    second = ends.daemon()
    again = second.receive(2, 0)
    assert again == [received[1], received[3]]
    assert [m.step for m in messages(second) if isinstance(m, Report)] == [5, 6]
    assert messages(second) == []


def test_who_was_replaced_takes_nothing_from_the_next(ends: Ends) -> None:
    """A daemon that does not know yet that another leads reads on: the other one still gets everything that nobody
    recorded, in order, also what the first one received meanwhile and never acknowledges."""
    first, second = ends.daemon(), ends.daemon()
    ends.send(report(1))
    assert len(messages(first)) == 1
    ends.send(report(2))
    assert [m.step for m in take(second) if isinstance(m, Report)] == [1, 2]
    ends.send(report(3))
    assert [m.step for m in messages(first) if isinstance(m, Report)] == [3]
    ends.send(report(4))
    assert [m.step for m in take(second) if isinstance(m, Report)] == [3, 4]
    assert ends.waiting() == 0


def test_rewind_hands_them_out_again(ends: Ends) -> None:
    """After `rewind` the same process gets its unacknowledged entries again, and an acknowledged one never."""
    daemon = ends.daemon()
    for step in (1, 2, 3):
        ends.send(report(step))
    received = daemon.receive(2, 0)
    daemon.acknowledge([received[0][0]])
    daemon.rewind()
    assert daemon.receive(1, 0) == [received[1]]
    assert [m.step for m in messages(daemon) if isinstance(m, Report)] == [3]
    daemon.rewind()
    assert [m.step for m in messages(daemon, 1) if isinstance(m, Report)] == [2]


def test_acknowledged_entries_are_gone(ends: Ends) -> None:
    """Nothing of them is kept, so the broker does not grow; acknowledging twice or something unknown is no error."""
    daemon = ends.daemon()
    for step in range(1, 2201):
        ends.raw(f'{{"kind":"beat","study":"s","job":"j","trial":0,"attempt":{step}}}')
    batch = daemon.receive(3000, 0)
    assert len(batch) == 2200
    assert ends.waiting() == 2200
    daemon.acknowledge(entry for entry, _ in batch)
    daemon.acknowledge([batch[0][0], "999-0"])
    daemon.acknowledge([])
    assert ends.waiting() == 0
    assert ends.daemon().receive(500, 0) == []


@pytest.mark.parametrize(
    "text",
    [
        b"", b"{", b"null", b"\xff\xfe\x00", b'{"kind":"beat"}', b'{"kind":"news","study":"s"}', b"[1,2]",
        b'{"kind":"report","study":"s","job":"j","trial":0,"attempt":1,"step":1,"metrics":{"e":"much"}}',
        b"[" * 100_000,
    ],
)  # fmt: skip
def test_poison_is_set_aside(ends: Ends, text: bytes) -> None:
    """An entry that is no message is neither delivered nor a crash: it is counted, and never comes again."""
    daemon = ends.daemon()
    ends.send(report(1))
    ends.raw(text)
    ends.send(report(2))
    assert [m.step for m in take(daemon) if isinstance(m, Report)] == [1, 2]
    assert daemon.poisoned() == 1
    again = ends.daemon()
    assert messages(again) == []
    assert again.poisoned() == 1
    assert ends.waiting() == 0


def test_only_poison_is_not_the_end(ends: Ends) -> None:
    """After a batch that was all poison the messages behind it are received, before and after a restart."""
    daemon = ends.daemon()
    for _ in range(3):
        ends.raw(b"?")
    ends.send(report(1))
    found: list[Up] = []
    for _ in range(5):
        found += messages(daemon, 1)
    assert [m.step for m in found if isinstance(m, Report)] == [1]
    assert [m.step for m in messages(ends.daemon(), 1) if isinstance(m, Report)] == [1]


def test_receiving_waits_for_the_first(ends: Ends) -> None:
    """`receive` returns at once when there is something, soon after it comes, and empty after `block_s`."""
    daemon = ends.daemon()
    begun = time.monotonic()
    assert daemon.receive(block_s=0.1) == []
    assert 0.05 < time.monotonic() - begun < 5
    later = threading.Timer(0.05, lambda: ends.send(report(1)))
    later.start()
    begun = time.monotonic()
    assert len(daemon.receive(block_s=5)) == 1
    assert time.monotonic() - begun < 4  # far below the 5 s that it might have waited
    later.join()


def test_a_stop_reaches_the_worker_with_its_next_message(ends: Ends) -> None:
    """The reason is there for that job only, until `clear`; without words it is still a reason."""
    daemon = ends.daemon()
    assert ends.send(report(1)) is None
    daemon.stop("j", "rank 9 of 9 at rung 1")
    assert ends.send(report(2)) == "rank 9 of 9 at rung 1"
    assert ends.send(beat("other")) is None
    daemon.stop("j", "stopped by the user")
    assert ends.send(report(3)) == "stopped by the user"
    daemon.clear("j")
    assert ends.send(report(4)) is None
    daemon.clear("never")
    daemon.stop("j", "")
    assert ends.send(report(5))


def test_an_attempt_is_claimed_once(ends: Ends) -> None:
    """`claimed` is the newest attempt that a worker took; the same or an older one cannot be taken any more."""
    daemon = ends.daemon()
    assert daemon.claimed("j") is None
    assert ends.claim("j", 2)
    assert daemon.claimed("j") == 2
    assert not ends.claim("j", 2)
    assert not ends.claim("j", 1)
    assert ends.claim("j", 3)
    assert daemon.claimed("j") == 3
    daemon.clear("j")
    assert not ends.claim("j", 3), "clearing a stop must not make a stale task claimable"
    assert [m.attempt for m in take(daemon) if isinstance(m, Begun)] == [2, 3]


def test_workers_are_those_that_live(ends: Ends) -> None:
    """Each slot once, by name, with its last words."""
    daemon = ends.daemon()
    assert daemon.workers() == []
    ends.alive(info("b", functions=("a:f",)))
    ends.alive(info("a"))
    ends.alive(info("b", state="busy", job="j"))
    assert daemon.workers() == [info("a"), info("b", state="busy", job="j")]


def test_it_answers(ends: Ends) -> None:
    """`ping` returns."""
    ends.daemon().ping()


steps = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.integers(1, 4)),
        st.tuples(st.just("receive"), st.integers(1, 3)),
        st.tuples(st.just("acknowledge"), st.integers(0, 3)),
        st.tuples(st.sampled_from(["rewind", "restart", "poison"]), st.just(0)),
    ),
    max_size=14,
)


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(course=steps)
def test_at_least_once_and_in_order(name: str, broker: Broker, course: list[tuple[str, int]]) -> None:
    """Through any course of receiving, acknowledging, rewinding and restarting, every message comes until it is
    acknowledged, none after that, and each pass is in the order of sending."""
    ends: RedisEnds | MemoryEnds
    if name == "redis":
        broker.flush()
        ends = RedisEnds(broker)
    else:
        ends = MemoryEnds()
    daemon = ends.daemon()
    sent = 0
    held: dict[int, str] = {}  # received in this pass and not acknowledged
    done: set[int] = set()
    last = 0
    for act, n in course:
        match act:
            case "send":
                for _ in range(n):
                    sent += 1
                    ends.send(report(sent))
            case "poison":
                ends.raw(b"?")
            case "receive":
                for entry, message in daemon.receive(n, 0):
                    assert isinstance(message, Report)
                    assert message.step > last, "out of order, or twice in one pass"
                    assert message.step not in done
                    last = message.step
                    held[message.step] = entry
            case "acknowledge":
                part = sorted(held)[:n]
                daemon.acknowledge([held.pop(step) for step in part])
                done.update(part)
            case "rewind" | "restart":
                if act == "rewind":
                    daemon.rewind()
                else:
                    daemon = ends.daemon()
                held.clear()
                last = 0
    daemon.rewind()
    rest: list[int] = []
    for _ in range(len(course) + 2):  # a batch may be empty where it was all poison
        rest += [m.step for m in messages(daemon) if isinstance(m, Report)]
    assert rest == [step for step in range(1, sent + 1) if step not in done]
    if isinstance(ends, RedisEnds):
        ends.close()


def test_beats_are_told_apart(ends: Ends) -> None:
    """A beat comes up as a beat of its job."""
    ends.send(beat("x"))
    assert take(ends.daemon()) == [Beat(study="s", job="x", trial=0, attempt=1, worker="w")]
