"""A device for people and programs: the same answer from a daemon and from a folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from searchd.devices.profile import stale
from searchd.errors import SearchdError
from searchd.latency.widths import widths
from searchd.store.base import DeviceRow
from searchd.wire import WorkerInfo


def shown(row: DeviceRow, workers: Sequence[WorkerInfo] | None = None) -> dict[str, Any]:
    """`name`, `identity`, `runtime`, `facts`, `workers` (live slots, null: nobody can know), `profile` (null or a
    summary: study, at, operators, architectures, front, widths, spread, row_spread, alone, quality, stale, …) and
    `profiling`."""
    said = dict(row.profiling or {})
    return {
        "name": row.name, "identity": row.identity, "runtime": row.runtime, "facts": dict(row.facts),
        "workers": None if workers is None else len(workers), "added": row.added_at,
        "profile": None if row.profile is None else {**_summary(row.profile), "stale": stale(row)},
        "profiling": {k: said.get(k) for k in ("status", "study", "since", "at", "error", "attempt")} if said else None,
    }  # fmt: skip


def table(row: DeviceRow) -> dict[str, Any]:
    """The whole profile: rows by operator and every measured architecture, or nothing."""
    return {} if row.profile is None else dict(row.profile)


def _summary(profile: Mapping[str, Any]) -> dict[str, Any]:
    kept = ("study", "task", "at", "empty_ms", "spread", "row_spread", "alone", "quality", "energy_j",
            "peak_memory_bytes")  # fmt: skip
    return {
        **{k: profile[k] for k in kept if k in profile}, "facts": dict(profile["facts"]),
        "operators": len(profile["rows"]), "architectures": len(profile["architectures"]),
        "front": len(profile.get("front", ())), "widths": [width.as_json() for width in widths(profile["rows"])],
    }  # fmt: skip


def profiled(found: Mapping[str, Any]) -> bool:
    """Whether the profile that a shown device was asked for is done. SearchdError when it failed."""
    said = found["profiling"] or {}
    if said.get("status") == "failed":
        raise SearchdError(f"the profile of device {found['name']!r} failed: {said.get('error')}")
    return bool(said.get("status") == "done")
