"""A config in reading order, and why nothing is shown."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.answers import CONFIG, SUMMARY
from ui.wording import config_line, config_rows, notes, scalars, why_no_front


def test_children_stand_under_their_option() -> None:
    """Nested parameters follow their option one step in; repeated ones are one row in numeric order."""
    assert config_rows(CONFIG) == [
        (0, "bits", "[4, 8]"), (0, "depth", "2"), (0, "exits", "[0]"), (0, "optimizer", "sgd"), (1, "lr", "0.1"),
        (1, "momentum", "0.9"), (0, "width", "16"),
    ]  # fmt: skip
    assert config_line({"width": 16, "optimizer": "sgd"}) == "optimizer sgd, width 16"


def test_the_tenth_follows_the_ninth() -> None:
    """Indices sort as numbers."""
    assert config_rows({f"bits.{i}": i for i in range(11)}) == [(0, "bits", "[" + ", ".join(map(str, range(11))) + "]")]


def test_two_nested_repeats_do_not_mix() -> None:
    """Repeated parameters under an option keep their own list and stand under it."""
    config = {"net": "cnn", "net.cnn.k.0": 3, "net.cnn.k.1": 5, "k.0": 7}
    assert config_rows(config) == [(0, "k", "[7]"), (0, "net", "cnn"), (1, "k", "[3, 5]")]


def _with(**changes: Any) -> dict[str, Any]:
    counts = {**SUMMARY["trials"], **changes.pop("trials", {})}
    return {**SUMMARY, "front": 0, "trials": counts, **changes}


NONE = dict.fromkeys(SUMMARY["trials"], 0)


@pytest.mark.parametrize(
    ("summary", "title"),
    [
        (_with(status="queued", trials=NONE), "Waiting to start"),
        (_with(trials=NONE), "No trial yet"),
        (_with(status="done", trials=NONE), "Nothing was tried"),
        (_with(status="faulted", reason="message 7 broke it"), "The study stopped on a fault"),
        (_with(trials={**NONE, "failed": 2, "vetoed": 1, "total": 3}), "Every trial failed"),
        (_with(reports=0), "No report yet"),
        (_with(), "No feasible point yet"),
        (_with(objectives=[{"name": "e", "goal": "minimize"}]), "No trial has reached a rung"),
    ],
)
def test_an_empty_front_says_why(summary: dict[str, Any], title: str) -> None:
    """Each state in which there is no front has its own reason."""
    told, why = why_no_front(summary)
    assert told == title
    assert why


def test_what_the_searcher_says_is_shown() -> None:
    """Beside the reason of the state, and where there is no feasible point yet."""
    said = _with(remark="probably no config keeps the bounds", reason="paused")
    assert notes(said) == "paused · probably no config keeps the bounds"
    assert notes(_with(reason="")) == ""
    assert "probably no config keeps the bounds." in why_no_front(said)[1]


def test_trials_that_run_again_are_told() -> None:
    """The first with its reason, and how many more there are; a lost job without a reason has one too."""
    lost = [{"trial": 5, "attempt": 2, "reason": "its worker died"}, {"trial": 7, "attempt": 3, "reason": ""}]
    assert notes(_with(reason="", retrying=lost[:1])) == "trial 5 runs again (attempt 2): its worker died"
    assert notes(_with(reason="", retrying=lost)) == "trial 5 runs again (attempt 2), and 1 more: its worker died"
    assert notes(_with(reason="", retrying=lost[1:])) == "trial 7 runs again (attempt 3): it was lost"


def test_a_subnet_fits_a_cell() -> None:
    """What a sub-network is stands in one text: resolution, blocks by unit, bits only where they are narrow."""
    unit = {"depth": 2, "kernels": [3, 5], "widths": [2, 0.5], "bits": [4, 32]}
    last = {"depth": 1, "kernels": [3], "widths": [4], "bits": [32]}
    values = {"val_error": 2.5, "subnet": {"resolution": 8, "units": [unit, last]}, "exit_rates": [1.0]}
    assert scalars(values) == {"val_error": 2.5, "subnet": "8: 3x2 5x0.5 | 3x4 · bits 4 32 | 32"}
    assert scalars({"subnet": {"units": [last]}}) == {"subnet": "3x4"}
