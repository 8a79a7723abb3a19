"""Frames as plotly figures. Pure: a figure is a function of its arguments, so an unchanged study is not redrawn.

Every mark that stands for a trial carries `customdata = [trial, point]` (point -1 where there is none): the page
reads it on a click.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from ui import marks, theme
from ui.frames import FRONT_COLUMNS, at_step
from ui.units import Metric, value_text

Pick = tuple[int, int]
"""A trial and one of its points (-1: the trial as such)."""


def front(
    points: pd.DataFrame,
    x: Metric,
    y: Metric,
    *,
    shade: Metric | None = None,
    trials: pd.DataFrame | None = None,
    siblings: pd.DataFrame | None = None,
    selected: Pick | None = None,
    height: int = 460,
) -> go.Figure:
    """The front over two metrics: its points, the step line that they attain, other trials in grey, bounds.

    `shade` colours the points by a third metric; `siblings` are the other points of the selected trial.
    """
    figure = marks.blank(height)
    shown = _plottable(points, x, y)
    cloud = _plottable(trials, x, y)
    cloud = cloud[~cloud["trial"].isin(set(shown["trial"]))]
    marks.dots(
        figure,
        cloud[x.name],
        cloud[y.name],
        name="not on the front",
        marker={"size": 7, "color": theme.tint(theme.DOMINATED, 0.75)},
        customdata=[[int(t), -1] for t in cloud["trial"]],
        hovertemplate="<b>trial %{customdata[0]}</b> · not on the front<br>"
        f"{marks.said(x, 'x')}<br>{marks.said(y, 'y')}<extra></extra>",
    )
    line = attained(shown, x, y)
    stroke = {"color": theme.tint(theme.FRONT, 0.55), "width": 1.6, "shape": "hv"}
    marks.dots(figure, line[x.name], line[y.name], name="attained", marker={}, mode="lines", line=stroke)
    if siblings is not None and selected is not None:
        rows = _plottable(siblings, x, y).sort_values(x.name)
        marks.dots(
            figure,
            rows[x.name],
            rows[y.name],
            name="the same trial",
            mode="lines+markers",
            line={"color": theme.tint(theme.SELECTED, 0.5), "width": 1, "dash": "dot"},
            marker={"size": 6, "color": theme.PAPER, "line": {"color": theme.SELECTED, "width": 1.2}},
        )
    _points(figure, shown, x, y, shade)
    if selected is not None:
        rows = shown[(shown["trial"] == selected[0]) & ((shown["point"] == selected[1]) | (selected[1] < 0))]
        rows = cloud[cloud["trial"] == selected[0]] if rows.empty else rows
        marks.ring(figure, rows[x.name], rows[y.name], 20)
    for which, of in (("x", x), ("y", y)):
        marks.axis(figure, which, of, [*shown[of.name], *cloud[of.name]])
    return figure


def attained(points: pd.DataFrame, x: Metric, y: Metric) -> pd.DataFrame:
    """The points that no other dominates in these two metrics, from the best `x` to the best `y`."""
    across = points.sort_values([x.name, y.name], ascending=[x.goal != "maximize", y.goal != "maximize"], kind="stable")
    sign = -1.0 if y.goal == "maximize" else 1.0
    keep, best = [], math.inf
    for row, value in zip(across.index, across[y.name], strict=True):
        if sign * value < best:
            keep.append(row)
            best = sign * value
    return across.loc[keep]


def curves(
    frame: pd.DataFrame,
    value: Metric,
    *,
    status: Mapping[int, str] | None = None,
    rungs: Sequence[int] = (),
    step: int | None = None,
    selected: int | None = None,
    unit: str = "step",
    height: int = 420,
) -> go.Figure:
    """Learning curves of every trial over steps; rung steps as guides, `step` marked, its best three bold."""
    figure = marks.blank(height)
    best = set(at_step(frame, step, value.goal)["trial"].head(3)) if step is not None else set()
    for trial in sorted(frame["trial"].unique(), key=lambda t: (t == selected, t in best, t)):
        rows = frame[frame["trial"] == trial]
        state = (status or {}).get(int(trial), "")
        if trial == selected:
            paint, width, size = theme.SELECTED, 2.6, 6
        elif trial in best:
            paint, width, size = theme.ACCENT, 1.8, 4
        else:
            paint, width, size = theme.tint(theme.colour(state), 0.38), 1.1, 3
        marks.dots(
            figure,
            rows["step"],
            marks.nulls(rows["value"]),
            name=f"trial {trial}",
            mode="lines+markers",
            line={"color": paint, "width": width},
            marker={"size": size},
            customdata=[[int(trial), -1]] * len(rows),
            hovertemplate=f"<b>trial {trial}</b> · {state}<br>{unit} %{{x}}<br>{marks.said(value, 'y')}<extra></extra>",
        )
    last = max((int(s) for s in frame["step"]), default=1)
    marks.guides(figure, rungs, last)
    if step is not None:
        figure.add_vline(x=step, line={"color": theme.SELECTED, "width": 1.2}, layer="below")
    marks.axis(figure, "x", Metric(unit, unit), frame["step"])
    ticks = [r for r in rungs if r <= last]
    ticks += [last] if ticks and last >= 1.3 * ticks[-1] else []
    if ticks and figure.layout.xaxis.type == "log":
        figure.update_xaxes(tickmode="array", tickvals=ticks, ticktext=[str(t) for t in ticks])
    marks.axis(figure, "y", value, frame["value"])
    return figure


def equal_step(
    ranking: pd.DataFrame, value: Metric, *, selected: int | None = None, most: int = 24, height: int = 420
) -> go.Figure:
    """Trials compared at one step, best at the top: a dot each, `most` of them."""
    figure = marks.blank(height)
    rows = ranking.dropna(subset=["value"]).head(most)
    labels = [str(t) for t in rows["trial"]]
    paint = [
        theme.SELECTED if trial == selected else theme.ACCENT if rank <= 3 else theme.FAINT
        for trial, rank in zip(rows["trial"], rows["rank"], strict=True)
    ]
    marks.dots(
        figure,
        rows["value"],
        labels,
        name="ranked",
        mode="markers+text",
        text=[f"  {value.text(v)}" for v in rows["value"]],
        textposition="middle right",
        textfont={"size": 10, "color": theme.MUTED},
        cliponaxis=False,
        marker={"size": 9, "color": paint},
        customdata=[[int(t), -1] for t in rows["trial"]],
        hovertemplate=f"<b>trial %{{y}}</b><br>{marks.said(value, 'x')}<extra></extra>",
    )
    marks.axis(figure, "x", value, rows["value"], log=False)
    figure.update_layout(margin={"r": 64})
    figure.update_yaxes(
        type="category",
        range=[max(len(labels), 12) - 0.4, -0.6],
        tickmode="array",
        tickvals=labels,
        title={"text": "trial, best first", "standoff": 6},
    )
    return figure


def ladder(
    frame: pd.DataFrame,
    value: Metric,
    *,
    steps: Sequence[int] = (),
    selected: int | None = None,
    unit: str = "step",
    height: int = 380,
) -> go.Figure:
    """One bracket's ladder: a column of trials a rung, a line from rung to rung for each that went on.

    `steps` are the rungs that there are, reached or not; without it those of the frame.
    """
    below = {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 1, "xanchor": "right"}
    figure = marks.blank(height, legend=below)
    steps = sorted({int(s) for s in frame["step"]} | set(steps))
    placed = _placed(frame, steps)
    for trial, rows in placed.groupby("trial"):
        if len(rows) > 1:
            chosen = trial == selected
            stroke = {
                "color": theme.SELECTED if chosen else theme.tint(theme.FRONT, 0.28),
                "width": 2.2 if chosen else 1.1,
            }
            along = rows.sort_values("step")
            marks.dots(figure, along["place"], along["value"], name="path", marker={}, mode="lines", line=stroke)
    order = list(theme.STATUS)
    for state in sorted(set(placed["state"]), key=lambda s: order.index(s) if s in order else len(order)):
        rows = placed[placed["state"] == state]
        marks.dots(
            figure,
            rows["place"],
            rows["value"],
            name=state,
            showlegend=True,
            marker={"size": 8, "color": theme.colour(state), "line": {"color": theme.PAPER, "width": 1}},
            customdata=[[int(t), -1] for t in rows["trial"]],
            hovertemplate=f"<b>trial %{{customdata[0]}}</b> · {state}<br>{marks.said(value, 'y')}<extra></extra>",
        )
    if selected is not None:
        rows = placed[placed["trial"] == selected]
        marks.ring(figure, rows["place"], rows["value"], 14)
    reached = frame.groupby("step")["trial"].count()
    went_on = frame[frame["state"] == "promoted"].groupby("step")["trial"].count()
    ticks = [
        f"<b>{unit} {s}</b><br>{reached.get(s, 0)} {'trial' if reached.get(s) == 1 else 'trials'}"
        + (f" · {went_on.get(s, 0)} promoted" if s != steps[-1] else "")
        for s in steps
    ]
    marks.axis(figure, "y", value, frame["value"])
    figure.update_xaxes(
        tickmode="array",
        tickvals=list(range(len(steps))),
        ticktext=ticks,
        range=[-0.5, max(len(steps), 2) - 0.5],
        showgrid=False,
        ticks="",
        fixedrange=True,
    )
    for place in range(len(steps)):
        figure.add_vline(x=place, line={"color": theme.GRID, "width": 1}, layer="below")
    return figure


def sparkline(
    frame: pd.DataFrame, value: Metric, *, rungs: Sequence[int] = (), unit: str = "step", height: int = 190
) -> go.Figure:
    """One trial's learning curve, small, for the panel beside the front."""
    figure = marks.blank(height, margin={"l": 44, "r": 8, "t": 8, "b": 34})
    marks.dots(
        figure,
        frame["step"],
        marks.nulls(frame["value"]),
        name="curve",
        mode="lines+markers",
        line={"color": theme.SELECTED, "width": 2},
        marker={"size": 5},
        hovertemplate=f"{unit} %{{x}}<br>{marks.said(value, 'y')}<extra></extra>",
    )
    marks.guides(figure, rungs, max((int(s) for s in frame["step"]), default=1))
    marks.axis(figure, "x", Metric(unit, unit), frame["step"], log=False)
    marks.axis(figure, "y", Metric(value.name, value.label, value.unit), frame["value"], log=False)
    return figure


