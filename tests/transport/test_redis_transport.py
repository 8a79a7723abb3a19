"""What only a real server can do to the transport: go away, come back, lose its data, want a password."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from searchd import wire
from searchd.errors import SearchdError, Unreachable
from searchd.transport import open_transport
from searchd.wire import Report, WorkerInfo
from tests.support.broker import Broker
from tests.support.proxy import LossyProxy
from tests.support.transports import RedisEnds, info, report


def steps(batch: list[tuple[str, object]]) -> list[int]:
    return [m.step for _, m in batch if isinstance(m, Report)]


def test_a_broker_that_comes_back_has_lost_nothing(own_broker: Broker) -> None:
    """Killed and restarted: while it is away every call is Unreachable, then what was not acknowledged comes again."""
    ends = RedisEnds(own_broker)
    daemon = ends.daemon()
    for step in (1, 2, 3):
        ends.send(report(step))
    received = daemon.receive(2, 0)
    daemon.acknowledge([received[0][0]])
    daemon.stop("j", "why")
    ends.claim("k", 4)
    own_broker.kill()
    for call in (
        daemon.ping, daemon.receive, daemon.workers, daemon.poisoned, lambda: daemon.acknowledge([received[1][0]]),
        lambda: daemon.stop("j", "x"), lambda: daemon.clear("j"), lambda: daemon.claimed("k"),
    ):  # fmt: skip
        with pytest.raises(Unreachable, match="is it running"):
            call()
    own_broker.start()
    assert steps(daemon.receive(500, 0)) == [2, 3]
    assert daemon.claimed("k") == 4
    assert ends.send(report(4)) == "why"
    ends.close()


def test_a_broker_that_lost_everything_is_taken_up_again(clean_broker: Broker) -> None:
    """After FLUSHALL under a running daemon the stream is made anew and messages flow."""
    ends = RedisEnds(clean_broker)
    daemon = ends.daemon()
    ends.send(report(1))
    assert steps(daemon.receive(500, 0)) == [1]
    clean_broker.flush()
    assert daemon.receive(500, 0) == []
    ends.send(report(2))
    assert steps(daemon.receive(500, 0)) == [2]
    ends.close()


def test_a_deleted_entry_is_no_message(clean_broker: Broker) -> None:
    """An entry that was received and then deleted by hand does not hold up what is behind it after a restart."""
    ends = RedisEnds(clean_broker)
    for step in (1, 2):
        ends.send(report(step))
    first, second = ends.daemon().receive(500, 0)
    ends.client.xdel(wire.UP, first[0])
    daemon = ends.daemon()
    assert daemon.receive(500, 0) == [second]
    assert daemon.receive(500, 0) == []
    ends.close()


def test_poison_is_kept_for_a_person(clean_broker: Broker) -> None:
    """What was set aside says which entry it was, what was in it and what is wrong."""
    ends = RedisEnds(clean_broker)
    entry = ends.client.xadd(wire.UP, {"m": '{"kind":"beat","study":"s"}'})
    ends.client.xadd(wire.UP, {"other": "field"})
    assert ends.daemon().receive(500, 0) == []
    (_, kept), (_, second) = ends.client.xrange("searchd:poison")
    assert kept["entry"] == entry
    assert kept["m"] == '{"kind":"beat","study":"s"}'
    assert "job" in kept["why"]
    assert second["m"] == ""
    ends.close()


def test_workers_expire_and_strangers_are_ignored(clean_broker: Broker) -> None:
    """A worker is shown for the time to live of its key; keys that hold something else are passed over."""
    ends = RedisEnds(clean_broker)
    daemon = ends.daemon()
    ends.alive(info("a"))
    assert 0 < ends.client.ttl(wire.worker_key("a")) <= wire.LEASE_S
    ends.client.hset(wire.worker_key("odd"), "m", "{")
    ends.client.hset(wire.worker_key("empty"), "x", "y")
    ends.client.set(wire.worker_key("text"), "z")
    ends.client.set(wire.claim_key("odd"), "many")
    assert [w.name for w in daemon.workers()] == ["a"]
    assert isinstance(daemon.workers()[0], WorkerInfo)
    ends.client.delete(wire.worker_key("a"))
    assert daemon.workers() == []
    assert daemon.claimed("odd") is None
    ends.close()


def test_a_wrong_or_missing_password_says_so(own_broker: Broker) -> None:
    """AUTH problems are Unreachable with the remedy; neither message holds a password. The right one works."""
    with own_broker.client() as client:
        client.config_set("requirepass", "secret-1")
    path = own_broker.socket
    for url in (f"unix://{path}", f"unix://:secret-2@{path}"):
        transport = open_transport(url)
        with pytest.raises(Unreachable, match="user and password") as e:
            transport.ping()
        assert "secret-" not in str(e.value)
        transport.close()
    transport = open_transport(f"unix://:secret-1@{path}")
    transport.ping()
    assert transport.receive(block_s=0) == []
    transport.close()


def test_a_full_broker_says_so(own_broker: Broker) -> None:
    """When the server refuses writes for memory the message says to raise it."""
    transport = open_transport(own_broker.url)
    transport.ping()
    with own_broker.client() as client:
        client.config_set("maxmemory", "1")
    with pytest.raises(Unreachable, match="raise its maxmemory"):
        transport.stop("j", "x")
    transport.close()


def test_a_host_that_does_not_answer_is_unreachable() -> None:
    """A closed TCP port is Unreachable, with the URL but not its password."""
    transport = open_transport("redis://me:secret@127.0.0.1:1/0")
    with pytest.raises(Unreachable, match=r"redis://me:\*\*\*@127\.0\.0\.1:1/0") as e:
        transport.ping()
    assert "secret" not in str(e.value)
    transport.close()


def test_a_url_that_is_none_is_told_at_once() -> None:
    """A broker URL of another kind is refused when the transport is made."""
    for url in ("amqp://host", "redis://", "nonsense", "redis://host:port/0"):
        with pytest.raises(SearchdError, match=r"broker URL|names no host"):
            open_transport(url)


def test_an_answer_that_is_lost_on_its_way_comes_again(clean_broker: Broker) -> None:
    """The connection breaks after the server handed entries out and before the daemon got them: the daemon is told,
    and its next `receive` brings them, without a restart."""
    ends = RedisEnds(clean_broker)
    with LossyProxy(clean_broker.socket) as proxy:
        daemon = open_transport(f"unix://{proxy.path}")
        assert daemon.receive(500, 0) == []
        ends.send(report(1))
        ends.send(report(2))
        proxy.lose_answer_to = b"XREAD"
        with pytest.raises(Unreachable):
            daemon.receive(500, 0)
        assert proxy.lost == 1
        ends.send(report(3))
        assert steps(daemon.receive(2, 0)) == [1, 2]
        assert steps(daemon.receive(500, 0)) == [3]
        daemon.close()
    ends.close()


def test_an_acknowledgement_that_is_lost_changes_nothing(clean_broker: Broker) -> None:
    """The connection breaks on the way back from XDEL: whatever the server did, nothing is handed out that was
    acknowledged, and nothing else is lost."""
    ends = RedisEnds(clean_broker)
    with LossyProxy(clean_broker.socket) as proxy:
        daemon = open_transport(f"unix://{proxy.path}")
        for step in (1, 2, 3):
            ends.send(report(step))
        received = daemon.receive(2, 0)
        proxy.lose_answer_to = b"XDEL"
        daemon.acknowledge([received[0][0]])  # repeated by itself: it changes nothing twice
        assert proxy.lost == 1
        assert steps(daemon.receive(500, 0)) == [3]
        daemon.rewind()
        assert steps(daemon.receive(500, 0)) == [2, 3]
        daemon.close()
    ends.close()


KILLED = """
import sys, time
sys.path.insert(0, {root!r})
from searchd.transport import open_transport
t = open_transport({url!r})
print(len(t.receive(2, 1)), flush=True)
time.sleep(60)
"""


def test_a_killed_daemon_loses_no_message(clean_broker: Broker) -> None:
    """SIGKILL of a process that received and did not acknowledge: the next one gets the same entries first."""
    ends = RedisEnds(clean_broker)
    for step in (1, 2, 3):
        ends.send(report(step))
    code = KILLED.format(root=str(Path(__file__).parents[2]), url=clean_broker.url)
    process = subprocess.Popen([sys.executable, "-P", "-c", code], stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"2\n"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    daemon = ends.daemon()
    assert steps(daemon.receive(2, 0)) == [1, 2]
    assert steps(daemon.receive(500, 0)) == [3]
    ends.close()
