"""One study: its front, curves, rungs, log and trials on the left, the selected trial on the right."""

from __future__ import annotations

import time
from collections.abc import Mapping
from html import escape
from typing import Any

import streamlit as st

from searchd.errors import SearchdError
from ui import frames, pieces, session, theme
from ui.screens import panel, views
from ui.screens.guard import live
from ui.screens.views import Look
from ui.wording import notes

VIEWS = {
    "Front": views.front,
    "Learning curves": views.curves,
    "Rungs": views.rungs,
    "Parameters": views.parameters,
    "Trials": views.trials,
    "Decision log": views.log,
}


def page() -> None:
    """The study in the address bar; it looks again by itself while the study may change."""
    try:
        known = session.client().studies()
    except SearchdError:
        live(_retry)
        return
    name = session.study(known)
    if name is None:
        st.html(pieces.empty("No study to show", "There is no study here yet: `searchd run FILE` makes one."))
        return
    status = next(s["status"] for s in known if name in (s["name"], s["id"]))
    going = status in theme.LIVE_STATES
    live(lambda: _body(name, status), session.LIVE_S if going and st.session_state.get("follow", True) else None)


def _retry() -> None:
    """Look again until there is an answer."""
    session.client().studies()
    st.rerun()


def _body(name: str, status_then: str) -> None:
    client = session.client()
    summary = client.show(name)
    going = summary["status"] in theme.LIVE_STATES
    if going != (status_then in theme.LIVE_STATES):
        st.rerun()
    table = frames.trials(client.trials(name))
    points = frames.front(client.front(name))
    metrics = frames.metrics(summary, points, table)
    look = Look(name, client, summary, metrics, points, table, session.pick(name))
    _head(summary, going)
    st.html(pieces.strip(pieces.tiles(summary, metrics)))
    left, right = st.columns([2.35, 1], gap="medium")
    with left:
        tabs = st.tabs(list(VIEWS), key="view", on_change="rerun")
        for tab, draw in zip(tabs, VIEWS.values(), strict=True):
            if tab.open:
                with tab:
                    draw(look)
    with right, st.container(key="panel"):
        panel.draw(look)


def _head(summary: Mapping[str, Any], going: bool) -> None:
    budget = summary.get("budget") or {}
    limits = [f"{budget[k]:g} {k}" for k in ("trials", "steps", "hours") if budget.get(k)]
    follow = going and st.session_state.get("follow", True)
    now = time.strftime("%H:%M:%S")
    state = now if follow else f"as of {now}" if going else "ended"
    paint = theme.STATUS["done"] if follow else theme.FAINT
    reason = f'<span class="sd-note">{escape(said)}</span>' if (said := notes(summary)) else ""
    title, toggle = st.columns([14, 1], vertical_alignment="center") if going else (st.container(), None)
    title.html(
        f'<div class="sd-head"><h1>{escape(summary["name"])}</h1>'
        f"{pieces.badge(summary['status'], summary['status'] in ('running', 'verifying'))}"
        f'<span class="sd-note">{escape(summary["scheduler"])} × {escape(summary["searcher"])}'
        f"{' · budget ' + ', '.join(limits) if limits else ''}</span>{reason}"
        f'<span class="sd-right"><span class="sd-dot{" sd-live" if follow else ""}" style="background:{paint}"></span>'
        f"{state}</span></div>"
    )
    if toggle is not None:
        toggle.toggle("Live", value=True, key="follow", help="Off: nothing moves until you switch it on again.")