def _points(figure: go.Figure, shown: pd.DataFrame, x: Metric, y: Metric, shade: Metric | None) -> None:
    marker: dict[str, Any] = {"size": 12, "color": theme.FRONT, "line": {"color": theme.PAPER, "width": 1.5}}
    if shade is not None and shade.name in shown.columns and shown[shade.name].notna().any():
        marker |= marks.shade(shade, shown[shade.name])
    said = [m for m in (x, y, shade) if m is not None]
    marks.dots(
        figure,
        shown[x.name],
        shown[y.name],
        name="front",
        marker=marker,
        text=["<br>".join(_lines(row, said)) for _, row in shown.iterrows()],
        hovertemplate="%{text}<extra></extra>",
        customdata=[[int(t), int(p)] for t, p in zip(shown["trial"], shown["point"], strict=True)],
        selected={"marker": {"opacity": 1}},
        unselected={"marker": {"opacity": 0.85}},
    )


def _lines(row: pd.Series[Any], first: Sequence[Metric]) -> list[str]:
    """A point's hover label: its trial, the metrics of the axes, up to six more."""
    known = {m.name for m in first}
    rest = [c for c in row.index if c not in FRONT_COLUMNS and c not in known]
    return [
        f"<b>trial {int(row['trial'])} · point {int(row['point'])}</b>",
        *(f"{m.label} <b>{m.text(row[m.name])}</b>" for m in first),
        *(f"{name.replace('_', ' ')} {value_text(row[name])}" for name in rest[:6]),
    ]


def _plottable(frame: pd.DataFrame | None, x: Metric, y: Metric) -> pd.DataFrame:
    """The rows that have a finite number on both axes."""
    if frame is None or x.name not in frame.columns or y.name not in frame.columns:
        return pd.DataFrame(columns=list(dict.fromkeys(["trial", "point", x.name, y.name])))
    numeric = frame.copy()
    for name in {x.name, y.name}:
        numeric[name] = pd.to_numeric(numeric[name], errors="coerce").replace([math.inf, -math.inf], math.nan)
    return numeric.dropna(subset=[x.name, y.name])


def _placed(frame: pd.DataFrame, steps: Sequence[int]) -> pd.DataFrame:
    """The rows with a value, each with a `place` on the rung axis: a fixed sideways shift tells equal values apart."""
    rows = frame.dropna(subset=["value"]).sort_values(["step", "value", "trial"]).copy()
    within = rows.groupby("step").cumcount()
    rows["place"] = rows["step"].map({s: i for i, s in enumerate(steps)}).astype(float)
    rows["place"] += ((within * 0.618) % 1 - 0.5) * 0.32
    return rows
