"""Frames as figures: what is drawn where, and what a click tells."""

from __future__ import annotations

import math
from dataclasses import replace

import pandas as pd
import plotly.graph_objects as go
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.answers import CURVES, FRONT, RUNGS, SUMMARY, TRIALS, front_point
from ui import charts, frames, theme
from ui.parallel import dimension, parallel
from ui.units import Metric

POINTS, ALL = frames.front(FRONT), frames.trials(TRIALS)
METRICS = frames.metrics(SUMMARY, POINTS, ALL)
ERROR, LATENCY, BYTES = METRICS["val_error"], METRICS["latency_ms"], METRICS["bytes"]


def trace(figure: go.Figure, name: str) -> go.Scatter:
    return next(t for t in figure.data if t.name == name)


def test_a_click_on_the_front_tells_trial_and_point() -> None:
    """Every point carries its trial and point at its own place."""
    drawn = trace(charts.front(POINTS, LATENCY, ERROR), "front")
    told = list(zip(drawn.x, drawn.y, map(tuple, drawn.customdata), strict=True))
    assert told == [(0.06, 2.1, (3, 0)), (0.04, 3.0, (3, 4)), (0.021, 7.5, (1, 0))]


def test_trials_off_the_front_are_grey_and_only_those() -> None:
    """The cloud has the trials with both numbers off the front; one without numbers is not drawn."""
    figure = charts.front(POINTS, LATENCY, ERROR, trials=ALL)
    cloud = trace(figure, "not on the front")
    assert [tuple(c) for c in cloud.customdata] == [(0, -1)]
    assert not trace(charts.front(POINTS, LATENCY, ERROR), "not on the front").x


def test_the_selected_point_has_a_ring() -> None:
    """The ring is at the selected point; a trial as such is ringed at all its points; nothing selected, no ring."""
    assert list(trace(charts.front(POINTS, LATENCY, ERROR, selected=(3, 4)), "selected").x) == [0.04]
    assert list(trace(charts.front(POINTS, LATENCY, ERROR, selected=(3, -1)), "selected").x) == [0.06, 0.04]
    off = charts.front(POINTS, LATENCY, ERROR, trials=ALL, selected=(0, -1))
    assert list(trace(off, "selected").y) == [40.0]
    assert not [t for t in charts.front(POINTS, LATENCY, ERROR).data if t.name == "selected"]


def test_axes_say_unit_and_direction() -> None:
    """An axis names its unit and which way is better."""
    figure = charts.front(POINTS, LATENCY, ERROR)
    assert figure.layout.xaxis.title.text.startswith("latency (ms)")
    assert "lower is better" in figure.layout.yaxis.title.text


def test_a_bound_is_a_line_where_it_is_near_and_a_word_where_it_is_far() -> None:
    """A bound near the values is a line inside the axis; one far off does not squeeze them and stands in the title."""
    near = charts.front(POINTS, replace(LATENCY, at_most=0.08), ERROR)
    assert [a.text for a in near.layout.annotations] == ["at most 80 µs"]
    assert near.layout.shapes[0].x0 == 0.08
    assert near.layout.xaxis.range[1] > 0.08
    logarithmic = charts.ladder(frames.rungs(RUNGS), replace(ERROR, at_most=10.0))
    assert logarithmic.layout.yaxis.type == "log"
    assert logarithmic.layout.shapes[0].y0 == 10.0
    assert logarithmic.layout.annotations[0].y == pytest.approx(1.0), "plotly takes the logarithm here"
    far = charts.front(POINTS, LATENCY, ERROR)
    assert not far.layout.shapes
    assert "at most 1 ms" in far.layout.xaxis.title.text
    assert far.layout.xaxis.range[1] < 0.1


def test_a_wide_span_is_logarithmic() -> None:
    """A factor of 10 or more over positive values takes a log axis; a zero keeps it linear."""
    wide = frames.front([front_point(0, 0, 1.0, 0.01, 100), front_point(1, 0, 2.0, 0.5, 100)])
    assert charts.front(wide, LATENCY, ERROR).layout.xaxis.type == "log"
    zero = frames.front([front_point(0, 0, 1.0, 0.0, 100), front_point(1, 0, 2.0, 0.5, 100)])
    assert charts.front(zero, LATENCY, ERROR).layout.xaxis.type != "log"


def test_an_empty_study_is_still_a_figure() -> None:
    """No chart fails on nothing."""
    none = frames.front([])
    charts.front(none, LATENCY, ERROR, trials=frames.trials([]), selected=(1, 1))
    charts.curves(frames.curves([]), ERROR)
    charts.equal_step(frames.at_step(frames.curves([]), 1), ERROR)
    charts.ladder(frames.rungs([]), ERROR)
    charts.sparkline(frames.curves([]), ERROR)
    assert not parallel(frames.parameters([]), frames.trials([]), [ERROR]).data


def test_infinite_and_missing_numbers_are_not_drawn() -> None:
    """A point without a finite number on both axes has no place."""
    odd = frames.front([*FRONT, front_point(9, 0, math.inf, 0.1, 1), front_point(10, 0, math.nan, 0.1, 1)])
    assert len(trace(charts.front(odd, LATENCY, ERROR), "front").x) == 3


