"""The schedule of a learning rate over a declared horizon: its values, and what is told of one that cannot be."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from spaces.decays import DECAYS, Decay, decay_of
from spaces.errors import SpaceError, StudyError
from spaces.lint import lint_study
from spaces.schedules import cyclic
from spaces.study import Study


@pytest.mark.parametrize(("kind", "values"), [
    ("constant", [0.5, 1, 1, 1, 1]), ("linear", [0.5, 1, 0.5, 0, 0]), ("cosine", [0.5, 1, 0.5, 0, 0]),
])  # fmt: skip
def test_values_by_hand(kind: str, values: list[float]) -> None:
    """Warm-up of 2 steps, horizon 10: at 1, 2, 6, 10 and beyond."""
    assert [Decay(kind, 10, 2).at(t) for t in (1, 2, 6, 10, 12)] == pytest.approx(values)


def test_cosine_and_cyclic() -> None:
    """A quarter of the way a cosine is at (1 + √½) / 2; `cyclic` is the schedule of time-accuracy curves after the
    warm-up, so that each of its cycles ends near 0."""
    assert Decay("cosine", 8).at(2) == pytest.approx((1 + 0.5**0.5) / 2)
    assert [Decay("cyclic", 4, 1).at(t + 1) for t in range(30)] == [cyclic(t, 4, 1.0) for t in range(30)]


@given(st.sampled_from(DECAYS), st.integers(1, 50), st.floats(0, 0.9), st.floats(0, 200))
def test_a_factor_lies_between_0_and_1(kind: str, horizon: int, share: float, t: float) -> None:
    """Law: in [0, 1] everywhere; without cycles it never rises after the warm-up."""
    decay = Decay(kind, horizon, share * horizon)
    assert 0 <= decay.at(t) <= 1
    if kind != "cyclic" and t >= decay.warmup:
        assert decay.at(t + 1) <= decay.at(t)


def test_what_a_config_says() -> None:
    """A name with `horizon` and `warmup` beside it, or a choice with them below; a constant without warm-up is none."""
    assert decay_of({}) is None
    assert decay_of({"schedule": "constant", "horizon": 9, "warmup": 0}) is None
    assert decay_of({"warmup": 2}) == Decay("constant", None, 2)
    assert decay_of({"schedule": "linear", "horizon": 9}) == Decay("linear", 9)
    nested = {"schedule": {"name": "cosine", "warmup": 3}, "horizon": 9, "warmup": 1}
    assert decay_of(nested) == Decay("cosine", 9, 3)


@pytest.mark.parametrize(("said", "text"), [
    ({"schedule": "cosin", "horizon": 9}, "did you mean 'cosine'"),
    ({"schedule": "cosine"}, "needs a horizon"),
    ({"schedule": "linear", "horizon": 0}, "whole number of steps from 1"),
    ({"schedule": "linear", "horizon": 4, "warmup": 4}, "leaves nothing"),
    ({"warmup": -1}, "from 0"),
])  # fmt: skip
def test_odd_schedules(said: dict[str, Any], text: str) -> None:
    """Value, rule, remedy; the same before a study and in a trial."""
    with pytest.raises(SpaceError, match=text):
        decay_of(said)


def study(space: dict[str, Any], **more: Any) -> Study:
    said = {
        "study": "s", "space": space, "objectives": {"val_error": "minimize"}, "budget": {"trials": 8},
        "search": {"scheduler": "fifo", "R": 9}, **more,
    }  # fmt: skip
    return Study.loads(yaml.safe_dump(said))


@pytest.mark.parametrize(("space", "text"), [
    ({"schedule": {"choice": ["constant", "cosine"]}}, "space.schedule: schedule: cosine needs a horizon"),
    ({"schedule": "linaer", "horizon": 9}, "did you mean 'linear'"),
    ({"schedule": {"choice": {"cosine": {"warmpu": 1}}}, "horizon": 9}, "has no 'warmpu': did you mean 'warmup'"),
    ({"schedule": "cosine", "horizon": {"int": [3, 9]}, "warmup": {"int": [0, 5]}}, "leaves nothing of horizon = 3"),
    ({"optimizer": {"choice": {"adamw": {"beta2": {"float": [0.9, 1]}}}}}, "beta2 is 1, but has to be below 1"),
    ({"optimizer": "cpu_offload"}, "moves states from a GPU"),
    ({"optimizer": {"choice": {"sophia": {}}}, "bits": {"choice": [4, 32]}}, "sophia needs second derivatives"),
])  # fmt: skip
def test_the_reader_tells_before_a_trial(space: dict[str, Any], text: str) -> None:
    """What each trial would refuse is a problem of the study file, at its place."""
    with pytest.raises(StudyError, match=text):
        study(space)


def test_what_a_log_holds_stays_what_it_was() -> None:
    """A recorded study whose values break a rule that came later is still read, as it was written; a name that is no
    optimizer never was one."""
    said: dict[str, Any] = {
        "study": "s", "objectives": {"val_error": "minimize"}, "space": {
            "schedule": {"choice": ["slow", "fast"]}, "warmup": 3,
            "optimizer": {"choice": {"adamw": {"beta2": {"float": [0.9, 1]}}}},
        },
    }  # fmt: skip
    assert Study.parse(Study.parse(said).dump()) == Study.parse(said)
    with pytest.raises(StudyError, match="below 1"):
        Study.loads(yaml.safe_dump(said))
    said["space"]["optimizer"] = {"choice": {"adamx": {}}}
    with pytest.raises(StudyError, match="no optimizer 'adamx'"):
        Study.parse(said)


def test_what_goes_together_is_read() -> None:
    """Quantized blocks and sophia, kept apart by a constraint; a schedule whose horizon is below its option."""
    apart = ["optimizer != 'sophia' or all(b == 32 for b in bits)"]
    space = {"depth": 2, "bits": {"repeat": "depth", "choice": [4, 32]}, "optimizer": {"choice": ["sophia", "sgd"]}}
    study(space, constraints=apart)
    study({"schedule": {"choice": {"constant": {}, "linear": {"horizon": 9, "warmup": {"int": [0, 3]}}}}})


def test_a_schedule_that_ends_elsewhere_than_the_search_is_found() -> None:
    """Shorter than R: the last steps do not train; longer: no trial is judged at its end; equal: nothing to say."""
    short, long = (lint_study(study({"schedule": "cosine", "horizon": h})) for h in (5, 20))
    assert any("0 from step 5 on, but R = 9" in str(f) for f in short)
    assert any("end of 20 steps, for R = 9" in str(f) for f in long)
    assert not [f for f in lint_study(study({"schedule": "cosine", "horizon": 9})) if "horizon" in f.path]
