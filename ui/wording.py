"""A config in reading order, and why a page has nothing to show. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ui.units import value_text

Answer = Mapping[str, Any]
Row = tuple[int, str, str]
"""Indent, name, value."""

SELECTS = ("thresholds", "temperatures")
"""Lists that belong to which operating point it is: one number an exit."""


def config_rows(config: Answer) -> list[Row]:
    """A flat config for reading: children stand one step in under the option that they live under.

    `optimizer = sgd` is followed by its `lr`; `bits.0`, `bits.1` are one row `bits` with a list.
    """
    rows: dict[str, tuple[int, str, Any]] = {}
    for name in sorted(config, key=_natural):
        stem, _, leaf = name.rpartition(".")
        if stem and leaf.isdigit() and stem not in config:
            depth, label, values = rows.get(stem, (_depth(stem, config), stem.rpartition(".")[2], []))
            rows[stem] = (depth, label, [*values, config[name]])
        else:
            rows[name] = (_depth(name, config), leaf, config[name])
    return [(depth, label, value_text(value)) for depth, label, value in rows.values()]


def scalars(values: Answer) -> dict[str, Any]:
    """The numbers and words of `values`, and as text what selects an operating point: lists, a sub-network; other lists
    (exit rates, cumulative costs) do not fit a cell."""
    said = {k: value_text(v) if k in SELECTS and isinstance(v, list | tuple) else v for k, v in values.items()}
    if isinstance(values.get("subnet"), Mapping):
        said["subnet"] = subnet_text(values["subnet"])
    return {k: v for k, v in said.items() if not isinstance(v, list | tuple | Mapping)}


def subnet_text(subnet: Answer) -> str:
    """A sub-network in a cell: its resolution, then unit by unit its blocks as kernel x width, and bits where any is
    below 32: `8: 3x2 5x1 | 3x4 · bits 4 8 | 32`."""
    units = subnet.get("units", ())
    blocks = [
        " ".join(f"{k:g}x{w:g}" for k, w in zip(u.get("kernels", ()), u.get("widths", ()), strict=False)) for u in units
    ]
    bits = [" ".join(f"{b:g}" for b in u.get("bits", ())) for u in units]
    at = f"{subnet['resolution']:g}: " if "resolution" in subnet else ""
    narrow = any(b < 32 for u in units for b in u.get("bits", ()))
    return at + " | ".join(blocks) + (f" · bits {' | '.join(bits)}" if narrow else "")


def config_line(config: Answer) -> str:
    """A config on one line, for a cell of a table."""
    return ", ".join(f"{name} {value}" for _, name, value in config_rows(config))


def notes(summary: Answer) -> str:
    """Why a study is in its state, why it waits, which trials run again, and what its searcher says of it; empty when
    there is nothing."""
    waits = f"waits: {summary['waits']}" if summary.get("waits") and summary["status"] != "paused" else ""
    return " · ".join(filter(None, (summary.get("reason"), waits, _again(summary), summary.get("remark"))))


def _again(summary: Answer) -> str:
    """`trial 5 runs again (attempt 2): its worker died`; of several the first, and how many more."""
    found = summary.get("retrying") or ()
    if not found:
        return ""
    first, more = found[0], f", and {len(found) - 1} more" if len(found) > 1 else ""
    return f"trial {first['trial']} runs again (attempt {first['attempt']}){more}: {first['reason'] or 'it was lost'}"


def why_no_front(summary: Answer) -> tuple[str, str]:
    """Why a study has no front to show: a title, and the reason with what to do about it."""
    counts, status, unit = summary["trials"], summary["status"], summary["unit"]
    bad = counts.get("failed", 0) + counts.get("vetoed", 0)
    if status == "faulted":
        return "The study stopped on a fault", summary.get("reason") or "The decision log has the last events."
    if counts["total"] == 0:
        if summary.get("waits"):
            return "Waiting", f"{summary['waits'][:1].upper()}{summary['waits'][1:]}."
        if status == "queued":
            return "Waiting to start", "The study is queued: a daemon takes it up when it is free."
        if status in ("done", "stopped"):
            return "Nothing was tried", f"The study ended ({status}) before its first trial."
        return "No trial yet", "No worker has taken a job: see Workers; `searchd worker` starts one."
    if counts["total"] == bad:
        return "Every trial failed", f"All {bad} trials failed or were vetoed; the table of trials has their errors."
    if summary.get("reports", 0) == 0:
        running = counts.get("running", 0)
        return "No report yet", f"{running} of {counts['total']} trials are running; none has reported a {unit} yet."
    if bounds := _bounds(summary):
        said = summary.get("remark") or "or none has reached a rung"
        return "No feasible point yet", f"No point keeps the bounds ({bounds}) so far; {said}."
    return "No trial has reached a rung", f"{summary['reports']} reports so far; points count from the first rung on."


def _bounds(summary: Answer) -> str:
    return ", ".join(
        f"{o['name']} {word} {o[key]:g}"
        for o in summary.get("objectives", ())
        for key, word in (("at_most", "at most"), ("at_least", "at least"))
        if o.get(key) is not None
    )


def _depth(name: str, config: Answer) -> int:
    """How many options the parameter lives under."""
    parts = name.split(".")
    return sum(config.get(".".join(parts[:i])) == parts[i] for i in range(1, len(parts) - 1))


def _natural(name: str) -> list[tuple[bool, int, str]]:
    """A sort key that puts `bits.10` after `bits.9`."""
    return [(p.isdigit(), int(p) if p.isdigit() else 0, p) for p in name.split(".")]
