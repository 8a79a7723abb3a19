"""Errors and live updates of a page: a message instead of a stack trace, a fragment that looks again by itself."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from searchd.errors import NotFound, SearchdError, Unreachable
from ui import pieces, session


def live(body: Callable[[], None], every_s: float | None = session.LIVE_S) -> None:
    """Run `body` as a fragment, again every `every_s` seconds (None: only when something is clicked).

    A user error is shown in its place; the next look tries again, so a daemon that comes back is seen.
    """

    def guarded() -> None:
        try:
            body()
        except Unreachable as error:
            st.html(pieces.empty("No answer", f"{error} (looking again every few seconds)", error=True))
        except NotFound as error:
            st.html(pieces.empty("Not found", str(error), error=True))
        except SearchdError as error:
            st.html(pieces.empty("This did not work", str(error), error=True))

    st.fragment(guarded, run_every=every_s)()
