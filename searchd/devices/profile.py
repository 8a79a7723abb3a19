"""A profile as it is stored: what was asked, what was found, what it held for, the predictor and how good that is.

keys of a profile: `study`, `task`, `at`; `facts` (those of the device then); `rows` {operator: [ms, variance]}, an
empty model's time (`empty_ms`) taken off; `architectures` [{counts, ms}]; `spread` and `row_spread`, median relative
differences between two measurements of the same; `alone`; `front` [{counts, ms}], what was measured at the end of
studies since; `predictor`; `quality`; perhaps `energy_j`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from searchd.errors import Refused
from searchd.latency import Architecture, fit_again, judge
from searchd.store.base import DeviceRow

KEYS = ("runtime", "driver", "clocks", "threads")
"""What a table of latencies holds for; another value makes it stale."""


def profile_of(
    study: str, task: str, request: Mapping[str, Any], result: Mapping[str, Any], facts: Mapping[str, str], *,
    alone: bool, at: float,
) -> dict[str, Any]:  # fmt: skip
    """The profile that a job's `result` makes. Refused when it is none: a worker of an older release measures one
    config instead."""
    rows, times = result.get("rows"), result.get("architectures")
    whole = request["architectures"]
    if not isinstance(rows, Mapping) or not isinstance(times, Sequence) or len(times) != len(whole):
        raise Refused("the worker brought no table of operators: it is of an older release; upgrade it, then profile")
    measured = [{"counts": a["counts"], "ms": min(float(t) for t in ms)} for a, ms in zip(whole, times, strict=True)]
    profile = {
        "study": study, "task": task, "at": at, "facts": {k: facts.get(k, "") for k in KEYS},
        "rows": {str(k): [float(v[0]), float(v[1])] for k, v in rows.items()}, "architectures": measured,
        "empty_ms": float(result.get("empty_ms", 0.0)), "spread": float(result.get("spread", 0.0)),
        "row_spread": float(result.get("row_spread", 0.0)), "alone": alone, "front": [],
        **{name: float(result[name]) for name in ("energy_j", "peak_memory_bytes") if name in result},
    }  # fmt: skip
    return fitted(profile)


def fitted(profile: Mapping[str, Any]) -> dict[str, Any]:
    """The profile with the predictor that all its measurements make, and how good it is on the random ones."""
    table = {key: float(row[0]) for key, row in profile["rows"].items()}
    random, front = architectures(profile["architectures"]), architectures(profile.get("front", ()))
    return {
        **profile, "predictor": fit_again(table, random, front).as_json(),
        "quality": judge(table, random, float(profile["spread"])).as_json(),
    }  # fmt: skip


def architectures(said: Sequence[Mapping[str, Any]]) -> list[Architecture]:
    """Measured architectures as they are stored."""
    return [Architecture({str(k): float(n) for k, n in a["counts"].items()}, float(a["ms"])) for a in said]


def stale(row: DeviceRow) -> str | None:
    """Why the table of a device no longer holds, or None: what has changed, from what to what."""
    if row.profile is None:
        return None
    then = row.profile["facts"]
    changed = [f"{key} was {then.get(key) or 'unknown'!r}, is {row.facts.get(key) or 'unknown'!r}" for key in KEYS
               if (then.get(key) or "unknown") != (row.facts.get(key) or "unknown")]  # fmt: skip
    return "; ".join(changed) or None


def taught(row: DeviceRow, predictor: Mapping[str, Any], front: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The profile of a device with figures of a study's front beside its random architectures, fitted anew; None when
    that profile is not the one which the study's `predictor` came from, or no longer holds."""
    profile = row.profile
    if profile is None or stale(row) is not None or profile["at"] != predictor["at"]:
        return None
    return fitted({**profile, "front": [*profile.get("front", ()), *front]})
