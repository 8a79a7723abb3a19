"""What every figure is made of: the empty figure in house style, axes, dots, lines, guides."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from ui import theme
from ui.units import Metric, number


def blank(height: int, **layout: Any) -> go.Figure:
    """An empty figure in house style, `height` pixels high."""
    text = {"family": theme.FONT, "size": 12, "color": theme.INK}
    axes = {
        "gridcolor": theme.GRID,
        "linecolor": theme.LINE,
        "tickcolor": theme.LINE,
        "tickfont": {"size": 11, "color": theme.MUTED},
        "title": {"font": {"size": 12, "color": theme.INK}},
        "ticks": "outside",
        "ticklen": 4,
        "zeroline": False,
        "showline": True,
        "automargin": True,
    }
    style = {
        "template": "none",
        "height": height,
        "margin": {"l": 58, "r": 16, "t": 16, "b": 48},
        "paper_bgcolor": theme.PAPER,
        "plot_bgcolor": theme.PAPER,
        "font": text,
        "hoverlabel": {"bgcolor": theme.PAPER, "bordercolor": theme.LINE, "font": text, "align": "left"},
        "legend": {"font": {"size": 11}},
        "hovermode": "closest",
        "clickmode": "event+select",
        "xaxis": axes,
        "yaxis": axes,
    }
    figure = go.Figure(layout=style)  # a fifteenth of what one update after another takes
    if layout:
        figure.update_layout(**layout)
    return figure


def axis(figure: go.Figure, which: str, of: Metric, values: Iterable[Any], log: bool | None = None) -> None:
    """Title with unit and direction, and the range of the values; logarithmic when they are positive and wide.

    A bound is drawn where it lies near the values; one far off would squeeze them, so it is named in the title.
    """
    seen = [float(v) for v in values if v is not None and math.isfinite(v)]
    log = wide(seen) if log is None else log
    settings: dict[str, Any] = {}
    low, high = _range(seen, log)
    far = ""
    for bound, word in ((of.at_most, "at most"), (of.at_least, "at least")):
        if bound is None:
            continue
        at = math.log10(bound) if log and bound > 0 else bound
        if seen and not low - (high - low) <= at <= high + (high - low):
            far += f" · {word} {of.text(bound)}"
            continue
        low, high = min(low, at), max(high, at)
        _bound(figure, which, bound, at, f"{word} {of.text(bound)}")
    if seen:
        pad = 0.06 * (high - low)
        settings["range"] = [low - pad, high + pad]
    small = (f" · {of.direction}" if of.direction else "") + far
    text = of.title + (f" <span style='color:{theme.MUTED}'>{small}</span>" if small else "")
    settings["title"] = {"text": text, "standoff": 10}
    if log:
        settings |= {"type": "log", "dtick": "D2" if high - low < 2.5 else 1}
    if of.counted:
        settings["tickformat"] = "~s"
    elif log:
        settings["tickformat"] = "~g"
    (figure.update_xaxes if which == "x" else figure.update_yaxes)(**settings)


def wide(seen: Collection[float], factor: float = 10.0) -> bool:
    """Whether the values are positive and span at least `factor`: then a logarithm shows them better."""
    return bool(seen) and min(seen) > 0 and max(seen) / min(seen) >= factor


def _range(seen: Collection[float], log: bool) -> tuple[float, float]:
    """The lowest and highest value (log10 of them), apart from each other."""
    if not seen:
        return 0.0, 1.0
    low, high = min(seen), max(seen)
    if log:
        low, high = math.log10(low), math.log10(high)
    room = (abs(low) * 0.1 or 1.0) if high == low else 0.0
    return low - room, high + room


def _bound(figure: go.Figure, which: str, bound: float, at: float, text: str) -> None:
    """A dashed line at `bound` with its text. plotly places shapes by value and annotations by `at`, its logarithm."""
    draw = figure.add_vline if which == "x" else figure.add_hline
    draw(**{which: bound}, line={"color": theme.BOUND, "width": 1, "dash": "dash"}, layer="above")
    small = {"size": 10, "color": theme.BOUND}
    if which == "x":
        place = {"x": at, "xref": "x", "y": 1, "yref": "y domain", "xanchor": "left", "yanchor": "top"}
    else:
        place = {"x": 1, "xref": "x domain", "y": at, "yref": "y", "xanchor": "right", "yanchor": "bottom"}
    figure.add_annotation(text=text, font=small, showarrow=False, **place)


def dots(
    figure: go.Figure, x: Iterable[Any], y: Iterable[Any], *, name: str, marker: dict[str, Any], **more: Any
) -> None:
    """A cloud of marks; without `hovertemplate` it is silent under the pointer."""
    more.setdefault("hoverinfo", "skip" if "hovertemplate" not in more else None)
    more.setdefault("showlegend", False)
    more.setdefault("mode", "markers")
    figure.add_trace(go.Scatter(x=list(x), y=list(y), name=name, marker=marker, **more))


def ring(figure: go.Figure, x: Iterable[Any], y: Iterable[Any], size: int) -> None:
    """The circle around what is selected."""
    marker = {"size": size, "symbol": "circle-open", "color": theme.SELECTED, "line": {"width": 2.5}}
    dots(figure, x, y, name="selected", marker=marker)


def guides(figure: go.Figure, steps: Iterable[int], last: int) -> None:
    """A dotted line at each rung step up to `last`."""
    for step in steps:
        if step <= last:
            figure.add_vline(x=step, line={"color": theme.LINE, "width": 1, "dash": "dot"}, layer="below")


def shade(of: Metric, values: pd.Series[Any]) -> dict[str, Any]:
    """The part of a marker that colours it by a metric, light to dark, with the bar that explains it.

    A wide metric is coloured by its logarithm. A missing value has no colour.
    """
    tone = pd.to_numeric(values, errors="coerce")
    seen = [float(v) for v in tone.dropna() if math.isfinite(v)]
    small = {"size": 11, "color": theme.MUTED}
    bar: dict[str, Any] = {
        "title": {"text": of.title, "side": "right", "font": small},
        "thickness": 10,
        "outlinewidth": 0,
        "tickfont": {"size": 10, "color": theme.MUTED},
        "len": 0.9,
    }
    if wide(seen):
        low, high = math.log10(min(seen)), math.log10(max(seen))
        ticks = [low + (high - low) * i / 4 for i in range(5)]
        bar |= {"tickvals": ticks, "ticktext": [of.text(10**t) if of.unit == "B" else number(10**t) for t in ticks]}
        tone = tone.map(lambda v: math.log10(v) if v > 0 else math.nan)
    elif of.counted:
        bar["tickformat"] = "~s"
    return {"color": nulls(tone), "colorscale": theme.SCALE, "colorbar": bar, "showscale": True}


def said(of: Metric, which: str) -> str:
    """A line of a hover label: the metric and the value under the pointer."""
    return f"{of.label} <b>%{{{which}:.4~g}}</b> {of.unit}".rstrip()


def nulls(column: pd.Series[Any]) -> list[float | None]:
    """A column with NaN as None: a gap in a line."""
    return [None if pd.isna(v) else float(v) for v in column]
