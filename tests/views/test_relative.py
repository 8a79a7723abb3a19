"""Relative improvement: the golden value, the spread, and what is no accuracy."""

from __future__ import annotations

from typing import Any

import pytest

from searchd.errors import SearchdError
from searchd.views.relative import accuracy_of, at_step, metric_of, relative_improvement, summary


def test_golden() -> None:
    """G10 (10.2): 97.4 against 97.0 is .4124."""
    assert round(relative_improvement(97.4, 97.0), 4) == 0.4124


def test_summary_by_hand() -> None:
    """RI by the mean over seeds, not by what the search saw; a spread that hides the difference is said."""
    found = summary(98.0, [97.0, 96.0], [95.0, 94.0, 96.0, 97.0])
    assert found["ri"] == pytest.approx(100 * (96.5 - 95.5) / 95.5)
    assert found["ri_found"] == pytest.approx(100 * (98 - 95.5) / 95.5)
    assert found["ri_seeds"] == pytest.approx([100 * 1.5 / 95.5, 100 * 0.5 / 95.5])
    assert found["random"]["sd"] == pytest.approx((5 / 3) ** 0.5)
    assert (found["beaten_by"], found["told_apart"]) == (1, False)
    assert summary(98.0, [97.9, 98.0], [95.0, 94.0, 96.0, 95.0])["told_apart"]
    with pytest.raises(SearchdError, match="two of each"):
        summary(98.0, [97.0], [95.0, 96.0])


def test_accuracies() -> None:
    """Errors in percent are turned, what is maximised stays, a latency is none; the first that can is taken."""
    assert accuracy_of("val_error", "minimize", 2.6) == pytest.approx(97.4)
    assert accuracy_of("accuracy", "maximize", 0.97) == 0.97
    with pytest.raises(SearchdError, match="no accuracy"):
        accuracy_of("latency_ms", "minimize", 1.0)
    with pytest.raises(SearchdError, match="train longer"):
        relative_improvement(1.0, 0.0)
    objectives: list[dict[str, Any]] = [
        {"name": "latency_ms", "goal": "minimize"}, {"name": "val_error", "goal": "minimize"},
    ]  # fmt: skip
    assert metric_of(objectives) == ("val_error", "minimize")
    with pytest.raises(SearchdError, match="latency_ms"):
        metric_of(objectives, "latency_ms")
    said = [(1, 3, 2.0), (2, 9, None), (3, 9, 1)]
    assert at_step([{"trial": t, "step": s, "value": v} for t, s, v in said], 9) == {3: 1.0}
