"""Small pieces of HTML shared by the page and the report. Everything that comes from outside is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from ui import theme
from ui.units import Metric, duration, number
from ui.wording import config_rows, scalars

Tile = tuple[str, str, str]
"""A figure at a glance: its label, its value, and a line of small print; small print may be HTML of this module."""


def badge(state: str, live: bool = False) -> str:
    """A state as a coloured pill; `live` lets its dot pulse."""
    paint = theme.colour(state)
    dot = f'<span class="sd-dot{" sd-live" if live else ""}" style="background:{paint}"></span>'
    return (
        f'<span class="sd-badge" style="background:{theme.tint(paint, 0.1)};color:{paint}">{dot}{escape(state)}</span>'
    )


def state_bar(counts: Mapping[str, int], total: int | None = None) -> str:
    """Trials by state as one stacked bar; `total` (the budget) leaves the rest of it empty."""
    whole = max(total or 0, sum(counts.get(s, 0) for s in theme.TRIAL_STATES), 1)
    parts = [
        f'<span style="width:{100 * counts[s] / whole:.2f}%;background:{theme.colour(s)}"'
        f' title="{counts[s]} {s}"></span>'
        for s in ("done", "running", "paused", "waiting", "stopped", "vetoed", "failed")
        if counts.get(s)
    ]
    return f'<div class="sd-bar">{"".join(parts)}</div>'


def tiles(summary: Mapping[str, Any], metrics: Mapping[str, Metric]) -> list[Tile]:
    """The study at a glance, most telling first."""
    counts, budget = summary["trials"], summary.get("budget") or {}
    most = budget.get("trials")
    steps = budget.get("steps")
    share = summary.get("busy_fraction")
    left = summary.get("time_left_s") if summary["status"] in theme.LIVE_STATES else None
    found: list[Tile] = [
        (
            "trials",
            f"{counts['total']}" + (f" / {most}" if most else ""),
            state_bar(counts, most),
        ),
        (f"{summary['unit']}s", number(summary["steps_done"]), f"of {number(steps)}" if steps else "trained so far"),
        ("front", f"{summary['front']}", "point" if summary["front"] == 1 else "points"),
    ]
    for name, value in (summary.get("best") or {}).items():
        of = metrics.get(name)
        if of is not None and value is not None:
            found.append((f"best {of.label}", of.text(value), escape(of.direction)))
    if summary.get("hypervolume") is not None:
        found.append(("hypervolume", number(summary["hypervolume"]), "of the front"))
    found.append(("workers busy", "–" if share is None else f"{100 * share:.0f} %", "of their time"))
    found.append(("elapsed", duration(summary["seconds"]), "" if left is None else f"about {duration(left)} left"))
    return found


def strip(found: Sequence[Tile]) -> str:
    """Tiles side by side."""
    cells = [
        f'<div class="sd-kpi"><div class="sd-k">{escape(k)}</div><div class="sd-v">{escape(v)}</div>'
        f'<div class="sd-s">{small}</div></div>'
        for k, v, small in found
    ]
    return f'<div class="sd-kpis">{"".join(cells)}</div>'


def table(head: Sequence[str], rows: Iterable[Sequence[Any]], right: Sequence[int] = ()) -> str:
    """A plain table; the columns numbered in `right` are numbers."""
    top = "".join(f"<th{' style=text-align:right' if i in right else ''}>{escape(h)}</th>" for i, h in enumerate(head))
    body = "".join(
        "<tr>"
        + "".join(f"<td{' class=sd-num' if i in right else ''}>{escape(str(v))}</td>" for i, v in enumerate(row))
        + "</tr>"
        for row in rows
    )
    return f'<table class="sd-table"><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>'


def config(values: Mapping[str, Any]) -> str:
    """A config as names and values, nested parameters indented under their option."""
    rows = "".join(
        f'<tr><td class="sd-name" style="padding-left:{14 * depth}px">{escape(name)}</td>'
        f'<td class="sd-num">{escape(text)}</td></tr>'
        for depth, name, text in config_rows(values)
    )
    return f'<table class="sd-table sd-config"><tbody>{rows}</tbody></table>'


def measured(values: Mapping[str, Any], metrics: Mapping[str, Metric]) -> str:
    """Metrics with units, objectives first and strong; a bound that is broken is said."""
    shown = scalars(values)
    order = [n for n in metrics if n in shown and metrics[n].goal] + sorted(
        n for n in shown if n not in metrics or not metrics[n].goal
    )
    rows = []
    for name in order:
        of, value = metrics.get(name) or Metric(name, name.replace("_", " ")), shown[name]
        strong = " sd-strong" if of.goal else ""
        broken = value is not None and (
            (of.at_most is not None and value > of.at_most) or (of.at_least is not None and value < of.at_least)
        )
        style = f' style="color:{theme.BOUND}" title="breaks its bound"' if broken else ""
        rows.append(
            f'<tr><td class="sd-name{strong}">{escape(of.label)}</td>'
            f'<td class="sd-num"{style}>{escape(of.text(value))}</td></tr>'
        )
    return f'<table class="sd-table sd-metrics"><tbody>{"".join(rows)}</tbody></table>'


def empty(title: str, why: str, *, error: bool = False) -> str:
    """What is not there, and why. `why` may hold `code` in backticks."""
    pieces = [escape(p) for p in why.split("`")]
    text = "".join(f"<code>{p}</code>" if i % 2 else p for i, p in enumerate(pieces))
    return f'<div class="sd-empty{" sd-error" if error else ""}"><b>{escape(title)}</b>{text}</div>'


def sub(title: str) -> str:
    """A small heading inside a panel."""
    return f'<div class="sd-sub">{escape(title)}</div>'
