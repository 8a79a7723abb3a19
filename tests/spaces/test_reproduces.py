"""The study that makes a point again: what it takes over, what it leaves out, and what such a file may not say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.random import Generator, Philox

from spaces.config import Config
from spaces.errors import StudyError
from spaces.reproduces import again, as_yaml, chain, command, compared, split, timed
from spaces.study import Study

SPACE: dict[str, Any] = {
    "width": {"int": [4, 64], "log": True}, "depth": {"int": [1, 3]},
    "bits": {"repeat": "depth", "choice": [2, 4, 8, "fp8", 32]}, "exits": {"subset": [0, 1]},
    "rate": {"float": [1e-12, 1e12], "log": True}, "step": {"float": [0, 1], "step": 0.1},
    "fall": {"float": [1e-4, 1], "log": True, "schedule": {"piecewise": [1, 9]}},
    "optimizer": {"choice": {"sgd": {"lr": {"float": [1e-5, 1]}}, "adamw": {"decay": {"choice": [None, True, 0.1]}}}},
}
FIRST: dict[str, Any] = {
    "study": "first", "space": SPACE, "constraints": ["width * depth <= 128"],
    "objectives": {"error": {"goal": "minimize", "at_most": 50}, "time_s": "minimize"},
    "search": {"scheduler": "hyperband", "searcher": "tpe", "r": 1, "R": 9, "options": {"startup": 3}, "unit": "round"},
    "budget": {"trials": 30, "hours": 1}, "seed": 2**62, "device": "rig",
    "task": {"function": "my.module:train", "data": "/x.npz", "time_limit_s": 5, "describe": "my.module:describe"},
}  # fmt: skip


def study_of(*trials: dict[str, Any], points: Any = ()) -> dict[str, Any]:
    return again(Study.parse(FIRST).dump(), "first-1", trials, points)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), until=st.integers(1, 10**6), value=st.floats(allow_nan=False, allow_infinity=False))
def test_any_config_comes_back_from_the_file_as_it_was(seed: int, until: int, value: float) -> None:
    """Law: whatever was drawn and recorded, the file's text reads to the very config (nested, to the last bit), the
    recorded number and the step; and the study reads back the same from its own dump."""
    space = Study.parse(FIRST).space
    config = space.sample(Generator(Philox(key=seed)))
    trial = {"trial": 17, "until": until, "config": config.flat()}
    point = {"point": 3, "selects": {"thresholds": [value]}, "recorded": {"error": value}}
    made = Study.loads(as_yaml(study_of(trial, points=[point]), "x"))
    assert made.reproduces is not None
    (one,) = made.reproduces.trials
    found = made.space.complete(one.config)
    assert found == Config(one.config) == config
    assert made.space.nested(found) == space.nested(config)
    (back,) = made.reproduces.points
    assert (back.recorded["error"], back.selects) == (value, {"thresholds": [value]})
    assert (one.until, made.search.R) == (until, until)
    assert Study.parse(made.dump()) == made


def config_of(seed: int = 0) -> dict[str, Any]:
    return Study.parse(FIRST).space.sample(Generator(Philox(key=seed))).flat()


def test_what_a_reproduction_takes_over_and_leaves_out() -> None:
    """Space, constraints, objectives, seed, unit, device, the task and its options stay; budget, search and the job's
    time limit are its own; a reproduction made again is itself."""
    made = study_of({"trial": 17, "until": 5, "config": config_of()})
    was, now = Study.parse(FIRST), Study.parse(made)
    assert (now.space, now.objectives, now.seed, now.device) == (was.space, was.objectives, was.seed, was.device)
    assert now.task.describe == ("my.module:describe",)
    assert now.task.options == {"data": "/x.npz"}
    assert now.name == "first-again-17"
    assert (now.search.scheduler, now.search.unit, now.search.R, now.search.options) == ("fifo", "round", 5, {})
    assert (now.budget.trials, now.budget.hours) == (1, None)
    assert again(now.dump(), "other", [], []) == now.dump()


def test_names_stay_short_enough() -> None:
    """The longest name of a study makes a name that is one."""
    spec = {**Study.parse(FIRST).dump(), "study": "a" * 64}
    assert Study.parse(again(spec, "x", [{"trial": 10**6, "until": 1, "config": config_of()}], [])).name


def test_a_chain_is_the_ancestors_up_to_the_steps_that_were_taken() -> None:
    """Oldest first; each trained to where the next one took its weights, the last one to its own step."""
    parents = {7: (3, 4, "copy"), 3: (1, 2, "morph")}
    found = chain(7, 9, lambda n: {"x": n}, parents.get)  # type: ignore[arg-type]
    assert [(t["trial"], t["until"], t["begins"], t["config"]["x"]) for t in found] == [
        (1, 2, "fresh", 1), (3, 4, "morph", 3), (7, 9, "copy", 7),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("trials", "said"),
    [
        ([{"trial": 1, "until": 2, "config": {}}], "width is missing"),
        ([{"trial": 1, "until": 2, "config": config_of() | {"widht": 3}}], "widht is no parameter"),
        ([{"trial": 1, "until": 2, "config": config_of() | {"rate": [1]}}], "rate"),
        ([{"trial": 1, "until": 2, "config": config_of(), "begins": "copy"}], "the first has none before it"),
        ([{"trial": 1, "until": 5, "config": config_of()},
          {"trial": 2, "until": 5, "config": config_of(), "begins": "copy"}], "a copy goes on from step 5"),
        ([{"trial": 1, "until": 2, "config": config_of(), "files": {"../x.json": {}}}], "is no name of a JSON file"),
        ([{"trial": 1, "until": 0, "config": config_of()}], "greater than or equal to 1"),
        ([], "needed"),
    ],
)  # fmt: skip
def test_what_a_file_may_not_say(trials: list[dict[str, Any]], said: str) -> None:
    """Each mistake is a problem under `reproduces`, with its rule."""
    spec = {**FIRST, "reproduces": {"study": "first-1", "trials": trials}}
    with pytest.raises(StudyError) as error:
        Study.parse(spec)
    assert said in str(error.value)
    assert str(error.value).startswith("reproduces")


def test_mistakes_have_their_line(tmp_path: Path) -> None:
    """In a file edited by hand the problem names the line."""
    text = as_yaml(study_of({"trial": 1, "until": 2, "config": config_of()}), "x").decode()
    (tmp_path / "a.yaml").write_text(text.replace("begins: fresh", "begins: fresch").replace("until: 2", "until: 2"))
    path = tmp_path / "a.yaml"
    path.write_text(text.replace("    until: 2\n", "    until: 2\n    begins: fresch\n"))
    with pytest.raises(StudyError) as error:
        Study.load(path)
    line = path.read_text().splitlines().index("    begins: fresch") + 1
    assert f"a.yaml:{line}: reproduces.trials[0].begins" in str(error.value)


def test_points_twice_and_races() -> None:
    """A point that is asked for twice, and a race on instances, are refused."""
    points = [{"point": 1, "selects": {}, "recorded": {}}] * 2
    with pytest.raises(StudyError, match="a point is here twice"):
        Study.parse(study_of({"trial": 1, "until": 2, "config": config_of()}, points=points))
    race = {
        **FIRST, "objectives": {"run_time_s": "minimize"}, "task": {"command": ["x"], "instances": ["a"], "cap_s": 5},
        "search": {"scheduler": "acband", "searcher": "random"}, "budget": {},
        "reproduces": {"study": "r", "trials": [{"trial": 1, "until": 2, "config": config_of()}]},
    }  # fmt: skip
    with pytest.raises(StudyError, match="races on instances are timed by a clock"):
        Study.parse(race)


@pytest.mark.parametrize(
    ("name", "clock"),
    [("val_error", False), ("latency_ms", True), ("latency_p95_ms", True), ("train_s", True), ("energy_mj", True),
     ("train_energy_j", True), ("peak_memory_bytes", True), ("bytes", False), ("params", False), ("macs", False),
     ("loss", False), ("predicted_latency_ms", True), ("worth", True), ("plain", False)],
)  # fmt: skip
def test_what_a_clock_decides(name: str, clock: bool) -> None:
    """By the unit of the name; a formula is what it reads."""
    objectives = {"worth": {"formula": "val_error + log(latency_ms)"}, "plain": {"formula": "val_error * 2"}}
    assert timed(name, objectives) is clock


def test_what_selects_a_point_and_what_is_recorded_of_it() -> None:
    """Lists, texts and mappings select, and a single threshold; plain numbers are metrics; nothing of None."""
    selects, recorded = split({
        "point": 3, "threshold": 0.5, "thresholds": [0.5], "rule": "margin", "subnet": {"depth": [1]}, "flag": True,
        "val_error": 2.0, "bytes": 4, "none": None,
    })  # fmt: skip
    assert selects == {"threshold": 0.5, "thresholds": [0.5], "rule": "margin", "subnet": {"depth": [1]}, "flag": True}
    assert recorded == {"val_error": 2.0, "bytes": 4}


def test_the_line_for_a_shell() -> None:
    """Quoted where it has to be."""
    assert command() == "searchd run reproduce.yaml"
    assert command("../reproduce.yaml", "/my code") == "searchd run ../reproduce.yaml --path '/my code'"


def test_what_was_not_measured_is_not_the_same() -> None:
    """A point or a metric that did not come out differs; equal is equal to the last bit."""
    study = {"reproduces": {"points": [{"point": 1, "recorded": {"a": 0.1 + 0.2, "b": 1.0}}]}}
    rows = compared(study, [{"point": 1, "metrics": {"a": 0.3}}])
    assert [(r.metric, r.same, r.again) for r in rows] == [("a", False, 0.3), ("b", False, None)]
    assert rows[0].off == pytest.approx(0)
    assert rows[1].off is None
