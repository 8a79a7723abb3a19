"""What a job found, looked at before anything is made of it: a result that is none fails its job, and no more."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

LINES, LONGEST = 200, 5000
"""Of what ran the layers of a network: one for each kind of them, with the names of the layers."""


def fault(kind: str, result: Mapping[str, Any] | None) -> str | None:
    """Why this is no result of a `measure` or an `export` job; None: it may be one."""
    if result is None or kind not in ("measure", "export"):
        return None
    for name in ("cumulative_ms", "p95_ms", "kernel_bits"):
        if not _numbers(result.get(name) or []):
            return f"`{name}` is no list of finite numbers that are not negative"
    if not _lines(result.get("kernels") or []):
        return f"`kernels` is no list of at most {LINES} lines of text"
    return None if kind == "measure" else _export_fault(result)


def _export_fault(result: Mapping[str, Any]) -> str | None:
    points = result.get("points", ())
    if not isinstance(points, list | tuple) or not all(_is_point(point) for point in points):
        return "`points` is no list of `{point, metrics}`"
    files = result.get("files", ())
    if not isinstance(files, list | tuple) or not all(isinstance(name, str) and below(name) for name in files):
        return "`files` is no list of names below the folder of the trial"
    return None


def below(name: str) -> bool:
    """Whether a path stays below the folder that it is relative to."""
    path = PurePosixPath(name)
    return bool(name) and "\x00" not in name and not path.is_absolute() and ".." not in path.parts


def _lines(said: Any) -> bool:
    if not isinstance(said, list | tuple) or len(said) > LINES:
        return False
    return all(isinstance(line, str) and len(line) <= LONGEST and line.isprintable() for line in said)


def _is_point(point: Any) -> bool:
    if not isinstance(point, Mapping) or not isinstance(point.get("metrics"), Mapping):
        return False
    return isinstance(point.get("point"), int) and not isinstance(point["point"], bool)


def _numbers(values: Any) -> bool:
    return isinstance(values, list | tuple) and all(
        isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v) and v >= 0 for v in values
    )