numbers = st.floats(0.01, 100).map(lambda v: round(v, 2))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(numbers, numbers), max_size=12), st.sampled_from(["minimize", "maximize"]),
    st.sampled_from(["minimize", "maximize"]),
)  # fmt: skip
def test_the_line_is_exactly_what_no_other_point_beats(
    pairs: list[tuple[float, float]], across: str, up: str
) -> None:
    """The attained points are the values that no other point beats in both axes, each once, in any two directions."""
    x, y = Metric("a", "a", goal=across), Metric("b", "b", goal=up)  # type: ignore[arg-type]
    kept = charts.attained(pd.DataFrame(pairs, columns=["a", "b"]), x, y)
    sx, sy = (1 if across == "minimize" else -1), (1 if up == "minimize" else -1)
    signed = {(sx * a, sy * b) for a, b in pairs}
    free = {p for p in signed if not any(q != p and q[0] <= p[0] and q[1] <= p[1] for q in signed)}
    found = [(sx * a, sy * b) for a, b in zip(kept["a"], kept["b"], strict=True)]
    assert found == sorted(free)


def test_curves_have_gaps_guides_and_a_best_three() -> None:
    """A curve keeps its NaN as a gap, rungs are guides up to the last step, the best at the chosen step stand out."""
    figure = charts.curves(
        frames.curves(CURVES), ERROR, status={2: "failed"}, rungs=[1, 3, 9, 27], step=1, selected=0, unit="epoch"
    )
    assert trace(figure, "trial 2").y == (None,)
    assert "failed" in trace(figure, "trial 2").hovertemplate
    assert trace(figure, "trial 0").line.color == theme.SELECTED
    assert trace(figure, "trial 1").line.color == theme.ACCENT
    assert figure.data[-1].name == "trial 0"
    assert sorted(s.x0 for s in figure.layout.shapes) == [1, 1, 3, 9]


def test_trials_at_equal_step_stand_best_at_the_top() -> None:
    """The comparison is in rank order, leaves out NaN, and a click tells the trial."""
    figure = charts.equal_step(frames.at_step(frames.curves(CURVES), 1), ERROR)
    assert figure.data[0].y == ("1", "3", "0")
    assert [tuple(c) for c in figure.data[0].customdata] == [(1, -1), (3, -1), (0, -1)]
    low, high = figure.layout.yaxis.range
    assert low > high


def test_the_ladder_counts_who_went_on() -> None:
    """Each rung says how many reached it and how many were promoted, and trials that went on are joined by a line."""
    figure = charts.ladder(frames.rungs(RUNGS), ERROR, steps=[1, 3, 9, 27], unit="epoch", selected=3)
    assert list(figure.layout.xaxis.ticktext) == [
        "<b>epoch 1</b><br>4 trials · 2 promoted", "<b>epoch 3</b><br>2 trials · 2 promoted",
        "<b>epoch 9</b><br>2 trials · 0 promoted", "<b>epoch 27</b><br>0 trials",
    ]  # fmt: skip
    paths = [t for t in figure.data if t.name == "path"]
    assert sorted(len(p.x) for p in paths) == [3, 3]
    assert {t.name for t in figure.data if t.showlegend} == {"paused", "promoted", "done", "running"}
    assert list(trace(figure, "selected").y) == [30.0, 9.0, 2.1]


def test_marks_of_a_rung_stay_in_their_column() -> None:
    """However many trials a rung has, each mark is nearer to its rung than to the next."""
    many = [{"bracket": 0, "step": s, "trials": [{"trial": t, "value": 1.0} for t in range(200)]} for s in (1, 3)]
    figure = charts.ladder(frames.rungs(many), ERROR)
    marks = trace(figure, "waiting")
    assert all(abs(x - round(x)) < 0.3 for x in marks.x)


def test_parallel_axes_hold_words_gaps_and_scales() -> None:
    """Words are ranked, gaps stand at the foot, wide spans are log10; a trial with all objectives has a line."""
    words = dimension("optimizer", pd.Series(["sgd", "adamw", None]))
    assert words["values"] == [1.0, 0.0, -1.0]
    assert words["ticktext"] == ["–", "adamw", "sgd"]
    bits = dimension("bits", pd.Series([2, 32, 4, 2]))
    assert bits["values"] == [0.0, 2.0, 1.0, 0.0]
    assert bits["ticktext"] == ["2", "4", "32"]
    wide = dimension("lr", pd.Series([1e-4, 1e-3, 1e-2, 3e-2, 6e-2, 1e-1, None]))
    assert wide["values"][:2] == pytest.approx([-4, -3])
    assert wide["values"][-1] < -4
    assert (wide["ticktext"][0], wide["ticktext"][1], wide["ticktext"][-1]) == ("–", "0.0001", "0.1")
    near = dimension("e", pd.Series([1.0, 2.0]), ERROR)
    assert near["values"] == [1.0, 2.0]
    figure = parallel(frames.parameters(TRIALS), ALL, [ERROR, LATENCY, BYTES])
    assert len(figure.data[0].dimensions[0]["values"]) == 3
    labels = [d["label"] for d in figure.data[0].dimensions]
    assert labels[-1] == "bytes"
    assert {"lr", "momentum", "bits.0", "bits.1"} <= set(labels)


def test_the_same_answers_draw_the_same_figure() -> None:
    """A figure is a function of its answers: an unchanged study is not redrawn."""
    first = charts.front(POINTS, LATENCY, ERROR, trials=ALL, shade=BYTES, selected=(3, 0))
    again = charts.front(
        frames.front(FRONT), LATENCY, ERROR, trials=frames.trials(TRIALS), shade=BYTES, selected=(3, 0)
    )
    assert first.to_json() == again.to_json()
