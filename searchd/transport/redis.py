"""The transport over a Redis-protocol server: one stream up, plain keys down.

An acknowledged entry is deleted: the stream holds what still has to be recorded and nothing else, so a daemon that
starts reads it from its beginning. Each reads by itself, without a consumer group: in one, a daemon that another has
replaced and that does not know it yet would take entries from under it, and they would come late, after newer ones.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import redis
from pydantic import ValidationError
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoPermissionError
from redis.retry import Retry

from searchd.errors import Refused, SearchdError, Unreachable
from searchd.transport.base import KEEP_POISON, POISON, Up
from searchd.urls import redis_url, shown, unusable
from searchd.wire import UP, WorkerInfo, claim_key, decode, fence_key, stop_key, worker_key

log = logging.getLogger(__name__)

BEGINNING = b"0"
TIMEOUT_S = 10.0
CONNECT_S = 5.0
STOP_S = 7 * 24 * 3600
"""How long a request to stop is kept for a worker that is away; `clear` removes it sooner."""


class RedisTransport:
    """`transport.base.Transport` over redis-py."""

    def __init__(self, url: str) -> None:
        self._shown = shown(url)
        try:
            self._redis = _client(url, retries=1)
            self._stream = _client(url, retries=0)
        except ValueError as e:
            raise SearchdError(f"{self._shown!r} is no broker URL: {e}") from e
        self._after = BEGINNING  # the last entry that was received

    def receive(self, max: int = 500, block_s: float = 0.2) -> list[tuple[str, Up]]:
        """See `Transport.receive`."""
        try:
            with self._reached():
                return self._receive(max, block_s)
        except Unreachable:
            self.rewind()  # the server may come back with other entries
            raise

    def _receive(self, max: int, block_s: float) -> list[tuple[str, Up]]:
        while entries := self._read(max, block_s):
            self._after = entries[-1][0]
            if messages := self._messages(entries):
                return messages
        return []

    def _read(self, max: int, block_s: float) -> list[tuple[bytes, dict[bytes, bytes]]]:
        block = None if block_s <= 0 else int(min(block_s, TIMEOUT_S / 2) * 1000) or 1
        answer: Any = self._stream.xread({UP: self._after}, count=max, block=block)
        return [entry for _, entries in _streams(answer) for entry in entries]

    def _messages(self, entries: list[tuple[bytes, dict[bytes, bytes]]]) -> list[tuple[str, Up]]:
        good: list[tuple[str, Up]] = []
        for entry, found in entries:
            text = (found or {}).get(b"m", b"")
            try:
                good.append((entry.decode(), decode(text)))
            except ValidationError as e:
                first = e.errors(include_url=False, include_input=False)[0]
                why = f"{'.'.join(map(str, first['loc']))}: {first['msg']}".lstrip(": ")
                self._set_aside(entry, text, why if found else "it was deleted, or had no fields")
        return good

    def _set_aside(self, entry: bytes, text: bytes, why: str) -> None:
        log.warning("entry %s of %s is no message and was set aside in %s: %s", entry.decode(), UP, POISON, why)
        with self._redis.pipeline() as pipe:
            pipe.xadd(POISON, {"entry": entry, "m": text[:65536], "why": why}, maxlen=KEEP_POISON)
            pipe.xdel(UP, entry)
            pipe.execute()

    def acknowledge(self, ids: Iterable[str]) -> None:
        """See `Transport.acknowledge`."""
        listed = list(ids)
        try:
            with self._reached():
                for start in range(0, len(listed), 1000):
                    self._redis.xdel(UP, *listed[start : start + 1000])
        except Unreachable:
            self.rewind()  # they come again, are recognised as recorded, and are acknowledged then
            raise

    def rewind(self) -> None:
        self._after = BEGINNING

    def stop(self, job: str, reason: str) -> None:
        """See `Transport.stop`. The request is kept for a week."""
        with self._reached():
            self._redis.set(stop_key(job), reason or "stopped", ex=STOP_S)

    def clear(self, job: str) -> None:
        with self._reached():
            self._redis.delete(stop_key(job))

    def fence(self, job: str, attempt: int) -> None:
        """See `Transport.fence`; kept as long as a request to stop."""
        with self._reached():
            self._redis.set(fence_key(job), attempt, ex=STOP_S)

    def claimed(self, job: str) -> int | None:
        with self._reached():
            found: Any = self._redis.get(claim_key(job))
        try:
            return None if found is None else int(found)
        except ValueError:
            log.warning("%s holds %r, which is no attempt; taken as not claimed", claim_key(job), found)
            return None

    def workers(self) -> list[WorkerInfo]:
        """See `Transport.workers`: the hashes that have not expired."""
        with self._reached():
            keys: list[Any] = sorted(set(self._redis.scan_iter(match=worker_key("*"), count=1000)))
            with self._redis.pipeline(transaction=False) as pipe:
                for key in keys:
                    pipe.hget(key, "m")
                texts = pipe.execute(raise_on_error=False)
        alive: list[WorkerInfo] = []
        for key, text in zip(keys, texts, strict=True):
            if not isinstance(text, bytes):  # expired between the two questions, or not a hash
                continue
            try:
                alive.append(WorkerInfo.model_validate_json(text))
            except ValidationError:
                log.warning("%s holds no WorkerInfo; ignored", key.decode(errors="replace"))
        return sorted(alive, key=lambda info: info.name)

    def poisoned(self) -> int:
        with self._reached():
            n: Any = self._redis.xlen(POISON)
        return int(n)

    def ping(self) -> None:
        with self._reached():
            self._redis.ping()

    def close(self) -> None:
        self._redis.close()
        self._stream.close()

    @contextmanager
    def _reached(self) -> Iterator[None]:
        """Connection, authentication and refusals of the server as Unreachable, with the remedy."""
        try:
            yield
        except (redis.RedisError, OSError) as e:
            said = " ".join(str(e).split()) or type(e).__name__
            remedy = "is it running, and is the URL right?"
            if isinstance(e, AuthenticationError | NoPermissionError) or "NOAUTH" in said:
                remedy = "give user and password in the URL: redis://user:password@host:6379/0"
            elif "certificate verify failed" in said:
                remedy = "name the authority that signed it in the URL: …/0?ssl_ca_certs=/path/ca.pem"
            elif "maxmemory" in said:
                remedy = "it is full: raise its maxmemory"
            elif isinstance(e, redis.ResponseError) and "unknown command" in said.lower():
                remedy = "streams need Redis 5 or newer, or Valkey"
            raise Unreachable(f"the broker {self._shown} does not answer ({said}): {remedy}") from e


def _client(url: str, retries: int) -> redis.Redis:
    """`retries`: on a broken connection. Reading the stream must not be repeated unseen: a server that crashed and came
    back may hold other entries than it had, and is read from the beginning."""
    client = redis.Redis.from_url(
        redis_url(url), socket_timeout=TIMEOUT_S, socket_connect_timeout=CONNECT_S,
        retry=Retry(NoBackoff(), retries), client_name="searchd-daemon",
    )  # fmt: skip
    if problem := unusable(url, client):
        raise Refused(problem)
    return client


def _streams(answer: Any) -> list[tuple[bytes, list[tuple[bytes, dict[bytes, bytes]]]]]:
    """XREAD's answer: pairs in protocol 2, a mapping to a list of lists in protocol 3, None when it timed out."""
    if not answer:
        return []
    if isinstance(answer, dict):
        return [(name, [entry for part in parts for entry in part]) for name, parts in answer.items()]
    return list(answer)
