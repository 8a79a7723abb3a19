"""Log lines: what they are about is on them, one line stays one line, and secrets are blotted out."""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchd.lines import Json, Text, about, blotted


def record(message: str, *args: object, error: bool = False, **extra: Any) -> logging.LogRecord:
    made = logging.LogRecord("searchd.x", logging.INFO, __file__, 1, message, args, sys.exc_info() if error else None)
    made.__dict__.update(extra)
    return made


def test_a_line_says_what_it_is_about() -> None:
    """Inner blocks add to outer ones, what is given with a line goes first, and outside nothing is left of it."""
    with about(study="s", trial=None):
        with about(trial=3, job="j", attempt=2):
            found = json.loads(Json("w0").format(record("m %d", 1)))
            text = Text().format(record("m", job="k"))
        outer = json.loads(Json().format(record("m")))
    assert {k: found[k] for k in ("message", "worker", "study", "trial", "job", "attempt")} == {
        "message": "m 1", "worker": "w0", "study": "s", "trial": 3, "job": "j", "attempt": 2}  # fmt: skip
    assert text.endswith("searchd.x: m [study=s trial=3 job=k attempt=2]")
    assert "trial" not in outer
    assert "study" not in json.loads(Json().format(record("m")))


@given(st.text())
def test_nobody_forges_a_line(text: str) -> None:
    """Whatever a message holds, it is one line; as JSON it comes back."""
    for made in (Text(), Json()):
        assert len(made.format(record("%s", text)).splitlines()) == 1
    if text == blotted(text):
        assert json.loads(Json().format(record("%s", text)))["message"] == text


@pytest.mark.parametrize(
    "text",
    ["redis://user:HIDE@host:6379/0", "postgresql+psycopg://u:HIDE@db/x", "see redis://:HIDE@h",
     "Authorization: Bearer HIDE",
     "token sd_HIDEHIDEHIDEHIDEHIDEHIDEHIDE here", "unix:///x?password=HIDE&db=1"],
)  # fmt: skip
def test_secrets_are_blotted_out(text: str) -> None:
    """Passwords in URLs, bearer tokens and minted secrets, in the message and in a traceback."""
    try:
        raise ValueError(text)
    except ValueError:
        for made in (Text(), Json()):
            found = made.format(record("broke: %s", text, error=True))
            assert "HIDE" not in found
            assert "***" in found
            assert "ValueError" in found
