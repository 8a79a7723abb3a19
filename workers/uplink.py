"""A worker's side of the wire: claims a job, sends what happens, and hears whether the job is to stop.

Messages go up in order. While the broker is away they wait here and go up when it is back (a message may go up twice
then: the engine counts a report once). Nothing here raises for a broker that is away, except `claim`.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections import deque
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit
from weakref import WeakSet

import redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from searchd import wire
from searchd.errors import Refused, Unreachable
from searchd.urls import unusable
from searchd.wire import Beat, Begun, Ended, JobSpec, Report, WorkerInfo

log = logging.getLogger("searchd.worker")

CLAIM_S = 14 * 24 * 3600
"""How long a claim is remembered: longer than a Celery message can be delivered again."""
SOCKET_S = 5.0
RETRY_S = 0.5
AGAIN_S = 3.0
"""A server that crashes and comes back from its append-only file may have forgotten its last second, or two when its
disk is slow: what was sent within so long before a connection broke goes up again."""

CLAIM = """
local held = tonumber(redis.call('GET', KEYS[1]) or '0')
if held == tonumber(ARGV[1]) and redis.call('GET', KEYS[3]) == ARGV[4] then return 1 end
if held >= tonumber(ARGV[1]) then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[3])
redis.call('SET', KEYS[3], ARGV[4], 'EX', ARGV[3])
redis.call('XADD', KEYS[2], '*', 'm', ARGV[2])
return 1
"""
"""Take the job if no worker has begun this attempt or a newer one, and say so on the stream: both or neither.
A claim whose answer was lost is asked for again under the same token (ARGV[4]), and is still taken."""


def redis_url(url: str) -> str:
    """A broker's URL as redis-py spells it: Celery's `redis+socket:///path?virtual_host=1` becomes `unix:///path?db=1`.

    Raises Refused for a broker that is not Redis.
    """
    parts = urlsplit(url)
    if parts.scheme in ("redis", "rediss", "unix"):
        return url
    if parts.scheme == "redis+socket":
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        query["db"] = query.pop("virtual_host", "0")
        return f"unix://{parts.netloc}{parts.path}?{urlencode(query)}"
    raise Refused(f"broker {parts.scheme}:… is not a Redis URL; write redis://HOST:PORT/0 or unix:///PATH")


def connect(url: str, retries: int = 1, **more: Any) -> redis.Redis:
    """A client that tries again on a stale connection and then lets its caller know. Refused: no URL."""
    try:
        client = redis.Redis.from_url(
            redis_url(url), decode_responses=True, socket_timeout=SOCKET_S, socket_connect_timeout=SOCKET_S,
            retry=Retry(NoBackoff(), retries), **more,
        )  # fmt: skip
    except ValueError as error:
        raise Refused(f"the broker's URL cannot be read ({error}); write redis://HOST:PORT/0 or unix:///PATH") from None
    if problem := unusable(url, client):
        raise Refused(problem)
    return client


class Superseded(str):
    """The answer to a message of an attempt that is no longer the job's: nothing more of it is wanted."""


