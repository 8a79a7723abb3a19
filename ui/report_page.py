"""The report as one self-contained HTML page: plotly.js inside, data inside, nothing fetched."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import yaml
from plotly.offline import get_plotlyjs

from ui import charts, frames, pieces, theme
from ui.parallel import parallel
from ui.units import Metric
from ui.wording import config_line, notes, why_no_front

HERE = Path(__file__).parent
AXES = 5
"""At most this many metrics are offered as axes of the front, objectives first."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What a client answered about one study."""

    summary: Mapping[str, Any]
    spec: Mapping[str, Any]
    front: Sequence[Mapping[str, Any]]
    trials: Sequence[Mapping[str, Any]]
    curves: Sequence[Mapping[str, Any]]
    rungs: Sequence[Mapping[str, Any]]


def page(told: Answers, now: float) -> str:
    """The whole page as HTML; `now` in Unix seconds is printed as the time of writing."""
    points, trials = frames.front(told.front), frames.trials(told.trials)
    metrics = frames.metrics(told.summary, points, trials)
    objectives = [metrics[o["name"]] for o in told.summary["objectives"]]
    unit = str(told.summary.get("unit") or "step")
    fronts, axes = _fronts(points, trials, metrics, objectives)
    figures = _figures(told, trials, objectives, unit)
    data = {
        "fronts": {k: _plain(f) for k, f in fronts.items()},
        "figures": {k: _plain(f) for k, (f, _, _) in figures.items()},
        "details": _details(told, points, metrics),
        "selected": theme.SELECTED,
    }
    sections = [_front_section(told, points, metrics, objectives, axes)]
    sections += [
        f'<section><h2>{escape(title)}</h2><p class="why">{escape(why)}</p><div id="{key}"></div></section>'
        for key, (_, title, why) in figures.items()
    ]
    sections.append(_spec_section(told.spec))
    name = escape(told.summary["name"])
    written = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d %H:%M UTC")
    style = (HERE / "page.css").read_text() + (HERE / "report.css").read_text()
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{name} · searchd report</title><style>{style}</style></head><body><main>
{_head(told.summary)}
{pieces.strip(pieces.tiles(told.summary, metrics))}
{"".join(sections)}
<footer>Written by searchd on {written}. This file needs no network.</footer></main>
<script type="application/json" id="data">{_safe(json.dumps(data, allow_nan=False))}</script>
<script>{get_plotlyjs()}</script><script>{(HERE / "report.js").read_text()}</script></body></html>
"""


def _head(summary: Mapping[str, Any]) -> str:
    started = datetime.fromtimestamp(summary["created"], UTC).strftime("%Y-%m-%d %H:%M UTC")
    reason = f" · {said}" if (said := notes(summary)) else ""
    return (
        f'<div class="sd-head"><h1>{escape(summary["name"])}</h1>{pieces.badge(summary["status"])}'
        f'<span class="sd-note">{escape(summary["scheduler"])} × {escape(summary["searcher"])} · begun {started}'
        f"{escape(reason)}</span></div>"
    )


def _fronts(
    points: pd.DataFrame, trials: pd.DataFrame, metrics: Mapping[str, Metric], objectives: Sequence[Metric]
) -> tuple[dict[str, go.Figure], list[Metric]]:
    """A figure for each ordered pair of axes, and the axes on offer."""
    if points.empty:
        return {}, []
    better = ("test_error", "test_accuracy", "latency_p95_ms")
    extra = [metrics[n] for n in better if n in metrics and n in points.columns and not metrics[n].goal]
    axes = [*objectives, *extra][: max(AXES, len(objectives))]
    axes = [a for a in axes if a.name in points.columns]
    found = {}
    for x in axes:
        for y in axes:
            if x.name != y.name or len(axes) == 1:
                shade = next((o for o in objectives if o.name not in (x.name, y.name)), None)
                figure = charts.front(points, x, y, shade=shade, trials=trials, height=470)
                found[f"{x.name}|{y.name}"] = figure
    return found, axes


def _figures(
    told: Answers, trials: pd.DataFrame, objectives: Sequence[Metric], unit: str
) -> dict[str, tuple[go.Figure, str, str]]:
    """The other figures by their element's id, each with a title and a line on how to read it."""
    first = objectives[0]
    found: dict[str, tuple[go.Figure, str, str]] = {}
    shown = [o for o in objectives if o.name in trials.columns]
    told_parameters = frames.parameters(told.trials)
    across = parallel(told_parameters, trials, shown)
    if across.data:
        why = "A line a trial, dark is best. Drag along an axis to keep a range; – is a parameter that a trial lacks."
        found["parallel"] = (across, "Parameters and objectives", why)
    curve = frames.curves(told.curves)
    if curve["value"].notna().any():
        ladders = sorted({int(s) for ladder in told.summary.get("ladders") or () for s in ladder})
        status = {int(t): str(s) for t, s in zip(trials["trial"], trials["status"], strict=True)}
        step = frames.compare_step(curve, ladders)
        figure = charts.curves(curve, first, status=status, rungs=ladders, step=step, unit=unit)
        why = f"{first.title} by {unit}; dotted lines are rungs. Blue: the best three at {unit} {step}."
        found["curves"] = (figure, "Learning curves", why)
    rungs = frames.rungs(told.rungs)
    for bracket in sorted({int(b) for b in rungs["bracket"]}):
        rows = rungs[rungs["bracket"] == bracket]
        steps = [int(a["step"]) for a in told.rungs if a["bracket"] == bracket]
        figure = charts.ladder(rows, first, steps=steps, unit=unit)
        found[f"ladder{bracket}"] = (figure, f"Rungs of bracket {bracket}", "Who was compared where, and who went on.")
    return found


