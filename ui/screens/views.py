"""What the tabs of a study show: each draws from a `Look` and writes nothing but the selection."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

import pandas as pd
import streamlit as st

from searchd.client import Client
from ui import charts, frames, pieces, session, theme
from ui.parallel import parallel
from ui.units import Metric
from ui.wording import config_line, why_no_front

T = TypeVar("T")

CHART: dict[str, Any] = {"displaylogo": False, "modeBarButtonsToRemove": ["select2d", "lasso2d", "autoScale2d"]}


@dataclass(frozen=True, slots=True)
class Look:
    """One look at a study: the answers of this moment, and what is selected."""

    name: str
    client: Client
    summary: Mapping[str, Any]
    metrics: Mapping[str, Metric]
    points: pd.DataFrame
    trials: pd.DataFrame
    pick: charts.Pick | None

    @property
    def objectives(self) -> list[Metric]:
        return [self.metrics[o["name"]] for o in self.summary["objectives"]]

    @property
    def unit(self) -> str:
        return str(self.summary.get("unit") or "step")

    @property
    def rung_steps(self) -> list[int]:
        return sorted({int(s) for ladder in self.summary.get("ladders") or () for s in ladder})

    @property
    def trial(self) -> int | None:
        return self.pick[0] if self.pick else None


def front(look: Look) -> None:
    """The front over two metrics of choice, and its points as a table."""
    if look.points.empty:
        st.html(pieces.empty(*why_no_front(look.summary)))
        if not len(look.trials):
            return
    names = [n for n in look.metrics if n in look.points.columns or n in look.trials.columns] or list(look.metrics)
    goals = [o.name for o in look.objectives]
    y0 = goals[0]
    x0 = goals[1] if len(goals) > 1 else next((n for n in names if n != y0), y0)
    z0 = goals[2] if len(goals) > 2 else "–"
    title = {n: look.metrics[n].title for n in look.metrics} | {"–": "one colour"}
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        x = _choice("Across", names, x0, title.__getitem__, look)
        y = _choice("Up", names, y0, title.__getitem__, look)
        shade = _choice("Colour", ["–", *names], z0, title.__getitem__, look)
        others = st.toggle("Trials off the front", value=True, key="others", persist_state="session")
    verified = bool(len(look.points)) and bool(look.points["verified"].all())
    siblings = _siblings(look)
    figure = charts.front(
        look.points,
        look.metrics[x],
        look.metrics[y],
        shade=look.metrics.get(shade),
        trials=look.trials if others else None,
        siblings=siblings,
        selected=look.pick,
    )
    _chart(figure, "front", look)
    if look.points.empty:
        return
    if look.points["violation"].gt(0).all():
        st.warning("No point keeps every bound yet: these break them the least.", icon=":material/rule:")
    how = ", measured again at the end, alone, from the exported files" if verified else ""
    st.caption(
        f"{len(look.points)} points that no other beats in every objective{how}. "
        "The line is what they attain in these two metrics."
    )
    _front_table(look)


def curves(look: Look) -> None:
    """Learning curves, and the trials compared at one step."""
    names = [o.name for o in look.objectives] + [
        n for n in look.metrics if n in look.trials.columns and not look.metrics[n].goal
    ]
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        chosen = _choice("Metric", names, names[0], lambda n: look.metrics[n].title, look)
        value = look.metrics[chosen]
        frame = frames.curves(look.client.curves(look.name, chosen))
        steps = sorted({int(s) for s in frame["step"]})
        rungs = [s for s in look.rung_steps if s in steps]
        offered = rungs or steps
        step = None
        if offered:
            counts = frame.groupby("step")["trial"].nunique()
            deepest = frames.compare_step(frame, rungs) or offered[0]
            step = _choice(
                f"Compare at {look.unit}", offered, deepest, lambda s: f"{s}  ({counts[s]} trials)", look
            )
    if frame.empty or frame["value"].isna().all():
        st.html(pieces.empty("No curve", f"No trial has reported {value.label} yet; reports come once a {look.unit}."))
        return
    status = {int(t): str(s) for t, s in zip(look.trials["trial"], look.trials["status"], strict=True)}
    wide, narrow = st.columns([2.1, 1])
    with wide:
        figure = charts.curves(
            frame,
            value,
            status=status,
            rungs=look.rung_steps,
            step=step,
            selected=look.trial,
            unit=look.unit,
            height=500,
        )
        _chart(figure, "curves", look)
    with narrow:
        ranking = frames.at_step(frame, step or 0, value.goal)
        _chart(charts.equal_step(ranking, value, selected=look.trial, height=500), "equal", look)
    st.caption(
        f"Trials are compared at equal {look.unit}: {len(ranking)} reported {look.unit} {step}. "
        "Blue: the best three there. Dotted: rungs. A curve's colour is its trial's state."
    )


def rungs(look: Look) -> None:
    """The ladder of each bracket."""
    answer = look.client.rungs(look.name)
    frame = frames.rungs(answer)
    if frame.empty:
        first = look.rung_steps[0] if look.rung_steps else 1
        why = f"The first rung is {look.unit} {first}; no trial has reported it yet."
        st.html(pieces.empty("No rung is reached", why))
        return
    value = look.objectives[0]
    brackets = sorted({int(b) for b in frame["bracket"]})
    for bracket in brackets:
        rows = frame[frame["bracket"] == bracket]
        steps = sorted({int(a["step"]) for a in answer if a["bracket"] == bracket})
        ladder = " → ".join(map(str, steps))
        trials = rows["trial"].nunique()
        st.html(pieces.sub(f"bracket {bracket}: {look.unit}s {ladder}, {trials} trial{'s' if trials != 1 else ''}"))
        height = 420 if len(brackets) == 1 else 330
        figure = charts.ladder(rows, value, steps=steps, selected=look.trial, unit=look.unit, height=height)
        _chart(figure, f"ladder{bracket}", look)
    if len(look.objectives) > 1:
        st.caption(
            f"Drawn by {value.label}. With several objectives a trial is ranked by its best point over all of them, "
            "so a trial may go on that is not the lowest here."
        )


def parameters(look: Look) -> None:
    """Parallel coordinates of parameters and objectives."""
    told = frames.parameters(look.client.trials(look.name))
    shown = [o for o in look.objectives if o.name in look.trials.columns]
    figure = parallel(told, look.trials, shown)
    if not figure.data:
        st.html(pieces.empty("Nothing to compare yet", "A trial appears here once it has reported every objective."))
        return
    st.plotly_chart(figure, theme=None, key="parallel", config=CHART)
    st.caption(
        "A line a trial, at its last report. Drag along an axis to keep a range, drag a name to move its axis. "
        "– stands for a parameter that the trial does not have."
    )


def trials(look: Look) -> None:
    """Every trial as a table; a row selects it."""
    if look.trials.empty:
        st.html(pieces.empty(*why_no_front(look.summary)))
        return
    states = [s for s in theme.TRIAL_STATES if (look.trials["status"] == s).any()]
    chosen = st.pills("State", states, selection_mode="multi", key="states", label_visibility="collapsed")
    rows = look.trials[look.trials["status"].isin(chosen)] if chosen else look.trials
    rows = rows.sort_values("trial", ascending=False)
    names = [o.name for o in look.objectives if o.name in rows.columns]
    table = rows[["trial", "status", "step", "bracket", *names]].copy()
    table["why"] = [e.strip().splitlines()[-1] if e else r for e, r in zip(rows["error"], rows["reason"], strict=True)]
    table["config"] = [config_line(c) for c in rows["config"]]
    styled = table.style.map(lambda s: f"color: {theme.colour(s)}; font-weight: 600", subset=["status"])
    picks = [(int(t), -1) for t in rows["trial"]]
    st.dataframe(
        styled,
        hide_index=True,
        height=560,
        key="trials",
        placeholder="–",
        selection_mode="single-row",
        on_select=functools.partial(session.row_clicked, "trials", look.name, picks),
        column_config=_columns(look, names),
    )


def log(look: Look) -> None:
    """The decision log, newest first; what was read before is not read again."""
    kept: list[dict[str, Any]] = st.session_state.setdefault(f"log:{look.summary['id']}", [])
    while more := look.client.log(look.name, kept[-1]["seq"] if kept else 0):
        kept += more
    frame = frames.log(kept)
    if frame.empty:
        st.html(pieces.empty("The log is empty", "Decisions appear here as soon as the study is taken up."))
        return
    kinds = sorted(set(frame["kind"]))
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        chosen = st.pills("Kind", kinds, selection_mode="multi", key="kinds")
        hint = "rank 3, promoted, lost …"
        words = st.text_input("Search", placeholder=hint, key="words", width=220, persist_state="session")
        only = st.toggle("Selected trial only", key="only", disabled=look.trial is None)
    rows = frame[frame["kind"].isin(chosen)] if chosen else frame
    if words:
        rows = rows[rows["text"].str.contains(words, case=False, regex=False, na=False)]
    if only and look.trial is not None:
        rows = rows[rows["trial"] == look.trial]
    if rows.empty:
        st.html(pieces.empty("Nothing matches", f"{len(frame)} events are hidden by the filters above."))
        return
    picks = [(-1 if pd.isna(t) else int(t), -1) for t in rows["trial"]]
    st.dataframe(
        rows.assign(at=rows["at"].dt.tz_convert(datetime.now(UTC).astimezone().tzinfo))[frames.LOG_COLUMNS],
        hide_index=True,
        height=560,
        key="log",
        placeholder="",
        selection_mode="single-row",
        on_select=functools.partial(session.row_clicked, "log", look.name, picks),
        column_config={
            "seq": st.column_config.NumberColumn("seq", width=60),
            "at": st.column_config.DatetimeColumn("time", format="HH:mm:ss", width=80),
            "kind": st.column_config.TextColumn("kind", width=90),
            "trial": st.column_config.NumberColumn("trial", width=60),
            "text": st.column_config.TextColumn("decision", width="large"),
        },
    )
    st.caption(f"{len(rows)} of {len(frame)} events, newest first.")


def _choice(label: str, options: Sequence[T], first: T, say: Callable[[T], str], look: Look) -> T:
    """A choice that outlives a switch of tabs, one a study; what is offered no more falls back to `first`."""
    key = f"{look.name}:{label}"
    if st.session_state.get(key, first) not in options:
        del st.session_state[key]
    chosen: T = st.selectbox(
        label, options, options.index(first), format_func=say, key=key, width=200, persist_state="session"
    )
    return chosen


def _chart(figure: Any, key: str, look: Look) -> None:
    """A chart whose marks select a trial."""
    st.plotly_chart(
        figure,
        theme=None,
        key=key,
        config=CHART,
        selection_mode="points",
        on_select=functools.partial(session.clicked, key, look.name),
    )


def _front_table(look: Look) -> None:
    names = [o.name for o in look.objectives]
    more = ("test_accuracy", "test_error", "predicted_latency_ms", "latency_p95_ms")
    names += [n for n in more if n in look.points.columns and n not in names]
    table = look.points[["trial", "point", "step", *names]].copy()
    table["config"] = [config_line(c) for c in look.points["config"]]
    picks = [(int(t), int(p)) for t, p in zip(table["trial"], table["point"], strict=True)]
    st.dataframe(
        table,
        hide_index=True,
        key="points",
        placeholder="–",
        height=min(38 + 35 * len(table), 390),
        selection_mode="single-row",
        on_select=functools.partial(session.row_clicked, "points", look.name, picks),
        column_config=_columns(look, names),
    )


def _columns(look: Look, names: list[str]) -> dict[str, Any]:
    config: dict[str, Any] = {
        "trial": st.column_config.NumberColumn("trial", width=52),
        "point": st.column_config.NumberColumn("point", width=52),
        "step": st.column_config.NumberColumn(look.unit, width=56),
        "bracket": st.column_config.NumberColumn("bracket", width=64),
        "status": st.column_config.TextColumn("state", width=76),
        "config": st.column_config.TextColumn("config", width="large"),
        "why": st.column_config.TextColumn("why", width="medium"),
    }
    for name in names:
        of = look.metrics[name]
        shape = "compact" if of.counted else "%.4g"
        config[name] = st.column_config.NumberColumn(of.title, format=shape, help=of.direction or None)
    return config


def _siblings(look: Look) -> pd.DataFrame | None:
    """The other operating points of the selected trial."""
    if look.trial is None or not (look.trials["trial"] == look.trial).any():
        return None
    told = look.client.trial(look.name, look.trial).get("points") or []
    rows = [{"trial": look.trial, "step": p.get("step", 0), "config": {}} | dict(p) for p in told]
    frame = frames.front(rows)
    return frame if len(frame) > 1 else None
