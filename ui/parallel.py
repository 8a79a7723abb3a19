"""Parallel coordinates of a study's trials: parameters on the left, objectives on the right."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from ui import marks, theme
from ui.units import Metric, value_text

FEW = 5
"""A parameter with at most so many values has evenly spaced ticks, as words have."""


def parallel(
    parameters: pd.DataFrame, values: pd.DataFrame, objectives: Sequence[Metric], *, height: int = 440
) -> go.Figure:
    """A line a trial that has every objective, coloured by the first one, the best dark.

    A parameter that a trial does not have stands at the foot of its axis, marked –. Words have evenly spaced ticks.
    """
    figure = marks.blank(height, margin={"l": 56, "r": 24, "t": 92, "b": 20})
    shown = [o for o in objectives if o.name in values.columns]
    names = [o.name for o in shown]
    joined = parameters.merge(values[["trial", *names]], on="trial", how="inner").dropna(subset=names)
    if joined.empty or not shown:
        return figure
    columns = [str(c) for c in parameters.columns if c != "trial"]
    leaves = [c.rpartition(".")[2] for c in columns]
    alone = [leaves.count(leaf) == 1 and not leaf.isdigit() for leaf in leaves]
    labels = [leaf if own else c for c, leaf, own in zip(columns, leaves, alone, strict=True)]
    dimensions = [dimension(label, joined[c]) for label, c in zip(labels, columns, strict=True)]
    dimensions += [dimension(o.title, joined[o.name], objective=o) for o in shown]
    first, tone = shown[0], pd.to_numeric(joined[names[0]])
    paint = marks.shade(first, tone)
    if first.goal != "maximize":
        paint["colorscale"] = [(1 - a, c) for a, c in reversed(theme.SCALE)]
    figure.add_trace(
        go.Parcoords(
            dimensions=dimensions,
            labelfont={"size": 12, "color": theme.INK},
            tickfont={"size": 10, "color": theme.MUTED},
            rangefont={"size": 1, "color": "rgba(0,0,0,0)"},
            labelangle=-18,
            labelside="top",
            line=paint,
            unselected={"line": {"color": theme.FAINT, "opacity": 0.12}},
        )
    )
    return figure


def dimension(label: str, column: pd.Series[Any], objective: Metric | None = None) -> dict[str, Any]:
    """One axis: numbers as they are (log10 when they are wide), words and few numbers by rank, gaps at the foot."""
    numeric = pd.to_numeric(column, errors="coerce")
    worded = bool(column.dropna().map(lambda v: isinstance(v, bool | str)).any()) or bool(numeric.isna().all())
    different: list[Any] = sorted({value_text(v) for v in column.dropna()}) if worded else sorted(set(numeric.dropna()))
    if worded or (objective is None and len(different) <= FEW):
        codes = {v: float(i) for i, v in enumerate(different)}
        keys = column.map(value_text) if worded else numeric
        values = [math.nan if pd.isna(v) else codes[k] for v, k in zip(column, keys, strict=True)]
        ticks, texts = list(codes.values()), [str(v)[:14] if worded else _tick(v, False) for v in codes]
        low, high, foot = 0.0, max(len(codes) - 1.0, 0.5), -1.0
    else:
        log = marks.wide(different)
        values = [math.log10(v) if log and not math.isnan(v) else float(v) for v in numeric]
        there = sorted({v for v in values if not math.isnan(v)})
        low, high = there[0], there[-1]
        span = (high - low) or 1.0
        ticks = [low + span * i / 4 for i in range(5)] if high > low else [low]
        texts = [_tick(10**t if log else t, objective is not None and objective.counted) for t in ticks]
        foot, high = low - 0.15 * span, high if high > low else low + 1.0
    if any(map(math.isnan, values)):
        values = [foot if math.isnan(v) else v for v in values]
        low, ticks, texts = foot, [foot, *ticks], ["–", *texts]
    return {"label": label, "values": values, "range": [low, high], "tickvals": ticks, "ticktext": texts}


def _tick(value: float, counted: bool) -> str:
    if counted:
        for factor, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
            if abs(value) >= factor:
                return f"{value / factor:.3g}{letter}"
    return f"{value:.2g}" if abs(value) < 100 else f"{value:.0f}"
