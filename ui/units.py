"""What a metric is called, its unit, and how its numbers are written for a person."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Goal = Literal["minimize", "maximize"]

_SUFFIXES = {
    "ms": "ms",
    "us": "µs",
    "ns": "ns",
    "s": "s",
    "seconds": "s",
    "j": "J",
    "mj": "mJ",
    "w": "W",
    "mb": "MB",
    "kb": "kB",
    "gb": "GB",
    "pct": "%",
    "percent": "%",
}
_COUNTS = frozenset({"bytes", "params", "macs", "bops", "flops", "steps"})
_SHARES = ("error", "err", "accuracy", "acc")


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric as a person reads it. `goal` and the bounds are set for objectives only."""

    name: str
    label: str
    unit: str = ""
    goal: Goal | None = None
    at_most: float | None = None
    at_least: float | None = None

    @property
    def title(self) -> str:
        """Label and unit, for an axis or a column: `latency (ms)`."""
        return f"{self.label} ({self.unit})" if self.unit and self.unit != "B" else self.label

    @property
    def direction(self) -> str:
        """Which way is better; empty for a metric that is no objective."""
        return {"minimize": "lower is better", "maximize": "higher is better", None: ""}[self.goal]

    @property
    def counted(self) -> bool:
        """Whether ticks read best with k, M, G (sizes and counts)."""
        return self.unit == "B" or self.name in _COUNTS

    def text(self, value: Any) -> str:
        """`value` with its unit: `1.84 ms`, `31 µs`, `12.3 kB`, `4.2 %`; a dash when there is none."""
        if self.unit == "B":
            return size(value)
        found = _finite(value)
        if self.unit == "ms" and found is not None and 0 < abs(found) < 0.1:
            return f"{number(found * 1000)} µs"
        written = number(value)
        return written if written == "–" or not self.unit else f"{written} {self.unit}"


def metric(name: str, values: Iterable[Any] = (), objective: Mapping[str, Any] | None = None) -> Metric:
    """The metric called `name`: its unit from its suffix, an error or accuracy above 1.5 is a percentage."""
    words = name.split("_")
    unit = ""
    if len(words) > 1 and words[-1].lower() in _SUFFIXES:
        unit = _SUFFIXES[words[-1].lower()]
        words = words[:-1]
    elif words[-1].lower() == "bytes":
        unit = "B"
    elif words[-1].lower() in _SHARES and any(v > 1.5 for v in map(_finite, values) if v is not None):
        unit = "%"
    known = objective or {}
    return Metric(
        name, " ".join(words), unit, known.get("goal"), known.get("at_most"), known.get("at_least")
    )


def number(value: Any) -> str:
    """A number with three significant digits: `0.042`, `12.3`, `1,204`, `4.1M`, `3.2e-05`; a dash for none or NaN."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return "–" if value is None else str(value)
    value = float(value)
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    size_of = abs(value)
    if value == int(value) and size_of < 100_000:
        return f"{int(value):,}"
    if size_of >= 100_000:
        for factor, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
            if size_of >= factor:
                return f"{value / factor:.3g}{letter}" if size_of / factor < 999.5 else f"{value / factor:.0f}{letter}"
    if size_of >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1e}" if 0 < size_of < 0.001 else f"{value:.3g}"


def size(value: Any) -> str:
    """Bytes in decimal units: `940 B`, `12.3 kB`, `1.2 MB`; a dash for none."""
    found = _finite(value)
    if found is None:
        return "–"
    for factor, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if abs(found) >= factor:
            return f"{found / factor:.3g} {unit}" if abs(found) < 999.5 * factor else f"{found / factor:.0f} {unit}"
    return f"{found:.0f} B"


def duration(seconds: Any) -> str:
    """Seconds for a person: `0.4 s`, `42 s`, `3 min 05 s`, `2 h 10 min`; a dash for none."""
    found = _finite(seconds)
    if found is None:
        return "–"
    if found < 10:
        return f"{found:.1f} s"
    whole = round(found)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def value_text(value: Any) -> str:
    """A config's value: numbers short, lists in brackets, the empty list as `none`."""
    if isinstance(value, list | tuple):
        return "[" + ", ".join(value_text(v) for v in value) + "]" if value else "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return number(value)


def _finite(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value):
        return None
    return float(value)
