"""The selected trial: its state, metrics, config, curve, operating points, files and jobs."""

from __future__ import annotations

import functools
import io
import tempfile
import zipfile
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from searchd.client import Client
from searchd.errors import NotFound
from ui import charts, frames, pieces, session
from ui.screens.views import Look
from ui.units import duration

SHOWN_CHARS = 20_000


def draw(look: Look) -> None:
    """The trial of `look.pick`, or what to do to see one."""
    if look.pick is None:
        _invite(look)
        return
    number, point = look.pick
    try:
        trial = look.client.trial(look.name, number)
    except NotFound as error:
        st.html(pieces.empty(f"No trial {number}", str(error), error=True))
        st.button("Clear", key="clear", on_click=session.deselect, args=(look.name,))
        return
    _head(trial, point, look)
    _metrics(trial, point, look)
    st.html(pieces.sub("config"))
    st.html(pieces.config(trial["config"]))
    _curve(trial, look)
    _files(trial, look)
    _jobs(trial, look)
    _output(trial, look)


def _invite(look: Look) -> None:
    """What to click, and the ends of the front as first picks."""
    how = "Click a point of the front, a curve, a mark on a rung or a row of a table."
    st.html(pieces.empty("Nothing selected", how))
    if look.points.empty:
        return
    st.html(pieces.sub("or begin with"))
    for of in look.objectives:
        if of.name not in look.points.columns:
            continue
        row = look.points.sort_values(of.name, ascending=of.goal != "maximize").iloc[0]
        st.button(
            f"best {of.label}: **{of.text(row[of.name])}** · trial {int(row['trial'])}",
            key=f"best:{of.name}",
            type="tertiary",
            icon=":material/arrow_forward:",
            on_click=functools.partial(session.select, look.name, int(row["trial"]), int(row["point"])),
        )


def _head(trial: Mapping[str, Any], point: int, look: Look) -> None:
    name = f"Trial {trial['trial']}" + (f" · point {point}" if point >= 0 else "")
    title, close = st.columns([9, 1])
    title.html(
        f'<div class="sd-head sd-small-head"><h1>{name}</h1>{pieces.badge(trial["status"])}'
        f'<span class="sd-note">{look.unit} {trial["step"]} · bracket {trial["bracket"]}'
        f" · {duration(trial['seconds'])}</span></div>"
    )
    forget = functools.partial(session.deselect, look.name)
    close.button("", icon=":material/close:", key="close", type="tertiary", on_click=forget)
    if trial.get("why"):
        st.html(f'<span class="sd-small">{escape(trial["why"])}</span>')
    if trial.get("parent"):
        st.html(f'<span class="sd-small">{escape(trial["parent"]["text"])}</span>')
    if trial.get("error"):
        st.html(f'<div class="sd-trace">{escape(trial["error"])}</div>')


def _metrics(trial: Mapping[str, Any], point: int, look: Look) -> None:
    """The point's own metrics: from the front where it stands on it, else from the trial's points."""
    on_front = look.points[(look.points["trial"] == trial["trial"]) & (look.points["point"] == point)]
    told = next((p for p in trial.get("points") or () if p.get("point") == point), None)
    if len(on_front):
        row = on_front.iloc[0]
        values = {n: row[n] for n in look.points.columns if n not in frames.FRONT_COLUMNS and not pd.isna(row[n])}
        verified = bool(row["verified"]) or bool((told or {}).get("verified"))
        note = "measured again, alone, from the exported file" if verified else "measured during the search"
        title = f"on the front · {note}"
    elif told is not None:
        values, title = dict(told["metrics"]), "this point"
    else:
        values, title = dict(trial.get("metrics") or {}), f"at its last report, {look.unit} {trial['step']}"
    st.html(pieces.sub(title))
    if values:
        st.html(pieces.measured(values, look.metrics))
    else:
        st.html('<span class="sd-small">It has not reported yet.</span>')


def _curve(trial: Mapping[str, Any], look: Look) -> None:
    of = look.objectives[0]
    rows = [
        {"trial": trial["trial"], "step": r["step"], "value": (r.get("metrics") or {}).get(of.name)}
        for r in trial.get("reports") or ()
    ]
    frame = frames.curves(rows)
    if frame["value"].notna().sum() > 1:
        st.html(pieces.sub(f"{of.title} by {look.unit}"))
        figure = charts.sparkline(frame, of, rungs=look.rung_steps, unit=look.unit)
        st.plotly_chart(figure, theme=None, key="spark", config={"displayModeBar": False})


def _files(trial: Mapping[str, Any], look: Look) -> None:
    files = trial.get("files") or ()
    names = [n for n in files if not Path(n).name.startswith(("ckpt-", "log-"))]
    checkpoints = sum(Path(n).name.startswith("ckpt-") for n in files)
    st.html(pieces.sub("artifacts"))
    if not names:
        kept = f" It keeps {_checkpoints(checkpoints)}." if checkpoints else ""
        st.html(f'<span class="sd-small">None: the points of the front are exported when the study ends.{kept}</span>')
        return
    more = [f"and {_checkpoints(checkpoints)}"] if checkpoints else []
    st.html('<div class="sd-files">' + "<br>".join(map(escape, [*sorted(names), *more])) + "</div>")
    st.download_button(
        "Download all",
        lambda: _zipped(look.client, look.name, trial["trial"]),
        file_name=f"{look.name}-trial{trial['trial']}.zip",
        mime="application/zip",
        icon=":material/download:",
        key="download",
        on_click="ignore",
    )


def _checkpoints(n: int) -> str:
    return f"{n} checkpoint{'' if n == 1 else 's'}"


def _zipped(client: Client, study: str, trial: int) -> bytes:
    """A trial's files as one zip archive."""
    held = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in client.download(study, trial, folder):
            archive.write(path, str(Path(path).relative_to(folder)))
    return held.getvalue()


def _jobs(trial: Mapping[str, Any], look: Look) -> None:
    jobs = trial.get("jobs") or ()
    if not jobs:
        return
    st.html(pieces.sub("jobs"))
    rows = [
        (
            j.get("kind", ""),
            f"{j.get('since', 0)} → {j.get('until', 0)}" if j.get("kind") == "train" else "–",
            j.get("attempt", 1),
            j.get("status", ""),
            j.get("worker") or "–",
        )
        for j in jobs
    ]
    st.html(pieces.table(("kind", f"{look.unit}s", "attempt", "state", "worker"), rows))


def _output(trial: Mapping[str, Any], look: Look) -> None:
    """What its jobs printed, attempt by attempt, read when it is asked for."""
    if not trial.get("jobs") or not st.toggle("Output of its jobs", key="output", persist_state="session"):
        return
    for part in look.client.logs(look.name, trial["trial"]):
        how = " · ".join(filter(None, (part["status"], part["reason"], part["worker"])))
        st.html(pieces.sub(f"{part['job'].rsplit('-', 1)[-1]}, attempt {part['attempt']}: {how}"))
        if part["output"]:
            st.html(f'<div class="sd-trace sd-output">{escape(part["output"][-SHOWN_CHARS:])}</div>')
        else:
            st.html('<span class="sd-small">Nothing that it printed is kept here.</span>')
        if part["error"] and part["error"] != trial.get("error"):  # that one is at the top
            st.html(f'<div class="sd-trace">{escape(part["error"])}</div>')
