"""What a measure job found, and whether anything ran beside it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from searchd.engine.turn import Turn
from searchd.search.events import Measured
from searchd.store.base import JobRow

_FIELDS = frozenset({"cumulative_ms", "p95_ms", "device", "kernel_bits", "kernels", "alone"})


def measured(turn: Turn, job: JobRow, result: Mapping[str, Any]) -> Measured:
    """The search's event of a measure job that finished; its result is cached for the device and all studies."""
    signature = str(job.spec["signature"])
    if not result.get("cumulative_ms"):
        return Measured(signature, error="the measure job brought no `cumulative_ms`")
    found = {**result, "alone": alone(turn, job), "device": result.get("device") or job.device}
    if not found["alone"] and "energy_mj" in found:
        found["energy_mj_shared"] = found.pop("energy_mj")  # the counter counted its neighbours too
    if found["device"]:
        turn.tx.put_measurement(found["device"], signature, found, turn.now)
    return measured_of(signature, found)


def measured_of(signature: str, found: Mapping[str, Any]) -> Measured:
    """The event of a result, fresh or cached."""
    extra = {k: float(v) for k, v in found.items() if k not in _FIELDS and _is_number(v)}
    return Measured(
        signature,
        cumulative_ms=tuple(float(v) for v in found["cumulative_ms"]),
        p95_ms=tuple(float(v) for v in found.get("p95_ms") or ()),
        device=str(found.get("device", "")),
        alone=bool(found.get("alone", False)),
        kernel_bits=tuple(int(v) for v in found.get("kernel_bits") or ()),
        extra=extra,
        kernels=tuple(str(line) for line in found.get("kernels") or ()),
    )


def alone(turn: Turn, job: JobRow) -> bool:
    """True when no other job, of whatever study, ran at a time when this one ran. `job` has just ended."""
    since = turn.now if job.begun_at is None else job.begun_at
    return not any(
        other.id != job.id and other.begun_at is not None and (other.ended_at is None or other.ended_at > since)
        for other in turn.tx.jobs()
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
