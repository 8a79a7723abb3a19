"""The colours of page, charts and report: one palette, dark on light."""

from __future__ import annotations

INK = "#1a2233"
MUTED = "#667085"
FAINT = "#98a2b3"
GRID = "#eaecf0"
LINE = "#d0d5dd"
PAPER = "#ffffff"
PANEL = "#f8f9fb"
ACCENT = "#3451d1"
FRONT = "#0f766e"
DOMINATED = "#b8c0cc"
SELECTED = "#ea580c"
BOUND = "#b42318"

FONT = "'Source Sans 3', 'Source Sans Pro', 'Source Sans', Inter, 'Segoe UI', system-ui, sans-serif"

SCALE = ((0.0, "#7dd3fc"), (0.35, "#3b82f6"), (0.7, "#4338ca"), (1.0, "#1e1b4b"))
"""Sequential, light to dark; its light end is still visible on white."""

STATUS = {
    "queued": "#98a2b3",
    "waiting": "#b3bccb",
    "running": "#2563eb",
    "verifying": "#7c3aed",
    "paused": "#7d8fb3",
    "promoted": "#0f766e",
    "done": "#22a34a",
    "stopped": "#64748b",
    "failed": "#dc2626",
    "faulted": "#dc2626",
    "vetoed": "#be185d",
}
"""A colour for each state of a study, a trial, a job or a place in a rung."""

TRIAL_STATES = ("running", "paused", "waiting", "done", "stopped", "failed", "vetoed")
LIVE_STATES = frozenset({"queued", "running", "paused", "verifying"})
"""States of a study in which it may still change by itself or by a worker's report."""


def colour(state: str) -> str:
    """The colour of a state; grey for one that is not known."""
    return STATUS.get(state, FAINT)


def tint(colour_hex: str, alpha: float) -> str:
    """`#rrggbb` as `rgba(…)` with an opacity from 0 to 1."""
    red, green, blue = (int(colour_hex[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha:g})"
