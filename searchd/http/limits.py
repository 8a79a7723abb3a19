"""How much one caller may ask for: requests a second, open feeds, wrong tokens. In memory, bounded."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from searchd.errors import TooMany

MOST_CALLERS = 4096
"""So many callers are remembered; the one that was silent longest is forgotten first."""


@dataclass(frozen=True, slots=True)
class Limits:
    """`rate` requests a second for each token (without one: each address), `burst` at once; 0: no limit. `wrong` wrong
    tokens a second from one address. `feeds` open at a time, `feeds_each` of one caller. `studies` that have not
    ended. `body` bytes of a request, `body_s` seconds until the whole of it is here."""

    rate: float = 100.0
    burst: int = 400
    wrong: float = 1.0
    wrong_burst: int = 20
    feeds: int = 64
    feeds_each: int = 16
    studies: int = 1000
    body: int = 1 << 20
    body_s: float = 30.0


class Buckets:
    """Token buckets by caller: `rate` a second on average, `burst` at once. `ticks`: monotonic seconds."""

    def __init__(self, rate: float, burst: int, ticks: Callable[[], float]) -> None:
        self._rate = rate
        self._burst = burst
        self._ticks = ticks
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, caller: str) -> float:
        """0.0 when there was one left for this caller, which is then gone; else the seconds until there is."""
        if self._rate <= 0:
            return 0.0
        with self._lock:
            now = self._ticks()
            left, at = self._left.pop(caller, (float(self._burst), now))
            left = min(float(self._burst), left + (now - at) * self._rate)
            allowed = left >= 1.0
            self._left[caller] = (left - 1.0 if allowed else left, now)
            while len(self._left) > MOST_CALLERS:
                self._left.popitem(last=False)
            return 0.0 if allowed else (1.0 - left) / self._rate


class Feeds:
    """The server-sent feeds that are open now."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._open: Counter[str] = Counter()
        self._lock = threading.Lock()

    @property
    def open(self) -> int:
        return self._open.total()

    def enter(self, caller: str) -> Callable[[], None]:
        """Open one, or TooMany; call what it answers when it is closed."""
        with self._lock:
            if self._open.total() >= self._limits.feeds or self._open[caller] >= self._limits.feeds_each:
                raise TooMany(
                    f"{self._open.total()} feeds are open ({self._limits.feeds} is the limit), {self._open[caller]} of "
                    f"them yours ({self._limits.feeds_each}): close one, or poll `…/log?after=SEQ`", retry_s=10.0
                )  # fmt: skip
            self._open[caller] += 1
        left = False

        def leave() -> None:
            nonlocal left
            with self._lock:
                if not left:
                    left = True
                    self._open[caller] -= 1
                    self._open += Counter()  # forgets callers at zero

        return leave

    @contextmanager
    def one(self, caller: str) -> Iterator[None]:
        """One open feed for the length of the block."""
        leave = self.enter(caller)
        try:
            yield
        finally:
            leave()