def _details(told: Answers, points: pd.DataFrame, metrics: Mapping[str, Metric]) -> dict[str, str]:
    """The panel of each front point and of each trial, as HTML, by `trial|point`."""
    unit = str(told.summary.get("unit") or "step")
    found = {}
    for a in told.trials:
        head = f'<div class="sd-head sd-small-head"><h1>Trial {a["trial"]}</h1>{pieces.badge(a["status"])}</div>'
        trace = f'<div class="sd-trace">{escape(a["error"])}</div>' if a.get("error") else ""
        trace += f'<span class="sd-small">{escape(a["parent"]["text"])}</span>' if a.get("parent") else ""
        body = pieces.sub(f"last report, {unit} {a['step']}") + pieces.measured(a.get("metrics") or {}, metrics)
        found[f"{a['trial']}|-1"] = head + trace + body + pieces.sub("config") + pieces.config(a["config"])
    for row, a in zip(points.to_dict("records"), told.front, strict=True):
        note = "measured again, alone, from the exported file" if row["verified"] else "measured during the search"
        found[f"{row['trial']}|{row['point']}"] = (
            f'<div class="sd-head sd-small-head"><h1>Trial {row["trial"]} · point {row["point"]}</h1>'
            f'<span class="sd-note">{unit} {row["step"]}</span></div>'
            + (f'<span class="sd-small">{escape(a["parent"]["text"])}</span>' if a.get("parent") else "")
            + pieces.sub(note)
            + pieces.measured(a["metrics"], metrics)
            + pieces.sub("config")
            + pieces.config(a["config"])
        )
    return found


def _front_section(
    told: Answers,
    points: pd.DataFrame,
    metrics: Mapping[str, Metric],
    objectives: Sequence[Metric],
    axes: Sequence[Metric],
) -> str:
    if points.empty:
        return f"<section><h2>The front</h2>{pieces.empty(*why_no_front(told.summary))}</section>"
    x = axes[min(1, len(axes) - 1)].name
    y = axes[0].name

    def options(chosen: str) -> str:
        return "".join(
            f'<option value="{escape(a.name)}"{" selected" if a.name == chosen else ""}>{escape(a.title)}</option>'
            for a in axes
        )

    count = "1 point" if len(points) == 1 else f"{len(points)} points"
    verified = bool(points["verified"].all())
    how = "measured again at the end, alone, from the exported files" if verified else "as measured during the search"
    if points["violation"].gt(0).all():
        how += "; none keeps every bound, these break them the least"
    return (
        f'<section><h2>The front: {count}</h2><p class="why">None is beaten in every objective; {how}. '
        "Click a point or a row.</p>"
        f'<div class="controls"><label>across <select id="axis-x">{options(x)}</select></label>'
        f'<label>up <select id="axis-y">{options(y)}</select></label></div>'
        '<div class="split"><div id="front"></div><div id="detail">'
        f"{pieces.empty('Nothing selected', 'Click a point to see its config and numbers.')}</div></div>"
        f'<div class="scroll" id="front-table">{_table(points, metrics, objectives)}</div></section>'
    )


def _table(points: pd.DataFrame, metrics: Mapping[str, Metric], objectives: Sequence[Metric]) -> str:
    names = [o.name for o in objectives if o.name in points.columns]
    more = ("test_error", "test_accuracy", "predicted_latency_ms", "latency_p95_ms")
    names += [n for n in more if n in points.columns and n not in names]
    titles = ["trial", "point", "step", *(metrics[n].label for n in names), "config"]
    head = "".join(f"<th>{escape(t)}</th>" for t in titles)
    rows = "".join(
        f'<tr data-pick="{int(r["trial"])}|{int(r["point"])}"><td><b>{int(r["trial"])}</b></td>'
        f"<td>{int(r['point'])}</td><td>{int(r['step'])}</td>"
        + "".join(f"<td style='white-space:nowrap'>{escape(metrics[n].text(r[n]))}</td>" for n in names)
        + f'<td class="sd-small">{escape(config_line(r["config"]))}</td></tr>'
        for r in points.to_dict("records")
    )
    return f'<table class="sd-table"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'


def _spec_section(spec: Mapping[str, Any]) -> str:
    text = yaml.safe_dump(dict(spec), sort_keys=False, allow_unicode=True, width=100)
    return f"<section><details><summary>The study file</summary><pre>{escape(text)}</pre></details></section>"


def _plain(figure: go.Figure) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(figure.to_json())
    return loaded


def _safe(text: str) -> str:
    """JSON that cannot end the script element that holds it."""
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
