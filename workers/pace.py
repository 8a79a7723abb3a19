"""How fast this machine runs just now, by a yardstick: a small product that always costs the same work.

A virtual machine shares its cores with others, and what they do is not seen from inside: for seconds to minutes
everything that computes may take 1.5 times as long, with no load and no other process (docs/log.md has the figures).
Repeats one after the other then agree, and are all wrong. The yardstick sees it: `now()` is its best known time over
its time now, 1 at full speed. The best is kept for a week by device in the user's cache folder, so that a process that
begins in a slow phase knows.

    with patient() as waits:          # what times a model inside may wait for full speed, so long in all
        ...
    waits.pace, waits.waited_s        # the slowest pace that a figure was taken at; seconds waited
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kernels._cache import cache_folder
from searchd.storage.local import write_atomically

SIZE, CALLS, SITTINGS = 48, 60, 3
"""The yardstick: the best of so many medians of so many products of such matrices, about half a millisecond."""
FULL = 0.88
"""From this pace on the machine runs at full speed; its slow phases lie at .65 (products) to .87 (memory)."""
PATIENCE = "SEARCHD_PATIENCE_S"
PATIENCE_S = 30.0
LOOK_S = 0.2
KEPT_S = 7 * 86_400.0

_A = np.random.default_rng(0).random((SIZE, SIZE), dtype=np.float32)
_OUT = np.empty_like(_A)


def yardstick_us() -> float:
    """Microseconds of the small product, now."""
    clock, found = time.perf_counter_ns, []
    for _ in range(SITTINGS):
        each = []
        for _ in range(CALLS):
            start = clock()
            np.matmul(_A, _A, out=_OUT)
            each.append(clock() - start)
        found.append(float(np.median(each)))
    return min(found) / 1e3


class Best:
    """The least time of the yardstick on this device that any process saw within a week."""

    def __init__(self, path: Path, device: str) -> None:
        self._path, self._device = path, device
        self._us = self._read()

    def pace(self, us: float) -> float:
        """The best time over `us`, at most 1. A better one than known is kept."""
        if self._us is None or us < self._us:
            worth = self._us is None or us < 0.98 * self._us
            self._us = us
            if worth:
                self._write(us)
        return self._us / us

    def _read(self) -> float | None:
        try:
            said = json.loads(self._path.read_text())[self._device]
            fresh = 0 <= time.time() - float(said["at"]) < KEPT_S
            return float(said["us"]) if fresh and float(said["us"]) > 0 else None
        except (OSError, ValueError, KeyError, TypeError):
            return None  # no file yet, or not ours: it is written anew

    def _write(self, us: float) -> None:
        try:
            known: Any = json.loads(self._path.read_text())
        except (OSError, ValueError):
            known = {}
        known = (known if isinstance(known, dict) else {}) | {self._device: {"us": us, "at": time.time()}}
        with suppress(OSError):  # a home that cannot be written: this process knows it still
            write_atomically(self._path, json.dumps(known).encode(), durable=False)


@dataclass(slots=True)
class Waits:
    """`left_s`: what may still be waited. `pace`: of the slowest figure so far; 1 before the first."""

    left_s: float
    best: Best
    pace: float = 1.0
    waited_s: float = 0.0

    def now(self) -> float:
        """The machine's pace now, at most 1."""
        return self.best.pace(yardstick_us())

    def until_full(self) -> float:
        """Wait for full speed while there is patience: the pace then."""
        while (pace := self.now()) < FULL and self.left_s > 0:
            time.sleep(LOOK_S)
            self.spend(LOOK_S)
        return pace

    def spend(self, seconds: float) -> None:
        """So long was waited."""
        self.left_s -= seconds
        self.waited_s += seconds

    def taken(self, pace: float) -> None:
        """A figure was taken at this pace."""
        self.pace = min(self.pace, pace)

    def as_card(self) -> dict[str, float]:
        """For a card: `pace` to two digits, `waited_s`."""
        return {"pace": round(self.pace, 2), "waited_s": round(self.waited_s, 1)}


_WAITS: ContextVar[Waits | None] = ContextVar("waits", default=None)


def waits() -> Waits | None:
    """Of the innermost `patient`; None outside."""
    return _WAITS.get()


@contextmanager
def patient(seconds: float | None = None) -> Iterator[Waits]:
    """Figures taken inside wait for full speed, `seconds` in all (SEARCHD_PATIENCE_S, else PATIENCE_S)."""
    from workers.measure import device

    left = patience_s() if seconds is None else seconds
    found = Waits(left, Best(cache_path(), device()))
    token = _WAITS.set(found)
    try:
        yield found
    finally:
        _WAITS.reset(token)


def patience_s() -> float:
    """SEARCHD_PATIENCE_S where it is a number from 0 on, else PATIENCE_S."""
    try:
        said = float(os.environ.get(PATIENCE, ""))
    except ValueError:
        return PATIENCE_S
    return said if 0 <= said < float("inf") else PATIENCE_S


def cache_path() -> Path:
    """`searchd/pace.json` in the user's cache folder."""
    return cache_folder() / "pace.json"
