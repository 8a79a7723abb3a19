"""What every figure is made of: the empty figure in house style, axes, dots, lines, guides."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from ui import theme
from ui.units import Metric


def blank(height: int, **layout: Any) -> go.Figure:
    """An empty figure in house style, `height` pixels high."""
    text = {"family": theme.FONT, "size": 12, "color": theme.INK}
    figure = go.Figure()
    figure.update_layout(
        template="none",
        height=height,
        margin={"l": 58, "r": 16, "t": 16, "b": 48},
        paper_bgcolor=theme.PAPER,
        plot_bgcolor=theme.PAPER,
        font=text,
        hoverlabel={"bgcolor": theme.PAPER, "bordercolor": theme.LINE, "font": text, "align": "left"},
        legend={"font": {"size": 11}},
        hovermode="closest",
        clickmode="event+select",
    )
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
    figure.update_xaxes(**axes)
    figure.update_yaxes(**axes)
    figure.update_layout(**layout)
    return figure


def axis(figure: go.Figure, which: str, of: Metric, values: Iterable[Any], log: bool | None = None) -> None:
    """Title with unit and direction; logarithmic when the values are positive and span a factor of 20."""
    seen = [float(v) for v in values if v is not None and math.isfinite(v)]
    if log is None:
        log = bool(seen) and min(seen) > 0 and max(seen) / min(seen) >= 20
    text = of.title + (f" <span style='color:{theme.MUTED}'>· {of.direction}</span>" if of.direction else "")
    settings: dict[str, Any] = {"title": {"text": text, "standoff": 10}}
    if log:
        settings |= {"type": "log", "dtick": "D2" if max(seen) / min(seen) < 300 else 1}
    if of.counted:
        settings["tickformat"] = "~s"
    elif log:
        settings["tickformat"] = "~g"
    (figure.update_xaxes if which == "x" else figure.update_yaxes)(**settings)


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


def bounds(figure: go.Figure, which: str, of: Metric) -> None:
    """A dashed line at each bound of an objective, with its value."""
    for bound, word in ((of.at_most, "at most"), (of.at_least, "at least")):
        if bound is None:
            continue
        draw = figure.add_vline if which == "x" else figure.add_hline
        note = {"text": f"{word} {of.text(bound)}", "font": {"size": 10, "color": theme.BOUND}}
        draw(
            **{which: bound},
            line={"color": theme.BOUND, "width": 1, "dash": "dash"},
            layer="below",
            annotation=note,
        )


def colourbar(of: Metric) -> dict[str, Any]:
    """The bar that explains a colour by a metric."""
    small = {"size": 11, "color": theme.MUTED}
    bar: dict[str, Any] = {
        "title": {"text": of.title, "side": "right", "font": small},
        "thickness": 10,
        "outlinewidth": 0,
        "tickfont": {"size": 10, "color": theme.MUTED},
        "len": 0.9,
    }
    if of.counted:
        bar["tickformat"] = "~s"
    return bar


def said(of: Metric, which: str) -> str:
    """A line of a hover label: the metric and the value under the pointer."""
    return f"{of.label} <b>%{{{which}:.4~g}}</b> {of.unit}".rstrip()


def nulls(column: pd.Series[Any]) -> list[float | None]:
    """A column with NaN as None: a gap in a line."""
    return [None if pd.isna(v) else float(v) for v in column]
