"""How a run that went wrong says so: the reasons, not only how many."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from rich.console import Console

from searchd.cli.run import show_outcome
from searchd.local import Outcome, failures


def failed(reason: str, error: str = "") -> dict[str, Any]:
    return {"status": "failed", "reason": reason, "error": error}


def test_failures_are_counted_by_what_they_say() -> None:
    """The reason and the error's last line, the most frequent first; other trials do not count."""
    trials = [
        failed("oom"),
        failed("exception", 'Traceback\n  File "x.py", line 4\nValueError: my bug\n'),
        failed("exception", "Traceback\n  elsewhere\nValueError: my bug"),
        {"status": "done", "reason": "", "error": ""},
    ]
    assert failures(trials) == ((2, "exception: ValueError: my bug"), (1, "oom"))


def test_a_run_without_a_front_says_why(tmp_path: Path) -> None:
    """Every trial failed: the text names the reason, does not say that all is complete, offers no model to export."""
    summary = {"name": "x", "status": "done", "reason": "the search is complete", "steps_done": 0, "seconds": 1.0,
               "trials": {"failed": 6, "total": 6}}  # fmt: skip
    text = io.StringIO()
    why = ((3, "exception: ValueError: my bug"), (1, "oom"), (1, "diverged"), (1, "exit code 7"))
    show_outcome(Console(file=text, width=200), Outcome(tmp_path, summary, [], failures=why), "x.yaml")
    assert "3 trials failed: exception: ValueError: my bug" in text.getvalue()
    assert "1 more failed of other things" in text.getvalue()
    assert "complete" not in text.getvalue()
    assert "export" not in text.getvalue()
