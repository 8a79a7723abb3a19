"""Formulas over metrics: values, what they read, and what a study file may not say."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spaces.errors import SpaceError, StudyError
from spaces.formulas import formula
from spaces.study import Study

BASE: dict[str, Any] = {"study": "s", "space": {"x": {"float": [0, 1]}}, "task": "m.x:f"}


@given(st.floats(-1e3, 1e3), st.floats(1e-3, 1e6))
def test_effectiveness_and_time_in_one(error: float, seconds: float) -> None:
    """Wang and others (2020): a metric and the log of the time, weighed."""
    found = formula("val_error + 0.05 * log(train_s / 60)")
    assert found.reads == {"val_error", "train_s"}
    value = found.value({"val_error": error, "train_s": seconds, "other": "text"})
    assert value == pytest.approx(error + 0.05 * math.log(seconds / 60))


def test_what_has_no_value() -> None:
    """Nothing where a metric is missing, NaN where arithmetic or types fail."""
    found = formula("log(a) + b")
    assert found.value({"a": 1.0}) is None
    assert math.isnan(found.value({"a": -1.0, "b": 0.0}) or 0.0)
    assert math.isnan(found.value({"a": 1.0, "b": "text"}) or 0.0)
    assert math.isnan(formula("a < 3").value({"a": 1.0}) or 0.0)


@pytest.mark.parametrize("text", ["", "1 + 2", "a +", "a.b", "__import__('os')", "(" * 500 + "a" + ")" * 500])
def test_what_is_no_formula(text: str) -> None:
    """No metric, no expression, more than arithmetic."""
    with pytest.raises(SpaceError):
        formula(text)


@pytest.mark.parametrize(
    ("objectives", "task", "said"),
    [
        ({"cost": {"goal": "minimize", "formula": "loss +"}}, "m.x:f", "objectives.cost.formula: .* no.* expression"),
        ({"cost": {"goal": "minimize", "formula": "cost + 1"}}, "m.x:f", "'cost' is computed itself"),
        (
            {"a": {"goal": "minimize", "formula": "x1"}, "b": {"goal": "minimize", "formula": "a * 2"}},
            "m.x:f", "'a' is computed itself: write its formula out",
        ),
        ({"train_s": {"goal": "minimize", "formula": "loss"}}, "m.x:f", "'train_s' is measured already"),
        ({"cost": {"goal": "minimize", "formula": "val_eror"}}, "classify", "did you mean 'val_error'"),
        ({"bytes": {"goal": "minimize", "formula": "params * 4"}}, "classify", "'bytes' is measured already"),
        ({"cost": {"goal": "minimize", "formula": 3}}, "m.x:f", "objectives.cost.formula"),
    ],
)  # fmt: skip
def test_problems_are_named(objectives: Any, task: str, said: str) -> None:
    """Each with its place and a remedy."""
    with pytest.raises(StudyError, match=said):
        Study.parse({**BASE, "objectives": objectives, "task": task})


def test_a_study_keeps_its_formulas() -> None:
    """Read, dumped, read: the same; an objective without one is dumped as before."""
    objectives = {"cost": {"goal": "minimize", "formula": "loss + train_s"}, "loss": "minimize"}
    study = Study.parse({**BASE, "objectives": objectives})
    assert Study.parse(study.dump()) == study
    assert study.objectives[0].reads == {"loss", "train_s"}
    assert study.dump()["objectives"]["loss"] == {"goal": "minimize"}


@pytest.mark.parametrize(("formula_", "goal"), [
    ("mnas(1 - val_error / 100, latency_ms, 80)", "maximize"), ("fbnet(val_loss, latency_ms)", "minimize"),
])  # fmt: skip
def test_the_wrong_way_of_a_reward_is_odd(formula_: str, goal: str) -> None:
    """A reward that is minimised, or a loss that is maximised, is told before anything is spent."""
    from spaces.lint import lint_study
    from spaces.study import Study

    said = {"study": "s", "space": {"width": {"int": [4, 8]}}}
    wrong = {"minimize": "maximize", "maximize": "minimize"}[goal]
    for way, found in ((goal, False), (wrong, True)):
        study = Study.parse({**said, "objectives": {"r": {"goal": way, "formula": formula_}}})
        assert any(f"say goal: {goal}" in finding.message for finding in lint_study(study)) == found
