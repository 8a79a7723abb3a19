"""The worker slots that are alive: device, state, job."""

from __future__ import annotations

import time

import pandas as pd
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
        return
    frame = pd.DataFrame(
        [
            {
                "worker": w["name"],
                "state": w["state"],
                "job": w["job"] or "",
                "for": duration(time.time() - w["since"]) if w["since"] else "–",
                "class": w["device_class"],
                "device": w["device"],
                "host": w["host"],
                "pid": w["pid"],
                "child": w["child_pid"] or "",
                "functions": ", ".join(w["functions"]),
            }
            for w in sorted(found, key=lambda w: w["name"])
        ]
    )
    paint = {"busy": theme.STATUS["running"], "idle": theme.STATUS["done"]}
    styled = frame.style.map(lambda s: f"color: {paint.get(s, theme.MUTED)}; font-weight: 600", subset=["state"])
    st.dataframe(styled, hide_index=True, width="stretch")
