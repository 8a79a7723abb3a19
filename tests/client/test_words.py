"""How numbers, configs and progress read in a terminal."""

from __future__ import annotations

import math
from typing import Any

import pytest

from searchd import words
from searchd.progress import front_table, line, share


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("latency_ms", 0.0431, "43.1 µs"), ("latency_ms", 1.234, "1.23 ms"), ("bytes", 812, "812 B"),
        ("bytes", 12_345.0, "12.3 kB"), ("weights_bytes", 4_560_000, "4.56 MB"), ("val_error", 2.7855, "2.785"),
        ("val_error", 3, "3"), ("val_error", math.nan, "–"), ("latency_ms", None, "–"), ("x", 1e-5, "1.00e-05"),
        ("params", 123456, "123 456"),
    ],
)  # fmt: skip
def test_a_metric_reads_in_its_unit(name: str, value: Any, text: str) -> None:
    """The unit is in the metric's name, and the terminal shows it; what is not finite shows as unknown."""
    assert words.metric(name, value) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (67.4, "1:07"), (3600 * 3 + 131, "3:02:11"), (None, "–"), (math.inf, "–")]
)
def test_durations_read_as_clocks(seconds: float | None, text: str) -> None:
    """Minutes and seconds, hours when there are any."""
    assert words.duration(seconds) == text


def test_a_config_fits_on_a_line() -> None:
    """Repeated parameters stand together, an option brings its own hyperparameters in brackets."""
    flat = {"width": 16, "bits.0": 4, "bits.1": 32, "exits": [0, 1], "optimizer": "sgd", "optimizer.sgd.lr": 0.12345,
            "optimizer.sgd.momentum": 0.9}  # fmt: skip
    assert words.config(flat) == "width 16 · exits [0,1] · bits 4,32 · sgd(lr 0.1235, momentum 0.9)"
    scheduled = {"optimizer": "sgd", "optimizer.sgd.lr.0": 0.1, "optimizer.sgd.lr.1": 0.01, "optimizer.sgd.decay": 2}
    assert words.config(scheduled) == "sgd(lr 0.1,0.01, decay 2)"
    assert words.config({"optimizer": "none", "width": 8}) == "optimizer none · width 8"


def summary(**changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "name": "digits", "status": "running", "seconds": 90.0, "steps_done": 40, "unit": "epoch", "front": 3,
        "trials": {"running": 2, "paused": 5, "done": 1, "failed": 0, "total": 8}, "best": {"val_error": 4.0},
        "budget": {"trials": 60, "hours": 0.1, "steps": None}, "time_left_s": 61.0,
    }  # fmt: skip
    return base | changes


def test_progress_is_the_budget_that_is_nearest_to_its_end() -> None:
    """With trials, steps and hours given, the bar shows the one that will end the search first."""
    assert share(summary()) == (1.5, 6, "minutes")
    assert share(summary(seconds=1.0)) == (6, 60, "trials")
    assert share(summary(budget={"steps": 50})) == (40, 50, "steps")
    assert share(summary(budget={})) == (6, None, "trials")


def test_the_line_for_a_log_says_everything() -> None:
    """Without a terminal one line has the time, how far, states, front, best and what is left."""
    assert line(summary(seconds=1.0)) == (
        " 0:01  running: 6 of 60 trials, 0:01 of 6:00  2 running, 5 paused, 1 done  40 epochs  front 3"
        "  best val_error 4  about 1:01 left"
    )


def test_a_front_shows_the_bits_that_were_allocated() -> None:
    """A point with `bits` of its own is shown with them in the place of the trained ones; another one as it is."""
    point: dict[str, Any] = {"trial": 3, "point": 0, "step": 9, "metrics": {"val_error": 1.0},
                             "config": {"width": 4, "bits.0": 32, "bits.1": 32}}  # fmt: skip
    other = point | {"point": 1, "metrics": {"val_error": 2.0, "bits": [1.58, 8.0]}}
    table = front_table([point, other], ["val_error"])
    assert [str(cell) for cell in table.columns[3].cells] == ["width 4 · bits 32,32", "width 4 · bits 1.58,8"]
    assert words.deployed(other | {"config": {"bits": 8}}) == {"bits.0": 1.58, "bits.1": 8}


def test_parents_are_shown_where_there_are_any() -> None:
    """A front has a column of parents when one of its trials has one; weights that were not taken stand in brackets."""
    point: dict[str, Any] = {"trial": 3, "point": 0, "step": 9, "metrics": {"val_error": 1.0}, "config": {"width": 4}}
    parent = {"trial": 5, "step": 3, "morphed": True, "taken": True, "text": ""}
    points = [point | {"parent": None}, point | {"trial": 7, "parent": parent}]
    points.append(point | {"trial": 8, "parent": parent | {"taken": False}})
    table = front_table(points, ["val_error"])
    assert [c.header for c in table.columns] == ["trial", "step", "val_error", "parent", "config"]
    assert list(table.columns[3].cells) == ["", "5@3", "(5@3)"]
    assert "parent" not in [c.header for c in front_table([point], ["val_error"]).columns]


def test_jobs_that_run_again() -> None:
    """A line each up to three, then how many more."""
    lost = [{"trial": n, "attempt": 2, "reason": "its worker died" if n else ""} for n in range(5)]
    assert words.again(lost[1:2]) == ["trial 1 runs again (attempt 2): its worker died"]
    assert words.again(lost[:3])[0] == "trial 0 runs again (attempt 2): it was lost"
    assert words.again(lost)[2:] == ["trial 2 runs again (attempt 2): its worker died", "and 2 more trials"]
    assert words.again([]) == []
