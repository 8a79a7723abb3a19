"""Parameters that are schedules: flat names a knot for the search, a number a step for the training."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spaces.errors import SpaceError, StudyError
from spaces.lint import lint_study
from spaces.schedules import Piecewise, at_step, is_schedule, scheduled
from spaces.space import Space
from spaces.study import Study
from tests.support.spaces import rng

LR: dict[str, Any] = {"float": [1e-4, 1], "log": True, "schedule": {"piecewise": [1, 9, 27]}}
STUDY = """study: policy
space:
  optimizer:
    choice:
      sgd:
        lr: {float: [1e-4, 1], log: true, schedule: {piecewise: [1, 9, 27]}}
  batch_size: {int: [8, 64], schedule: {piecewise: [1, 27]}}
constraints: ['optimizer.sgd.lr[0] >= optimizer.sgd.lr[2]']
objectives: {val_error: minimize}
budget: {trials: 9}
"""

knots = st.lists(st.integers(1, 200), min_size=2, max_size=6, unique=True).map(sorted).map(tuple)


@st.composite
def piecewise(draw: st.DrawFn) -> Piecewise:
    at = draw(knots)
    log = draw(st.booleans())
    low = 1e-6 if log else -1e3
    values = draw(st.lists(st.floats(low, 1e3), min_size=len(at), max_size=len(at)))
    return Piecewise(at, tuple(values), log)


@given(piecewise(), st.integers(1, 250))
def test_values_lie_between_their_knots(schedule: Piecewise, step: int) -> None:
    """Law: exact at a knot, between the two values beside it elsewhere, constant outside."""
    value = schedule.at(step)
    pairs = list(zip(schedule.knots, schedule.values, strict=True))
    before = [v for k, v in pairs if k <= step] or [schedule.values[0]]
    after = [v for k, v in pairs if k >= step] or [schedule.values[-1]]
    assert min(before[-1], after[0]) <= value <= max(before[-1], after[0])
    if step in schedule.knots:
        assert value == schedule.values[schedule.knots.index(step)]
    scaled = np.log(schedule.values) if schedule.log else np.asarray(schedule.values)
    line = float(np.interp(step, schedule.knots, scaled))
    assert value == pytest.approx(math.exp(line) if schedule.log else line, rel=1e-9, abs=1e-9)


@given(piecewise())
def test_what_a_config_holds_reads_back(schedule: Piecewise) -> None:
    """Law: through JSON and back a schedule is the same, and nothing else of a config is taken for one."""
    said = json.loads(json.dumps(schedule.dump()))
    assert Piecewise.read(said) == schedule
    assert is_schedule(said)
    assert not is_schedule({"name": "sgd", "schedule": "piecewise"})


def test_lines_are_straight_on_their_scale() -> None:
    """Halfway between knots: the mean, the geometric mean where log, a whole number (halves up) for an int."""
    assert Piecewise((1, 9), (0.2, 0.4)).at(5) == pytest.approx(0.3)
    assert Piecewise((1, 9), (1.0, 1e-4), log=True).at(5) == pytest.approx(1e-2)
    assert Piecewise((1, 3), (8, 9), whole=True).at(2) == 9
    assert math.isclose(Piecewise((3, 4, 8), (1.0, 2.0, 4.0)).at(6), 3.0)


def test_a_search_sees_one_flat_name_a_knot() -> None:
    """Knot values are ordinary flat parameters: sampled, encoded, completed from the nested form, constrained."""
    study = Study.loads(STUDY)
    space = study.space
    assert [n for n in space.names if ".lr." in n] == [f"optimizer.sgd.lr.{i}" for i in range(3)]
    for seed in range(20):
        config = space.sample(rng(seed))
        assert config["optimizer.sgd.lr.0"] >= config["optimizer.sgd.lr.2"]
        nested = space.nested(config)
        again = space.from_unit(space.encode(space.complete(nested)))
        assert np.allclose(space.encode(again), space.encode(config))
        lr = nested["optimizer"]["lr"]
        assert lr["knots"] == [1, 9, 27]
        assert lr["log"]
        assert lr["values"] == [config[f"optimizer.sgd.lr.{i}"] for i in range(3)]
        now = at_step(nested, 27)
        assert now["optimizer"] == {"name": "sgd", "lr": config["optimizer.sgd.lr.2"]}
        assert isinstance(at_step(nested, 14)["batch_size"], int)
        assert scheduled(nested)
        assert not scheduled(now)


def test_a_study_with_schedules_dumps_and_parses_to_itself() -> None:
    """Round trip, with the schedule as it was written."""
    study = Study.loads(STUDY)
    dumped = json.loads(json.dumps(study.dump()))
    assert dumped["space"]["batch_size"] == {"int": [8, 64], "schedule": {"piecewise": [1, 27]}}
    assert Study.parse(dumped) == study
    assert Space.parse({"lr": LR}) != Space.parse({"lr": {**LR, "schedule": {"piecewise": [1, 9, 81]}}})


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[1, 9, 27]}", "[9, 1, 27]}", r"policy.yaml:6: .*schedule: knots \[9, 1, 27\] have to rise.*sort them"),
        ("[1, 9, 27]}", "[0, 9]}", r"policy.yaml:6: .*from step 1 or later"),
        ("[1, 9, 27]}", "[1]}", r"policy.yaml:6: .*a number of 1 knots is no schedule: leave schedule out"),
        ("[1, 9, 27]}", "[1, 2.5]}", r"policy.yaml:6: .*2.5"),
        ("{piecewise: [1, 9", "{picewise: [1, 9", r"policy.yaml:6: .*'picewise': did you mean 'piecewise'"),
        ("[1, 27]}}", "[1, 27]}, repeat: 2}", r"policy.yaml:7: .*repeat and schedule both"),
        ("batch_size: {int: [8, 64]", "width: {int: [8, 64]", r"policy.yaml:7: .*width is fixed while the network"),
    ],
)
def test_a_wrong_schedule_is_refused_with_line_and_remedy(old: str, new: str, said: str) -> None:
    """Knots that do not rise, too few of them, a misspelt key, a repeat beside it, a shape that cannot change."""
    assert old in STUDY
    with pytest.raises(StudyError, match=said):
        Study.loads(STUDY.replace(old, new, 1), file="policy.yaml")


def test_values_must_fit_their_knots() -> None:
    """One value a knot, above 0 on a log scale."""
    with pytest.raises(SpaceError, match="1 values for 2 knots"):
        Piecewise((1, 2), (1.0,))
    with pytest.raises(SpaceError, match="above 0"):
        Piecewise((1, 2), (1.0, 0.0), log=True)


def test_a_knot_that_no_trial_reaches_is_found() -> None:
    """A last knot beyond R is allowed and odd: the plan says so."""
    study = Study.loads(STUDY.replace("[1, 27]", "[1, 81]") + "search: {R: 27}\n")
    assert any("81, lies beyond R = 27" in str(f) for f in lint_study(study))
    assert not any("beyond R" in str(f) for f in lint_study(Study.loads(STUDY)))
