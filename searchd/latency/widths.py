"""Do few bits buy time on a device? Its profile has the same shapes at few bits and in float32, so it can be said.

A width buys bytes wherever it runs, and time only where a kernel makes it faster: elsewhere a choice of widths is a
search for nothing as far as latency goes.

Source: SpaceEvo (Wang, Zhang et al., 2023, ICCV) takes operators that quantize badly out of the space before the
search; here the user is told, since fewer bytes may be wanted anyway.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

WORTH = 1.1
"""So many times faster than float32, or it is not worth a choice (SpaceEvo's least, as ALGORITHMS 12.6 has it)."""
FLOAT = "32"
RIGHT = 0.9
"""Milliseconds from which few bits pay are said when they sort this share of the shapes rightly."""


@dataclass(frozen=True, slots=True)
class Width:
    """Shapes of one `op` that were timed with `bits` and in float32: `shapes` of them, `faster` by WORTH or more;
    `least`, `middle`, `most`: how many times faster; `pays_from`: the milliseconds in float32 from which it is worth
    it, None where they do not tell or all shapes are alike."""

    op: str
    bits: float
    shapes: int
    faster: int
    least: float
    middle: float
    most: float
    pays_from: float | None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def widths(rows: Mapping[str, Sequence[float]]) -> list[Width]:
    """From a profile's `rows` {operator: [ms, variance]}; operators that took no time beyond an empty model's tell
    nothing. By op, the fewest bits first."""
    pairs: dict[tuple[str, float], list[tuple[float, float]]] = {}
    for key, row in rows.items():
        shape, _, bits = key.rpartition("-")
        whole = rows.get(f"{shape}-{FLOAT}")
        if bits == FLOAT or whole is None or row[0] <= 0 or whole[0] <= 0:
            continue
        pairs.setdefault((shape.partition("-")[0], float(bits)), []).append((whole[0], whole[0] / row[0]))
    return [_width(op, bits, found) for (op, bits), found in sorted(pairs.items())]


def _width(op: str, bits: float, found: Sequence[tuple[float, float]]) -> Width:
    gains = sorted(gain for _, gain in found)
    faster = sum(gain >= WORTH for gain in gains)
    return Width(op, bits, len(gains), faster, gains[0], median(gains), gains[-1], _pays_from(found))


def _pays_from(found: Sequence[tuple[float, float]]) -> float | None:
    """The time that best parts shapes that are worth it from those that are not."""
    worth = [gain >= WORTH for _, gain in found]
    if all(worth) or not any(worth):
        return None
    wrong, at = min(
        (sum((ms >= edge) != pays for (ms, _), pays in zip(found, worth, strict=True)), edge)
        for edge in {ms for ms, _ in found}
    )
    return at if wrong <= (1 - RIGHT) * len(found) else None
