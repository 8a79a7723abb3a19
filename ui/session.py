"""Where the page reads from, and what the person has selected: arguments, environment, session state."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st

from searchd.client import Client
from ui.charts import Pick

LIVE_S = 2.0
"""Seconds between two looks at a study that is running."""


@dataclass(frozen=True, slots=True)
class Source:
    """A daemon by URL, or else a folder of this machine."""

    url: str | None
    root: str

    def __str__(self) -> str:
        return self.url or str(Path(self.root).resolve())


def source(argv: Sequence[str], environ: Mapping[str, str]) -> Source:
    """`-- --url URL` or `-- --root FOLDER`, else SEARCHD_URL, else SEARCHD_ROOT, else `out`. Tokens: the client."""
    parser = argparse.ArgumentParser("ui/app.py", allow_abbrev=False)
    parser.add_argument("--url")
    parser.add_argument("--root")
    given, _ = parser.parse_known_args(list(argv))
    url = given.url or (None if given.root else environ.get("SEARCHD_URL") or None)
    return Source(url, given.root or environ.get("SEARCHD_ROOT") or "out")


def here() -> Source:
    """The source of this process."""
    import sys

    return source(sys.argv[1:], os.environ)


@st.cache_resource(show_spinner=False, max_entries=2)
def _client(where: Source, token_of: float) -> Client:  # noqa: ARG001
    return Client(where.url) if where.url else Client(root=where.root)


def client() -> Client:
    """The one client of this page; another once the file of its token was written anew."""
    try:
        token_of = os.stat(os.environ["SEARCHD_TOKEN_FILE"]).st_mtime
    except (KeyError, OSError):
        token_of = 0.0
    return _client(here(), token_of)


def study(known: Sequence[Mapping[str, Any]]) -> str | None:
    """The study in the address bar, else the last one looked at, else the newest that runs, else the newest."""
    asked = st.query_params.get("study") or st.session_state.get("study")
    names = {s["id"] for s in known} | {s["name"] for s in known}
    if asked in names:
        found: str | None = asked
    else:
        running = [s["name"] for s in known if s["status"] in ("running", "verifying")]
        found = next(iter(running or [s["name"] for s in known]), None)
    if found is not None and st.query_params.get("study") != found:
        st.query_params["study"] = found
    if found != st.session_state.get("study"):
        st.session_state["study"] = found
    return found


def pick(study_name: str) -> Pick | None:
    """The selected trial and point of a study; taken from the address bar at the first look."""
    kept = st.session_state.setdefault("picks", {})
    if study_name not in kept:
        trial, point = st.query_params.get("trial", ""), st.query_params.get("point", "-1")
        kept[study_name] = (int(trial), int(point)) if trial.isdigit() and point.lstrip("-").isdigit() else None
    found: Pick | None = kept[study_name]
    return found


def select(study_name: str, trial: int, point: int = -1) -> None:
    """Select a trial (and one of its points) for this session, and write it into the address bar."""
    st.session_state.setdefault("picks", {})[study_name] = (trial, point)
    st.query_params["trial"] = str(trial)
    st.query_params["point"] = str(point)


def deselect(study_name: str) -> None:
    """Select nothing."""
    st.session_state.setdefault("picks", {})[study_name] = None
    for name in ("trial", "point"):
        if name in st.query_params:
            del st.query_params[name]


def clicked(key: str, study_name: str) -> None:
    """The callback of a chart: select what was clicked."""
    marked = [p for p in st.session_state[key]["selection"]["points"] if p.get("customdata")]
    if marked:
        trial, point = list(marked[-1]["customdata"])[:2]
        select(study_name, int(trial), int(point))


def row_clicked(key: str, study_name: str, rows: Sequence[Pick]) -> None:
    """The callback of a table: select the row's trial and point; a row without a trial (-1) selects nothing."""
    chosen = st.session_state[key]["selection"]["rows"]
    if chosen and rows[chosen[0]][0] >= 0:
        select(study_name, *rows[chosen[0]])