class Uplink:
    """One slot's connection; used by its main thread, and `info` by its heartbeat thread."""

    def __init__(self, url: str) -> None:
        self._redis = connect(url, retries=0, redis_connect_func=self._connected)
        self._claim = self._redis.register_script(CLAIM)
        self._waiting: deque[Beat | Report | Ended] = deque()
        self._recent: deque[tuple[float, Report | Ended]] = deque()
        self._known: WeakSet[Any] = WeakSet()
        self._sending = threading.RLock()
        self._retry_at = 0.0
        self._broken = False
        self._away = False

    @property
    def waits(self) -> bool:
        """Whether something was not sent yet."""
        return bool(self._waiting)

    def claim(self, spec: JobSpec, begun: Begun, token: str | None = None) -> bool:
        """Take the job; False when this or a newer attempt was begun before, by another `token`. Raises Unreachable."""
        keys = [wire.claim_key(spec.id), wire.UP, f"{wire.claim_key(spec.id)}:by"]
        args: list[str | int] = [spec.attempt, wire.encode(begun), CLAIM_S, token or uuid.uuid4().hex]
        try:
            return bool(self._claim(keys=keys, args=args))
        except RedisError as error:
            self._broken = True
            raise Unreachable(f"the broker does not answer: {error}") from error

    def send(self, *messages: Beat | Report | Ended) -> str | None:
        """Send messages of one job (and what waits before them) and answer its stop reason, if there is one;
        `Superseded` when a newer attempt was sent out.

        While the broker is away a beat is dropped, the others wait.
        """
        with self._sending:
            self._waiting.extend(message for message in messages if not isinstance(message, Beat))
            return self._up(messages[-1].job, messages[-1].attempt, list(self._waiting) or list(messages))

    def hold(self, *messages: Report) -> None:
        """These go up before the next message."""
        with self._sending:
            self._waiting.extend(messages)

    def drain(self, job: str) -> bool:
        """Send what waits; True when nothing does any more."""
        with self._sending:
            if self._waiting:
                self._up(job, 0, list(self._waiting))
            return not self._waiting

    def _up(self, job: str, attempt: int, messages: Sequence[Beat | Report | Ended]) -> str | None:
        """All of `messages` and what the daemon asks of the job in one round trip; None while the broker is away.

        After a connection broke, what was sent last goes up before: the engine counts it once.
        """
        if time.monotonic() < self._retry_at:
            return None
        new = list(messages)
        for last in (False, True, True):
            try:
                self._reconnect()
                again, self._broken = [m for _, m in self._recent if self._broken], False
                # One transaction: the daemon, which waits for the stream, is woken once and sees all of them.
                pipeline = self._redis.pipeline(transaction=len(again) + len(new) > 1)
                for message in [*again, *new]:
                    pipeline.xadd(wire.UP, {"m": wire.encode(message)})
                pipeline.get(wire.stop_key(job))
                pipeline.get(wire.fence_key(job))
                *_, reason, fence = pipeline.execute()
            except RedisError as error:
                self._broken = True
                if last:
                    self._lost(error)
                    return None
                continue
            if not self._broken or not self._recent:
                break
            new = []  # they went over a new connection; what the server may have forgotten follows
        self._back()
        self._remember(messages)
        self._waiting.clear()
        if fence is not None and 0 < attempt < int(fence):
            return Superseded(f"attempt {fence} was sent out")
        return None if reason is None else str(reason)

    def _reconnect(self) -> None:
        """Have a connection that lives, so that one which broke while nothing was sent is known before more is."""
        pool = self._redis.connection_pool
        pool.release(pool.get_connection())

    def _connected(self, connection: Any) -> None:
        """One that connects once more broke before. A new one did not: both threads wanted one at once."""
        connection.on_connect()
        self._broken |= connection in self._known
        self._known.add(connection)

    def _remember(self, messages: Sequence[Beat | Report | Ended]) -> None:
        now = time.monotonic()
        self._recent.extend((now, m) for m in messages if not isinstance(m, Beat))
        while self._recent and self._recent[0][0] < now - AGAIN_S:
            self._recent.popleft()

    def info(self, info: WorkerInfo, doing: str | None) -> None:
        """Say what this worker is and does, for `LEASE_S` seconds. `doing`: its last words, should it die now."""
        key = wire.worker_key(info.name)
        for last in (False, True):
            pipeline = self._redis.pipeline(transaction=True)
            pipeline.hset(key, "m", info.model_dump_json())
            if doing is None:
                pipeline.hdel(key, "doing")
            else:
                pipeline.hset(key, "doing", doing)
            pipeline.expire(key, int(wire.LEASE_S))
            try:
                pipeline.execute()
                break
            except RedisError as error:
                self._broken = True
                if last:
                    log.debug("worker info not sent: %s", error)
                    return
        with self._sending:
            if self._broken and self._recent:  # an idle slot has nothing to send but what may have been lost
                self._up("", 0, list(self._waiting))

    def predecessor(self, name: str) -> str | None:
        """What a slot of this name was doing when it died, if that was a moment ago."""
        try:
            doing = self._redis.hget(wire.worker_key(name), "doing")
        except RedisError:
            return None
        return None if doing is None else str(doing)

    def forget(self, name: str) -> None:
        """The worker goes away for good. What still is in its own queue, the daemon sends to somebody else."""
        own = wire.own_queue(name)
        known_to_kombu = (f"_kombu.binding.{own}", f"_kombu.binding_permanent.{own}")
        try:
            self._redis.delete(wire.worker_key(name), own, *known_to_kombu)
        except RedisError as error:
            log.debug("worker info not removed: %s", error)

    def _lost(self, error: Exception) -> None:
        if not self._away:
            log.warning("the broker is away (%s); what happens is kept and sent when it is back", error)
        self._away = True
        self._retry_at = time.monotonic() + RETRY_S

    def _back(self) -> None:
        if self._away:
            log.info("the broker is back")
        self._away = False
        self._retry_at = 0.0
