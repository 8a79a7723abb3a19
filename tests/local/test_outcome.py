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


def test_a_front_that_keeps_no_bound_and_points_without_a_value_are_told(tmp_path: Path) -> None:
    """What the table does not say of itself stands below it; a run whose points have no value does not say that no
    trial finished."""
    summary = {"name": "x", "status": "done", "reason": "", "steps_done": 3, "seconds": 1.0, "trials": {"total": 2},
               "objectives": [{"name": "latency_ms", "goal": "minimize", "at_most": 0.5, "at_least": None}],
               "unvalued": {"cost": 4}}  # fmt: skip
    point = {"trial": 0, "point": 0, "step": 1, "config": {}, "metrics": {"latency_ms": 2.0}, "violation": 3.0}
    text = io.StringIO()
    show_outcome(Console(file=text, width=200), Outcome(tmp_path, summary, [point]), "x.yaml")
    assert "no point keeps the bounds (latency_ms at most 0.5), these come nearest" in text.getvalue()
    assert "4 points without a finite cost, on no front" in text.getvalue()
    text = io.StringIO()
    show_outcome(Console(file=text, width=200), Outcome(tmp_path, summary, []), "x.yaml")
    assert "4 points without a finite cost" in text.getvalue()
    assert "no trial finished" not in text.getvalue()
    kept = {**point, "violation": 0.0}
    text = io.StringIO()
    show_outcome(Console(file=text, width=200), Outcome(tmp_path, {**summary, "unvalued": {}}, [kept]), "x.yaml")
    assert "bounds" not in text.getvalue()


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
