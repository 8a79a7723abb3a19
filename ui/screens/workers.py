"""The worker slots that are alive: what each does, since when; and the studies that wait for one, and why."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from ui import pieces, session, theme
from ui.screens.guard import live
from ui.units import duration


def page() -> None:
    """Every live worker slot of the source."""
    live(_body)


def _body() -> None:
    found = session.client().workers()
    busy = sum(w["state"] == "busy" for w in found)
    st.html(
        f'<div class="sd-head"><h1>Workers</h1><span class="sd-note">{len(found)} '
        f"{'slot' if len(found) == 1 else 'slots'}, {busy} busy</span></div>"
    )
    if not found:
        where = session.here()
        why = (
            f"No worker has a heartbeat at {where.url}: `searchd worker --broker URL` starts one."
            if where.url
            else "Workers of a folder are seen while its daemon lives (`searchd run`, `searchd serve --local`); "
            "none is alive now. Ended studies keep what their workers did: see the log."
        )
        st.html(pieces.empty("No worker is alive", why))
        _waiting()
        return
    _table(found)
    _waiting()


def _table(found: Sequence[Mapping[str, Any]]) -> None:
    labelled = any(w.get("labels") for w in found)
    head = ["worker", "state", "for", "doing", *(["labels"] if labelled else []), "class", "device", "host", "pid"]
    rows = [
        (
            w["name"],
            w["state"],
            duration(time.time() - w["since"]) if w.get("since") else "–",
            w.get("doing") or w["job"] or "–",
            *([", ".join(f"{k}={v}" for k, v in sorted(w["labels"].items())) or "–"] if labelled else []),
            w["device_class"],
            w["device"],
            w["host"],
            w["pid"],
        )
        for w in sorted(found, key=lambda w: w["name"])
    ]
    st.html(pieces.table(head, rows))


def _waiting() -> None:
    """The studies that are under way: how many jobs each has, its weight, and why it has no more."""
    rows = [
        (s["name"], s["status"], f"{s.get('priority', 1):g}", s.get("device", ""), s["jobs"]["running"],
         s["jobs"]["queued"], s.get("waits") or "–")
        for s in session.client().studies()
        if s["status"] in (*theme.LIVE_STATES, "paused")
    ]  # fmt: skip
    if rows:
        st.html(pieces.sub("studies"))
        head = ("study", "state", "priority", "device", "jobs running", "jobs queued", "why no more")
        st.html(pieces.table(head, rows))
