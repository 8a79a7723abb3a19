"""A client's answers as frames."""

from __future__ import annotations

import math

import pandas as pd

from tests.support.answers import CONFIG, CURVES, FRONT, LOG, RUNGS, SUMMARY, TRIALS
from ui import frames, pieces


def test_a_front_is_one_row_a_point_with_a_column_a_metric() -> None:
    """Scalar metrics become columns; lists do not; the config stays whole."""
    frame = frames.front(FRONT)
    assert list(zip(frame["trial"], frame["point"], strict=True)) == [(3, 0), (3, 4), (1, 0)]
    assert "exit_rates" not in frame.columns
    assert frame.loc[0, "val_error"] == 2.1
    assert math.isnan(frame.loc[0, "threshold"])
    assert frame.loc[0, "config"] == CONFIG


def test_nothing_has_its_columns_too() -> None:
    """Every frame of an empty answer has the columns of a full one."""
    assert list(frames.front([]).columns) == frames.FRONT_COLUMNS
    assert list(frames.trials([]).columns) == frames.TRIAL_COLUMNS
    assert list(frames.curves([]).columns) == frames.CURVE_COLUMNS
    assert list(frames.rungs([]).columns) == frames.RUNG_COLUMNS
    assert list(frames.log([]).columns) == frames.LOG_COLUMNS


def test_curves_are_sorted_and_null_is_nan() -> None:
    """Curves come by trial and step; a diverged report is NaN and no zero."""
    frame = frames.curves(CURVES)
    assert frame["step"].tolist() == [1, 1, 3, 9, 1, 1, 3, 9]
    assert frame["trial"].tolist() == [0, 1, 1, 1, 2, 3, 3, 3]
    assert math.isnan(frame.loc[4, "value"])


def test_trials_are_ranked_at_equal_step_best_first() -> None:
    """At a step only those that reported exactly it are ranked, by the goal, ties by trial, NaN last."""
    frame = frames.curves(CURVES)
    lowest = frames.at_step(frame, 1)
    assert lowest["trial"].tolist() == [1, 3, 0, 2]
    assert lowest["rank"].tolist() == [1, 2, 3, 4]
    assert frames.at_step(frame, 1, "maximize")["trial"].tolist() == [0, 3, 1, 2]
    assert frames.at_step(frame, 3)["trial"].tolist() == [1, 3]
    assert frames.at_step(frame, 2).empty


def test_rungs_are_numbered_within_their_bracket() -> None:
    """The lowest step of a bracket is its rung 0, whatever the order of the answer."""
    frame = frames.rungs([*reversed(RUNGS), {"bracket": 1, "step": 3, "trials": [{"trial": 9, "value": 1.0}]}])
    assert frame[["bracket", "rung", "step"]].drop_duplicates().to_numpy().tolist() == [
        [0, 0, 1], [0, 1, 3], [0, 2, 9], [1, 0, 3],
    ]  # fmt: skip
    assert frame.iloc[-1]["state"] == "waiting"


def test_what_selects_a_point_is_shown() -> None:
    """Rule, thresholds and temperatures are text, in the frame and in the panel; they are no metrics."""
    told = {"rule": "margin", "thresholds": [0.25, 2.0], "temperatures": [0.5, 1, 1.25], "exit_rates": [0.5, 0.3, 0.2]}
    front = [{**FRONT[0], "metrics": {**FRONT[0]["metrics"], **told}}, *FRONT[1:]]
    frame = frames.front(front)
    assert frame.loc[0, ["rule", "thresholds", "temperatures"]].tolist() == ["margin", "[0.25, 2]", "[0.5, 1, 1.25]"]
    metrics = frames.metrics(SUMMARY, frame)
    assert not {"rule", "thresholds", "temperatures"} & set(metrics)
    panel = pieces.measured(front[0]["metrics"], metrics)
    assert "margin" in panel
    assert "[0.25, 2]" in panel
    assert "exit" not in panel


def test_the_log_is_newest_first_with_times() -> None:
    """The log reads from the last decision back; a study's own events have no trial."""
    frame = frames.log(LOG)
    assert frame["seq"].tolist() == [3, 2, 1]
    assert str(frame.loc[2, "at"]) == "2023-11-14 22:13:20+00:00"
    assert frame["trial"].isna().tolist() == [False, False, True]


def test_metrics_are_objectives_first() -> None:
    """Objectives come in the study's order, then every other number; a trial's step is no metric."""
    points, trials = frames.front(FRONT), frames.trials(TRIALS)
    metrics = frames.metrics(SUMMARY, points, trials)
    assert list(metrics) == ["val_error", "latency_ms", "bytes", "threshold"]
    assert metrics["val_error"].unit == "%"
    assert metrics["latency_ms"].at_most == 1.0
    assert metrics["threshold"].goal is None


def test_parameters_share_a_column_across_options() -> None:
    """The rate of SGD and the rate of AdamW are one axis; what does not vary is left out."""
    frame = frames.parameters(TRIALS)
    assert frame["optimizer.lr"].tolist() == [0.002, 0.1, 0.002, 0.1, 0.002]
    assert {"width", "depth", "optimizer", "bits.0", "bits.1", "exits"} <= set(frame.columns)
    assert frame["exits"].tolist() == ["none", "0", "none", "0", "none"]
    alone = frames.parameters([TRIALS[0], TRIALS[2]])
    assert list(alone.columns) == ["trial"]


def test_long_repeats_are_a_mean_and_rare_columns_go_first() -> None:
    """A repeated parameter of more than three is its mean; beyond the limit the least filled columns are dropped."""
    rows = [{"trial": t, "config": {**{f"bits.{i}": 2 + t + i for i in range(4)}, "a": t}} for t in range(3)]
    rows[0]["config"]["rare"] = 1  # type: ignore[index]
    assert frames.parameters(rows)["bits (mean)"].tolist() == [3.5, 4.5, 5.5]
    assert list(frames.parameters(rows, most=2).columns) == ["trial", "bits (mean)", "a"]


def test_a_metric_may_be_called_like_a_column() -> None:
    """A metric named as one of the frame's own columns does not replace it."""
    frame = frames.trials([{**TRIALS[1], "metrics": {"step": 99.0, "val_error": 1.0}}])
    assert frame["step"].tolist() == [9]
    assert isinstance(frame, pd.DataFrame)
