"""Parallel coordinates of a study's trials: parameters on the left, objectives on the right."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from ui import marks, theme
from ui.units import Metric, value_text


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
    dimensions = [dimension(str(c), joined[c]) for c in parameters.columns if c != "trial"]
    dimensions += [dimension(o.title, joined[o.name], counted=o.counted) for o in shown]
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


def dimension(label: str, column: pd.Series[Any], counted: bool = False) -> dict[str, Any]:
    """One axis: numbers as they are (log10 when they span a factor of 100), words by rank, gaps at the foot."""
    numeric = pd.to_numeric(column, errors="coerce")
    worded = bool(column.dropna().map(lambda v: isinstance(v, bool | str)).any())
    if worded or numeric.notna().sum() == 0:
        codes = {word: float(i) for i, word in enumerate(sorted({value_text(v) for v in column.dropna()}))}
        values = [math.nan if pd.isna(v) else codes[value_text(v)] for v in column]
        ticks, texts = list(codes.values()), [word[:14] for word in codes]
        low, high, foot = 0.0, max(len(codes) - 1.0, 0.5), -1.0
    else:
        seen = numeric.dropna()
        log = bool(seen.min() > 0 and seen.max() / seen.min() >= 100)
        values = [math.log10(v) if log and not math.isnan(v) else float(v) for v in numeric]
        there = sorted({v for v in values if not math.isnan(v)})
        low, high = there[0], there[-1]
        span = (high - low) or 1.0
        ticks = there if len(there) <= 6 else [low + span * i / 4 for i in range(5)]
        texts = [_tick(10**t if log else t, counted) for t in ticks]
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
