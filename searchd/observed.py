"""What a daemon did since it began, counted where it goes through its store and its broker.

`watched_store` and `watched_transport` lay themselves around the real ones: the loop, the engine and the store know
nothing of it. Counts grow at the commit: what was rolled back did not happen.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

from searchd.errors import Unreachable
from searchd.store.base import ReportRow, Store, Transaction
from searchd.transport import Transport, Up

BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
DECISIONS = frozenset({"asked", "told"})
PARTS = ("database", "broker")


class Histogram:
    """Seconds, by upper bounds."""

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS_S) + 1)
        self.sum_s = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(BUCKETS_S, seconds)] += 1
        self.sum_s += seconds

    def cumulative(self) -> list[tuple[str, int]]:
        """(bound, how many took at most so long), `+Inf` last."""
        found, total = [], 0
        for bound, n in zip([*map(str, BUCKETS_S), "+Inf"], self.counts, strict=True):
            total += n
            found.append((bound, total))
        return found


class Observed:
    """The counts. Written by the loop's thread, read by others. `ticks`: monotonic seconds."""

    def __init__(self, ticks: Callable[[], float]) -> None:
        self.ticks = ticks
        self.began = ticks()
        self.events: Counter[str] = Counter()
        self.messages: Counter[str] = Counter()
        self.reports = 0
        self.duplicates = 0
        self.rounds = 0
        self.steps = Histogram()
        self.round_s = Histogram()
        self.unreachable: Counter[str] = Counter()
        self.away: dict[str, bool] = dict.fromkeys(PARTS, False)
        self.driven = False
        """A loop goes round, or should."""
        self.last_round: float | None = None
        self._heard: dict[str, float] = {}
        self._lock = threading.Lock()

    def round(self, began: float) -> None:
        """A round that began then went through."""
        now = self.ticks()
        self.rounds += 1
        self.last_round = now
        self.round_s.add(now - began)

    @contextmanager
    def reached(self, part: str) -> Iterator[None]:
        """Count it when the block finds the part away."""
        try:
            yield
        except Unreachable:
            self.unreachable[part] += 1
            self.away[part] = True
            raise
        self.away[part] = False

    def heard(self, messages: Iterable[Up]) -> None:
        """Messages that came up."""
        now = self.ticks()
        with self._lock:
            for message in messages:
                self.messages[message.kind] += 1
                if message.kind == "ended":
                    self._heard.pop(message.job, None)
                else:
                    self._heard[message.job] = now

    def silent_s(self, running: Iterable[str]) -> dict[str, float]:
        """How long each of the running jobs has been silent, in seconds; of others it forgets."""
        now = self.ticks()
        with self._lock:
            self._heard = {job: self._heard.get(job, self.began) for job in running}
            return {job: now - at for job, at in self._heard.items()}


class _Transaction:
    """A transaction that notes what it writes; everything else is the real one's."""

    def __init__(self, real: Transaction) -> None:
        self._real = real
        self.noted_events: Counter[str] = Counter()
        self.noted_reports = 0
        self.noted_duplicates = 0

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._real, name)
        setattr(self, name, found)  # the next call goes straight there
        return found

    def append(self, study: str, kind: str, payload: Mapping[str, Any], at: float) -> int:
        self.noted_events[kind] += 1
        return self._real.append(study, kind, payload, at)

    def add_report(self, row: ReportRow) -> bool:
        fresh = self._real.add_report(row)
        self.noted_reports += fresh
        return fresh

    def count_duplicate(self, study: str, n: int = 1) -> None:
        self.noted_duplicates += n
        self._real.count_duplicate(study, n)


class WatchedStore:
    """`store.base.Store` around another one."""

    def __init__(self, real: Store, seen: Observed) -> None:
        self._real = real
        self._seen = seen

    @property
    def moved(self) -> int:
        return self._real.moved

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        seen, began = self._seen, self._seen.ticks()
        with seen.reached("database"), self._real.transaction() as real:
            noted = _Transaction(real)
            yield cast(Transaction, noted)
        seen.steps.add(seen.ticks() - began)
        seen.events.update(noted.noted_events)
        seen.reports += noted.noted_reports
        seen.duplicates += noted.noted_duplicates

    @contextmanager
    def reading(self) -> Iterator[Any]:
        with self._seen.reached("database"), self._real.reading() as reader:
            yield reader

    def lead(self, holder: str) -> int:
        with self._seen.reached("database"):
            return self._real.lead(holder)

    def check_lead(self) -> None:
        with self._seen.reached("database"):
            self._real.check_lead()

    def close(self) -> None:
        self._real.close()


class WatchedTransport:
    """`transport.base.Transport` around another one."""

    def __init__(self, real: Transport, seen: Observed) -> None:
        self._real = real
        self._seen = seen

    def receive(self, max: int = 500, block_s: float = 0.2) -> list[tuple[str, Up]]:
        with self._seen.reached("broker"):
            found = self._real.receive(max, block_s)
        self._seen.heard(message for _, message in found)
        return found

    def ping(self) -> None:
        with self._seen.reached("broker"):
            self._real.ping()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def watched_store(real: Store, seen: Observed) -> Store:
    return WatchedStore(real, seen)


def watched_transport(real: Transport, seen: Observed) -> Transport:
    return cast(Transport, WatchedTransport(real, seen))
