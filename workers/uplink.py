"""A worker's side of the wire: claims a job, sends what happens, and hears whether the job is to stop.

Messages go up in order. While the broker is away they wait here and go up when it is back (a message may go up twice
then: the engine counts a report once). Nothing here raises for a broker that is away, except `claim`.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from urllib.parse import parse_qs, urlencode, urlsplit

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

CLAIM = """
local held = tonumber(redis.call('GET', KEYS[1]) or '0')
if held >= tonumber(ARGV[1]) then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[3])
redis.call('XADD', KEYS[2], '*', 'm', ARGV[2])
return 1
"""
"""Take the job if no worker has begun this attempt or a newer one, and say so on the stream: both or neither."""


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


def connect(url: str) -> redis.Redis:
    """A client that tries once again on a stale connection and then lets its caller know. Refused: no URL."""
    try:
        client = redis.Redis.from_url(
            redis_url(url), decode_responses=True, socket_timeout=SOCKET_S, socket_connect_timeout=SOCKET_S,
            retry=Retry(NoBackoff(), 1),
        )  # fmt: skip
    except ValueError as error:
        raise Refused(f"the broker's URL cannot be read ({error}); write redis://HOST:PORT/0 or unix:///PATH") from None
    if problem := unusable(url, client):
        raise Refused(problem)
    return client


class Uplink:
    """One slot's connection; used by its main thread, and `info` by its heartbeat thread."""

    def __init__(self, url: str) -> None:
        self._redis = connect(url)
        self._claim = self._redis.register_script(CLAIM)
        self._waiting: deque[Beat | Report | Ended] = deque()
        self._retry_at = 0.0
        self._away = False

    def claim(self, spec: JobSpec, begun: Begun) -> bool:
        """Take the job; False when this or a newer attempt was begun before. Raises Unreachable."""
        keys = [wire.claim_key(spec.id), wire.UP]
        try:
            return bool(self._claim(keys=keys, args=[spec.attempt, wire.encode(begun), CLAIM_S]))
        except RedisError as error:
            raise Unreachable(f"the broker does not answer: {error}") from error

    def send(self, message: Beat | Report | Ended) -> str | None:
        """Send a message (and what waits before it) and answer the job's stop reason, if there is one.

        While the broker is away a beat is dropped, the others wait.
        """
        if not isinstance(message, Beat):
            self._waiting.append(message)
        return self._up(message.job, list(self._waiting) or [message])

    def drain(self, job: str) -> bool:
        """Send what waits; True when nothing does any more."""
        if self._waiting:
            self._up(job, list(self._waiting))
        return not self._waiting

    def _up(self, job: str, messages: list[Beat | Report | Ended]) -> str | None:
        """All of `messages` and the job's stop reason in one round trip; None while the broker is away."""
        if time.monotonic() < self._retry_at:
            return None
        pipeline = self._redis.pipeline(transaction=False)
        for message in messages:
            pipeline.xadd(wire.UP, {"m": wire.encode(message)})
        pipeline.get(wire.stop_key(job))
        try:
            *_, reason = pipeline.execute()
        except RedisError as error:
            self._lost(error)
            return None
        self._back()
        self._waiting.clear()
        return None if reason is None else str(reason)

    def info(self, info: WorkerInfo, doing: str | None) -> None:
        """Say what this worker is and does, for `LEASE_S` seconds. `doing`: its last words, should it die now."""
        key = wire.worker_key(info.name)
        pipeline = self._redis.pipeline(transaction=True)
        pipeline.hset(key, "m", info.model_dump_json())
        if doing is None:
            pipeline.hdel(key, "doing")
        else:
            pipeline.hset(key, "doing", doing)
        pipeline.expire(key, int(wire.LEASE_S))
        try:
            pipeline.execute()
        except RedisError as error:
            log.debug("worker info not sent: %s", error)

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
