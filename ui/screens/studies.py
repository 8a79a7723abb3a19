"""The list of studies: state, progress, front and best values of each."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any

import streamlit as st

from ui import frames, pieces, session, theme
from ui.screens.guard import live
from ui.units import duration, number

STYLE = Path(__file__).resolve().parents[1] / "page.css"
WIDTHS = [2.6, 1.1, 2.2, 0.8, 3.4, 1.6]


def page() -> None:
    """All studies of the source, newest first."""
    live(_body)


def _body() -> None:
    where = session.here()
    answer = session.client().studies()
    running = sum(s["status"] in theme.LIVE_STATES for s in answer)
    st.html(
        f'<div class="sd-head"><h1>Studies</h1><span class="sd-note">{len(answer)} in {escape(str(where))}'
        f"{f' · {running} under way' if running else ''}</span></div>"
    )
    if not answer:
        hint = (
            "This daemon has no study: `searchd submit FILE` gives it one."
            if where.url
            else f"No study below {where}: `searchd run examples/digits.yaml` makes the first one. "
            "To look elsewhere: `searchd ui --root FOLDER` or SEARCHD_URL."
        )
        st.html(pieces.empty("No study here", hint))
        return
    with st.container(key="studies", border=False, gap="small"):
        heads = st.columns(WIDTHS, vertical_alignment="bottom")
        for column, title in zip(heads, ("study", "state", "trials", "front", "best so far", "time"), strict=True):
            column.html(f'<span class="sd-colhead">{title}</span>')
        for summary in answer:
            _row(summary)


def _row(summary: Mapping[str, Any]) -> None:
    cells = st.container(key=f"row-{summary['id']}").columns(WIDTHS, vertical_alignment="center")
    metrics = frames.metrics(summary)
    with cells[0]:
        st.page_link(
            st.session_state["pages"]["study"], label=f"**{summary['name']}**", query_params={"study": summary["name"]}
        )
        how = f"{summary['scheduler']} × {summary['searcher']}"
        st.html(f'<span class="sd-small">{escape(how)}</span>')
    cells[1].html(pieces.badge(summary["status"], summary["status"] in ("running", "verifying")))
    counts, most = summary["trials"], (summary.get("budget") or {}).get("trials")
    parts = ", ".join(f"{counts[s]} {s}" for s in theme.TRIAL_STATES if counts.get(s))
    cells[2].html(
        f"<b>{counts['total']}{f' / {most}' if most else ''}</b> "
        f'<span class="sd-small">{parts or "none yet"}</span>{pieces.state_bar(counts, most)}'
    )
    cells[3].html(f'<b>{summary["front"]}</b><br><span class="sd-small">points</span>')
    best = " &nbsp; ".join(
        f'<span class="sd-small">{escape(metrics[n].label)}</span> <b>{escape(metrics[n].text(v))}</b>'
        for n, v in (summary.get("best") or {}).items()
        if n in metrics and v is not None
    )
    volume = summary.get("hypervolume")
    cells[4].html(
        (best or '<span class="sd-small">no point yet</span>')
        + ("" if volume is None else f'<br><span class="sd-small">hypervolume {number(volume)}</span>')
    )
    started = datetime.fromtimestamp(summary["created"], UTC).astimezone().strftime("%d %b, %H:%M")
    left = summary.get("time_left_s") if summary["status"] in theme.LIVE_STATES else None
    cells[5].html(
        f"<b>{duration(summary['seconds'])}</b>"
        f"{'' if left is None else f' · {duration(left)} left'}<br><span class='sd-small'>{started}</span>"
    )
