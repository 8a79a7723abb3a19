"""Webhooks: whoever was named to the daemon is told when a study ends, at least once, signed, in a thread of its own.

What is owed is a function of the log: every event that ended a study since the receiver was first named, less the
`notices` of the database. So a daemon that is killed in the middle tells again, and a message may come twice: `id` is
the same then. Only the daemon's own setting names a receiver: a study cannot make it call anybody.

    POST URL    X-Searchd-Id: STUDY:SEQ    X-Searchd-Timestamp: Unix seconds
    X-Searchd-Signature: sha256=HMAC-SHA256(secret, timestamp + "." + body), in hex
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import httpx

from searchd.errors import SearchdError
from searchd.store.base import EventRow, Store, StudyRow
from searchd.urls import shown

log = logging.getLogger("searchd.hooks")

ENDS = ("done", "stopped", "faulted")
LOOK_S = 0.5
TIMEOUT_S = 10.0
FIRST_S, LONGEST_S = 1.0, 300.0
GIVE_UP_S = 3 * 24 * 3600.0
"""After so long the receiver is told of this end no more."""


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """What `X-Searchd-Signature` says; a receiver computes it too, and compares in constant time."""
    found = hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256)
    return f"sha256={found.hexdigest()}"


@dataclass(slots=True)
class Owed:
    """An end that the receiver has not taken: tried so often, not again before `due` (monotonic seconds)."""

    study: StudyRow
    event: EventRow
    tries: int = 0
    due: float = 0.0

    @property
    def id(self) -> str:
        return f"{self.study.id}:{self.event.seq}"


@dataclass(slots=True)
class _State:
    owed: dict[str, Owed] = field(default_factory=dict)
    looked: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    settled: set[tuple[str, int]] | None = None
    since: float = 0.0


class Hooks:
    """One receiver. `look` finds what is owed, `send` tries what is due; `run` does both until `end`.

    `now`: Unix seconds, `ticks`: monotonic ones.
    """

    def __init__(
        self, store: Store, url: str, secret: str, on: Iterable[str], *, now: Callable[[], float],
        ticks: Callable[[], float], transport: httpx.BaseTransport | None = None,
    ) -> None:  # fmt: skip
        self._store = store
        self._url = url
        self._shown = shown(url).partition("?")[0]
        self._secret = secret
        self._on = frozenset(on)
        self._now = now
        self._ticks = ticks
        self._key = hashlib.sha256(url.encode()).hexdigest()
        self._http = httpx.Client(timeout=TIMEOUT_S, follow_redirects=False, transport=transport, trust_env=False)
        self._state = _State()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self.run, name="hooks", daemon=True)
        self.delivered = 0

    @property
    def owed(self) -> int:
        return len(self._state.owed)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """End the thread; what it did not get rid of is owed still."""
        self._over.set()
        if self._thread.ident is not None:
            self._thread.join(1.0)
        self._http.close()

    def run(self) -> None:
        while not self._over.wait(LOOK_S):
            try:
                self.look()
                self.send()
            except SearchdError as error:  # the database is away: it is owed still
                log.debug("%s", error)
            except Exception:
                log.exception("telling %s broke; trying again", self._shown)

    def look(self) -> None:
        """Find the ends that are owed. Looks into the logs only of studies that ended since the last look."""
        state = self._state
        if state.settled is None:
            state.since, state.settled = self._begin()
        with self._store.reading() as reader:
            for study in reader.studies():
                mark = (study.status, study.status_reason, study.ended_at)
                if study.status not in ENDS or state.looked.get(study.id) == mark:
                    continue
                for event in reader.events(study.id, kinds=("status",)):
                    wanted = event.payload["status"] in self._on and event.at >= state.since
                    if wanted and (study.id, event.seq) not in state.settled:
                        one = Owed(study, event)
                        state.owed.setdefault(one.id, one)
                state.looked[study.id] = mark

    def _begin(self) -> tuple[float, set[tuple[str, int]]]:
        with self._store.reading() as reader:
            since, settled = reader.hook(self._key), reader.notices(self._key)
        if since is None:
            since = self._now()
            with self._store.transaction() as tx:
                tx.put_hook(self._key, since)
            log.info("%s is told of the studies that end from now on", self._shown)
        return since, settled

    def send(self) -> None:
        """Try what is due, the oldest first."""
        for one in sorted(self._state.owed.values(), key=lambda o: (o.event.at, o.event.seq)):
            if self._over.is_set():
                return
            if one.due <= self._ticks():
                self._try(one)

    def _try(self, one: Owed) -> None:
        why = self._told(one)
        if why is None:
            self._settle(one, "delivered")
            self.delivered += 1
            return
        one.tries += 1
        if self._now() - one.event.at > GIVE_UP_S:
            log.error("%s was never told of %s: %s", self._shown, one.id, why, extra={"study": one.study.id})
            self._settle(one, "given up")
            return
        wait_s = min(LONGEST_S, FIRST_S * 2.0 ** min(one.tries - 1, 20))
        one.due = self._ticks() + wait_s
        log.warning("%s did not take %s (%s); again in %g s", self._shown, one.id, why, wait_s,
                    extra={"study": one.study.id})  # fmt: skip

    def _told(self, one: Owed) -> str | None:
        """None when the receiver took it, with any answer below 300; else why not."""
        body, timestamp = self.body(one), str(int(self._now()))
        headers = {"Content-Type": "application/json", "User-Agent": "searchd", "X-Searchd-Id": one.id,
                   "X-Searchd-Timestamp": timestamp,
                   "X-Searchd-Signature": signature(self._secret, timestamp, body)}  # fmt: skip
        try:
            with self._http.stream("POST", self._url, content=body, headers=headers) as answer:
                return None if answer.status_code < 300 else f"it answered {answer.status_code}"
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return f"{type(error).__name__}"

    def body(self, one: Owed) -> bytes:
        """What the receiver gets: who ended, how, and how far it came. No config, no metric, no path."""
        study, event = one.study, one.event
        with self._store.reading() as reader:
            counts = reader.counts(study.id)
        told = {"id": one.id, "event": "study.ended", "study": study.id, "name": study.name,
                "status": event.payload["status"], "reason": event.payload.get("reason", ""), "at": event.at,
                "trials": counts["trials"], "reports": counts["reports"]}  # fmt: skip
        return json.dumps(told).encode()

    def _settle(self, one: Owed, state: str) -> None:
        with self._store.transaction() as tx:
            tx.put_notice(self._key, one.study.id, one.event.seq, state, self._now())
        del self._state.owed[one.id]
        (self._state.settled or set()).add((one.study.id, one.event.seq))
