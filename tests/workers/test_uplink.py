"""A worker's side of the wire against a real broker, read by the daemon's own transport."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

import pytest

from searchd import wire
from searchd.errors import Refused, Unreachable
from searchd.transport.redis import RedisTransport
from searchd.urls import celery_url
from searchd.wire import Beat, Begun, Ended, JobSpec, Report, WorkerInfo
from tests.support.broker import Broker
from workers.relay import who
from workers.uplink import Superseded, Uplink, redis_url


def spec(attempt: int = 1) -> JobSpec:
    return JobSpec(
        id="j", study="s", trial=1, attempt=attempt, kind="train", config={}, task={"kind": "function"}, artifacts="."
    )


def report(step: int) -> Report:
    return Report(**who(spec(), "w"), step=step, metrics={"error": float("nan")})


@pytest.fixture
def daemon(clean_broker: Broker) -> Iterator[RedisTransport]:
    transport = RedisTransport(clean_broker.url)
    yield transport
    transport.close()


def test_a_claim_is_taken_once_an_attempt(clean_broker: Broker, daemon: RedisTransport) -> None:
    """Each attempt is begun once, older ones never after newer ones, and `begun` is on the stream for each claim."""
    uplink = Uplink(clean_broker.url)
    begun = Begun(**who(spec(), "w"))
    assert daemon.claimed("j") is None
    assert [uplink.claim(spec(n), begun) for n in (1, 1, 3, 2, 3, 4)] == [True, False, True, False, False, True]
    assert daemon.claimed("j") == 4
    assert [m.kind for _, m in daemon.receive(block_s=0)] == ["begun"] * 3


def test_messages_arrive_as_they_were(clean_broker: Broker, daemon: RedisTransport) -> None:
    """What a worker sends is what the daemon reads, in order."""
    uplink = Uplink(clean_broker.url)
    sent = [report(1), Beat(**who(spec(), "w")), Ended(**who(spec(), "w"), outcome="failed", reason="oom")]
    for message in sent:
        assert uplink.send(message) is None
    got = [m for _, m in daemon.receive(block_s=0)]
    assert [wire.encode(m) for m in got] == [wire.encode(m) for m in sent]


def test_a_stop_comes_back_with_a_message(clean_broker: Broker, daemon: RedisTransport) -> None:
    """The reason that the daemon gave is the answer to the next message of that job, and of no other."""
    uplink = Uplink(clean_broker.url)
    daemon.stop("j", "rank 3 of 3")
    assert uplink.send(report(1)) == "rank 3 of 3"
    assert uplink.send(Beat(**who(spec(), "w") | {"job": "other"})) is None


def test_while_the_broker_is_away_everything_but_beats_waits(own_broker: Broker) -> None:
    """Nothing is lost and nothing raises; after the return all of it goes up in order, without the beats, and
    after what was sent just before."""
    uplink = Uplink(own_broker.url)
    uplink.send(report(1))
    own_broker.kill()
    for message in (report(2), Beat(**who(spec(), "w")), report(3)):
        assert uplink.send(message) is None
    assert not uplink.drain("j")
    with pytest.raises(Unreachable):
        uplink.claim(spec(), Begun(**who(spec(), "w")))
    own_broker.start()
    uplink._retry_at = 0.0
    assert uplink.drain("j")
    transport = RedisTransport(own_broker.url)
    assert [(m.kind, getattr(m, "step", 0)) for _, m in transport.receive(block_s=0)] == [
        ("report", 1), ("report", 1), ("report", 2), ("report", 3)  # the first again: it may have been forgotten
    ]  # fmt: skip
    transport.close()


def test_a_workers_card_is_seen_and_forgotten(clean_broker: Broker, daemon: RedisTransport) -> None:
    """What a worker says of itself is listed, its last words are found by its successor, and `forget` removes both."""
    uplink = Uplink(clean_broker.url)
    card = WorkerInfo(name="w-0", device_class="cpu", device="cpu", host="h", pid=1)
    uplink.info(card, "last words")
    assert daemon.workers() == [card]
    assert uplink.predecessor("w-0") == "last words"
    uplink.info(card, None)
    assert uplink.predecessor("w-0") is None
    uplink.forget("w-0")
    assert daemon.workers() == []


@pytest.mark.parametrize(
    ("given", "redis", "celery"),
    [
        ("redis://h:1/2", "redis://h:1/2", "redis://h:1/2"),
        ("rediss://u:p@h:1", "rediss://u:p@h:1", "rediss://u:p@h:1?ssl_cert_reqs=required"),
        ("unix:///tmp/a/s", "unix:///tmp/a/s", "redis+socket:///tmp/a/s?virtual_host=0"),
        ("unix:///tmp/s?db=3", "unix:///tmp/s?db=3", "redis+socket:///tmp/s?virtual_host=3"),
        ("redis+socket:///tmp/s?virtual_host=2", "unix:///tmp/s?db=2", "redis+socket:///tmp/s?virtual_host=2"),
        ("unix://:pw@/tmp/s", "unix://:pw@/tmp/s", "redis+socket://:pw@/tmp/s?virtual_host=0"),
        ("redis+socket:///tmp/s", "unix:///tmp/s?db=0", "redis+socket:///tmp/s?virtual_host=0"),
    ],
)
def test_one_url_in_both_spellings(given: str, redis: str, celery: str) -> None:
    """redis-py and Celery spell a unix socket differently; either spelling is taken and gives both."""
    assert (redis_url(given), celery_url(given)) == (redis, celery)


@pytest.mark.parametrize("url", ["amqp://h", "/tmp/s", "http://h:80"])
def test_another_broker_is_refused(url: str) -> None:
    """Only Redis-protocol URLs are taken, and the message says how one looks."""
    with pytest.raises(Refused, match="redis://HOST:PORT"):
        redis_url(url)


def test_a_claim_whose_answer_was_lost_is_still_taken(clean_broker: Broker, daemon: RedisTransport) -> None:
    """Asked again under the same token it is taken, and said once; under another token it is not."""
    uplink = Uplink(clean_broker.url)
    begun = Begun(**who(spec(), "w"))
    assert [uplink.claim(spec(), begun, token) for token in ("a", "a", "b", "a")] == [True, True, False, True]
    assert not uplink.claim(spec(), begun)
    assert [m.kind for _, m in daemon.receive(block_s=0)] == ["begun"]


def test_an_older_attempt_hears_that_it_is_superseded(clean_broker: Broker, daemon: RedisTransport) -> None:
    """The fence speaks to attempts below it and to no other."""
    uplink = Uplink(clean_broker.url)
    assert uplink.send(Beat(**who(spec(1), "w"))) is None
    daemon.fence("j", 2)
    assert isinstance(uplink.send(Beat(**who(spec(1), "w"))), Superseded)
    assert uplink.send(Beat(**who(spec(2), "w"))) is None
    assert uplink.send(Beat(**who(spec(1), "w") | {"job": "other"})) is None


def test_what_a_broker_forgot_goes_up_again(own_broker: Broker) -> None:
    """A server that crashed and lost its last second gets it again with the next message, or by the sign of life of a
    slot that is idle; what is older than that is not sent again."""
    uplink = Uplink(own_broker.url)
    uplink.send(report(1))
    uplink._recent[0] = (uplink._recent[0][0] - 60, report(1))
    uplink.send(report(2))
    uplink.send(report(3))
    transport = RedisTransport(own_broker.url)
    for how in ("message", "life"):
        own_broker.kill()
        own_broker.start()
        own_broker.flush()
        if how == "message":
            uplink.send(report(4))
        else:
            uplink.info(WorkerInfo(name="w", device_class="cpu", device="d", host="h", pid=1), None)
        transport.rewind()
        steps = []
        for _ in range(3):
            with contextlib.suppress(Unreachable):
                steps += [getattr(m, "step", 0) for _, m in transport.receive(block_s=0)]
        assert steps == [2, 3, 4]
    transport.close()


def test_a_second_connection_is_no_break(clean_broker: Broker, daemon: RedisTransport) -> None:
    """Where the sign of life has the connection just then, a report goes over another one; nothing goes up twice."""
    uplink = Uplink(clean_broker.url)
    uplink.send(report(1))
    pool = uplink._redis.connection_pool
    of_the_other_thread = pool.get_connection()
    uplink.send(report(2))
    pool.release(of_the_other_thread)
    uplink.send(report(3))
    assert [getattr(m, "step", 0) for _, m in daemon.receive(block_s=0)] == [1, 2, 3]


def test_the_last_report_and_the_end_are_seen_together(clean_broker: Broker, daemon: RedisTransport) -> None:
    """A report that was held goes up with the end, and a daemon that waits for the stream gets both at once."""
    uplink = Uplink(clean_broker.url)
    uplink.send(Beat(**who(spec(), "w")))
    assert [m.kind for _, m in daemon.receive(block_s=0)] == ["beat"]
    got: list[str] = []
    waits = threading.Thread(target=lambda: got.extend(m.kind for _, m in daemon.receive(block_s=10)))
    waits.start()
    time.sleep(0.1)
    uplink.hold(report(1))
    uplink.send(Ended(**who(spec(), "w"), outcome="finished", step=1))
    waits.join(30)
    assert got == ["report", "ended"]
