"""Log lines: text for people, or JSON for machines; with study, trial, job and attempt wherever they are known.

`about(study=…, job=…)` says what the code inside it works on; every line that is logged there carries it, whoever logs
it. Both formats keep a line one line: what comes from elsewhere cannot forge another. Passwords in URLs and bearer
tokens are blotted out, wherever they come from.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any, Literal

Format = Literal["text", "json"]
FIELDS = ("worker", "study", "trial", "job", "attempt")
_about: ContextVar[Mapping[str, Any]] = ContextVar("about", default=MappingProxyType({}))
_SECRET = re.compile(
    r"(?i)(\b[a-z][a-z0-9+.-]*://[^\s:/@]*:)[^\s@]+(?=@)"  # scheme://user:password@
    r"|(\bbearer\s+)[\w.~+/=-]+"
    r"|(\bsd_)[\w-]{20,}"
    r"|(\bpassword=)[^\s&'\"]+"
)


@contextmanager
def about(**fields: Any) -> Iterator[None]:
    """What the block works on; inner blocks add to it. None takes a field away."""
    known = {name: value for name, value in {**_about.get(), **fields}.items() if value is not None}
    token = _about.set(known)
    try:
        yield
    finally:
        _about.reset(token)


def blotted(text: str) -> str:
    """The text without passwords in URLs and without bearer tokens."""
    return _SECRET.sub(lambda found: f"{next(g for g in found.groups() if g is not None)}***", text)


def _one_line(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class _Formatter(logging.Formatter):
    """What both formats share. `worker`: whose process this is."""

    def __init__(self, worker: str = "") -> None:
        super().__init__()
        self._worker = worker

    def told(self, record: logging.LogRecord) -> tuple[str, dict[str, Any], str]:
        """The message, what it is about, and the traceback."""
        known = {"worker": self._worker} if self._worker else {}
        known.update(_about.get())
        known.update((name, getattr(record, name)) for name in FIELDS if hasattr(record, name))
        trace = "".join(traceback.format_exception(*record.exc_info)) if record.exc_info else ""
        return blotted(record.getMessage()), known, blotted(trace.rstrip())


class Text(_Formatter):
    """`2026-11-28 12:00:00,000 INFO    searchd.engine: message [study=… job=…]`; a traceback follows, indented."""

    def format(self, record: logging.LogRecord) -> str:
        message, known, trace = self.told(record)
        fields = " ".join(f"{name}={_one_line(str(known[name]))}" for name in FIELDS if name in known)
        where = f" [{fields}]" if fields else ""
        line = f"{self.formatTime(record)} {record.levelname:<7} {record.name}: {_one_line(message)}{where}"
        return line if not trace else line + "\n" + "\n".join(f"  {part}" for part in trace.splitlines())


class Json(_Formatter):
    """One object a line: `at` (ISO 8601, UTC), `level`, `logger`, `message`, the fields known, perhaps `traceback`."""

    def format(self, record: logging.LogRecord) -> str:
        message, known, trace = self.told(record)
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"
        line: dict[str, Any] = {"at": at, "level": record.levelname.lower(), "logger": record.name, "message": message}
        line |= {name: known[name] for name in FIELDS if name in known}
        if trace:
            line["traceback"] = trace
        return json.dumps(line, default=str)


def set_up(kind: str | None = None, *, worker: str = "") -> None:
    """Log to stderr in this format (None: what SEARCHD_LOG_FORMAT says, else text) instead of as it was set up before.

    `worker`: the name of the slot, which every line of its process carries.
    """
    kind = kind or os.environ.get("SEARCHD_LOG_FORMAT", "").strip() or "text"
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter((Json if kind == "json" else Text)(worker))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
