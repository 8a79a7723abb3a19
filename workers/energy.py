"""Energy in joules, from counters that the hardware keeps: NVML's of an accelerator, RAPL's of a processor.

A counter counts the whole device, whoever uses it. What a job reads is its own only while nothing else ran there; who
knows that (the daemon) marks the figure. Where there is no counter that can be read, the meter is null and the metric
is left out: a figure that is made up is worse than none.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

RAPL = Path("/sys/class/powercap")
MJ = 1e3


class Meter(Protocol):
    """`name`: where the figures come from."""

    name: str

    def joules(self) -> float | None:
        """Joules since some moment; None where they cannot be read (now)."""
        ...


class NullMeter:
    """No counter here."""

    name = "none"

    def joules(self) -> float | None:
        return None


class ReplayMeter:
    """Recorded readings, one a call, the last one for ever: for tests."""

    name = "replay"

    def __init__(self, readings: Iterable[float | None]) -> None:
        self._readings = list(readings)
        self._at = -1

    def joules(self) -> float | None:
        self._at = min(self._at + 1, len(self._readings) - 1)
        return self._readings[self._at] if self._readings else None


class RaplMeter:
    """The packages of Intel's and AMD's running average power limit; counters that have gone round are unrolled.

    Raises OSError where none can be read: most systems allow it to root only.
    """

    name = "rapl"

    def __init__(self, root: Path = RAPL) -> None:
        self._zones = sorted(p for p in root.glob("intel-rapl:*") if p.name.count(":") == 1)
        if not self._zones:
            raise FileNotFoundError(f"no RAPL zones in {root}")
        self._range = [int((z / "max_energy_range_uj").read_text()) for z in self._zones]
        self._last = [self._read(z) for z in self._zones]
        self._rounds = [0] * len(self._zones)

    def joules(self) -> float | None:
        try:
            now = [self._read(z) for z in self._zones]
        except OSError:
            return None
        for i, (value, before) in enumerate(zip(now, self._last, strict=True)):
            self._rounds[i] += value < before
        self._last = now
        return sum(v + n * r for v, n, r in zip(now, self._rounds, self._range, strict=True)) / 1e6

    @staticmethod
    def _read(zone: Path) -> int:
        return int((zone / "energy_uj").read_text())


class NvmlMeter:
    """An accelerator's own counter (Volta and newer), through `nvidia-ml-py`. ImportError or NVMLError where it is not.

    Source: Zeus (You, Chung, Chowdhury, 2023, NSDI) measures so.
    """

    name = "nvml"

    def __init__(self, index: int) -> None:
        import pynvml

        pynvml.nvmlInit()
        self._nvml: Any = pynvml
        self._handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        pynvml.nvmlDeviceGetTotalEnergyConsumption(self._handle)

    def joules(self) -> float | None:
        try:
            return float(self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle)) / MJ
        except self._nvml.NVMLError:
            return None


def meter() -> Meter:
    """The meter of this process's device: its accelerator's, else the processor's, else none."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    if visible.isdigit():
        with contextlib.suppress(Exception):  # no package, no driver, an old card: there is no counter, and that is all
            return NvmlMeter(int(visible))
        return NullMeter()
    with contextlib.suppress(OSError, ValueError):
        return RaplMeter()
    return NullMeter()


class Spent:
    """Joules between two readings; None when either could not be read."""

    __slots__ = ("_began", "_meter")

    def __init__(self, from_: Meter) -> None:
        self._meter = from_
        self._began = from_.joules()

    def joules(self) -> float | None:
        """Since the beginning, or since the last call."""
        now, before = self._meter.joules(), self._began
        self._began = now
        return None if now is None or before is None else max(0.0, now - before)
