"""Numbers, configs and points as a person reads them in a terminal: pure functions, no colour, no I/O."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

UNKNOWN = "–"


def duration(seconds: float | None) -> str:
    """`0:07`, `12:40`, `3:02:11`."""
    if seconds is None or not math.isfinite(seconds):
        return UNKNOWN
    whole = max(0, round(seconds))
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"


def number(value: Any) -> str:
    """A number to three or four digits; anything else as it is."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return UNKNOWN if value is None else str(value)
    if isinstance(value, int) or (value.is_integer() and abs(value) < 1e6):
        return f"{int(value):,}".replace(",", " ")
    return f"{value:.4g}" if abs(value) >= 1e-3 else f"{value:.2e}"


def count(value: int, what: str) -> str:
    """`1 job`, `2 jobs`."""
    return f"{number(value)} {what}{'' if value == 1 else 's'}"


def size(value: float) -> str:
    """Bytes: `812 B`, `12.3 kB`, `4.56 MB` (1 kB is 1,000 bytes)."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if value >= scale:
            return f"{value / scale:.3g} {unit}"
    return f"{value:.0f} B"


def metric(name: str, value: Any) -> str:
    """A metric's value by what its name says: `*_ms`, `bytes`, `*_error` (percent), else a plain number."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        return UNKNOWN if value is None or isinstance(value, float) else str(value)
    if name == "bytes" or name.endswith("_bytes"):
        return size(float(value))
    if name.endswith("_ms"):
        return f"{value:.3g} ms" if value >= 0.1 else f"{value * 1000:.3g} µs"
    return number(value)


def again(retrying: Sequence[Mapping[str, Any]], most: int = 3) -> list[str]:
    """Jobs that run again after they were lost, a line each: which attempt, and why the last one ended.

    >>> again([{"trial": 5, "attempt": 2, "reason": "its worker died"}])
    ['trial 5 runs again (attempt 2): its worker died']
    """
    lines = [
        f"trial {lost['trial']} runs again (attempt {lost['attempt']}): {lost['reason'] or 'it was lost'}"
        for lost in retrying
    ]
    return lines if len(lines) <= most else [*lines[:most], f"and {count(len(lines) - most, 'more trial')}"]


def parent(said: Mapping[str, Any] | None) -> str:
    """A trial's parent in a column: `5@3`, trial 5 as it was after step 3; `(5@3)`: its weights were not taken."""
    if not said:
        return ""
    short = f"{said['trial']}@{said['step']}"
    return f"({short})" if said["taken"] is False else short


def deployed(point: Mapping[str, Any]) -> dict[str, Any]:
    """The flat config of a front point; with the weight bits that were allocated to it, one a block, if there are any.

    >>> deployed({"config": {"width": 16, "bits": 32}, "metrics": {"bits": [4.0, 8.0]}})
    {'width': 16, 'bits.0': 4, 'bits.1': 8}
    """
    bits = point["metrics"].get("bits")
    if not bits:
        return dict(point["config"])
    kept = {name: value for name, value in point["config"].items() if name.partition(".")[0] != "bits"}
    whole = [int(b) if isinstance(b, float) and b.is_integer() else b for b in bits]
    return kept | {f"bits.{i}": b for i, b in enumerate(whole)}


def selected(point: Mapping[str, Any]) -> str:
    """What tells an operating point from others of its trial, in a few words; empty where its config says it all.

    >>> selected({"metrics": {"skip": {"kind": "unified", "layers": [0, 2]}}})
    'layers 0,2'
    >>> selected({"metrics": {"subnet": {"resolution": 8, "units": [{"kernels": [3, 5], "widths": [2, 4]}]}}})
    '8: 3x2 5x4'
    >>> one = {"kernels": [3], "widths": [2]}
    >>> selected({"metrics": {"subnet": {"resolution": 8, "units": [one, one]}, "exit_rates": [0.75, 0.25]}})
    '8: 3x2 | 3x2 · leave 75 25 %'
    """
    said = point["metrics"]
    if isinstance(blocks := said.get("architecture"), list):
        return ",".join(map(str, blocks))
    match said.get("skip"):
        case {"kind": "unified", "layers": list(layers)}:
            return f"layers {','.join(f'{n:g}' for n in layers)}"
        case {"kind": "decode", "most": most, "least": least}:
            return f"layers {most:g} to {least:g}"
        case {"kind": "all"}:
            return "all layers"
    match said.get("subnet"):
        case {"resolution": side, "units": list(units)}:
            rows = (zip(u.get("kernels", ()), u.get("widths", ()), strict=False) for u in units)
            blocks = " | ".join(" ".join(f"{k:g}x{w:g}" for k, w in row) for row in rows)
            bits = [" ".join(f"{b:g}" for b in u.get("bits", ())) for u in units]
            narrow = any(b < 32 for u in units for b in u.get("bits", ()))
            rates = said.get("exit_rates") or ()
            leave = f" · leave {' '.join(f'{100 * r:.0f}' for r in rates)} %" if len(rates) > 1 else ""
            return f"{side:g}: {blocks}" + (f" · bits {' | '.join(bits)}" if narrow else "") + leave
    return ""


def bounds(objectives: Iterable[Mapping[str, Any]]) -> str:
    """The bounds of objectives: `latency_ms at most 2, accuracy at least 0.9`; empty when there are none."""
    both = (("at_most", "at most"), ("at_least", "at least"))
    return ", ".join(f"{o['name']} {said} {o[k]:g}" for o in objectives for k, said in both if o.get(k) is not None)


def config(values: Mapping[str, Any]) -> str:
    """A flat config on one line: nested names by their last part, repeated ones together (`bits 4,8`).

    >>> config({"width": 16, "optimizer": "sgd", "optimizer.sgd.lr": 0.1, "bits.0": 4, "bits.1": 8})
    'width 16 · bits 4,8 · sgd(lr 0.1)'
    """
    plain: list[str] = []
    choices: dict[str, list[str]] = {}
    repeated: dict[str, list[str]] = {}
    inside: dict[str, list[str]] = {}
    for name, value in values.items():
        owner, _, index = name.rpartition(".")
        if index.isdigit() and "." in owner:
            inside.setdefault(owner, []).append(_value(value))
    for name, value in values.items():
        head, _, rest = name.partition(".")
        if not rest:
            choices.setdefault(name, []) if any(n.startswith(f"{name}.{value}.") for n in values) else plain.append(
                f"{head} {_value(value)}"
            )
        elif rest.isdigit():
            repeated.setdefault(head, []).append(_value(value))
        elif (owner := name.rpartition(".")[0]) in inside:
            if listed := inside[owner]:
                choices.setdefault(head, []).append(f"{owner.rpartition('.')[2]} {','.join(listed)}")
                inside[owner] = []
        else:
            choices.setdefault(head, []).append(f"{name.rpartition('.')[2]} {_value(value)}")
    plain += [f"{name} {','.join(found)}" for name, found in repeated.items()]
    plain += [f"{values.get(name, name)}({', '.join(inner)})" for name, inner in choices.items()]
    return " · ".join(plain)


def _value(value: Any) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ",".join(_value(v) for v in value) + "]"
    return number(value).replace(" ", "")


def counts(trials: Mapping[str, int]) -> str:
    """`2 running, 9 paused, 14 done`; states without a trial are left out."""
    order = ("running", "waiting", "paused", "done", "stopped", "failed", "vetoed")
    return ", ".join(f"{trials[s]} {s}" for s in order if trials.get(s)) or "none yet"
