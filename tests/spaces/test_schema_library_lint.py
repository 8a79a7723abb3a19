"""The shipped schema, the library spaces, and the findings of lint."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from spaces.library import library, sub_space
from spaces.lint import lint_space, lint_study
from spaces.schema import FILE, study_schema, text
from spaces.space import Space
from spaces.study import Study
from tests.support.spaces import STUDY, rng


def test_the_shipped_schema_is_current() -> None:
    """`study.schema.json` is what `python -P -m spaces.schema` writes now."""
    assert FILE.read_text() == text()


def valid(said: Any) -> bool:
    jsonschema = pytest.importorskip("jsonschema")
    return bool(jsonschema.Draft202012Validator(study_schema()).is_valid(said))


def test_the_schema_takes_what_the_reader_takes_and_refuses_typos() -> None:
    """A real study and its dump are valid; a misspelt key at any level is not."""
    said = yaml.safe_load(STUDY.replace("1e-5", "1.0e-5").replace("1e-2", "1.0e-2"))
    assert valid(said)
    assert valid(Study.loads(STUDY).dump())
    assert valid({**said, "use": ["optimizers/basic"], "task": "my.mod:f"})
    for key, value in {
        "objectivs": {}, "search": {"schedular": "asha"}, "space": {"a": {"flaot": [0, 1]}}, "use": ["no/such"],
        "budget": {"trials": 0}, "task": {"classify": {"dta": "x"}}, "objectives": {"a": "minimise"},
    }.items():  # fmt: skip
        assert not valid({**said, key: value}), key


@pytest.mark.parametrize("name", sorted(library()))
def test_each_library_space_is_a_space(name: str) -> None:
    """Every library space parses (with a depth where it repeats), samples, and says what it is."""
    part = sub_space(name)
    assert not isinstance(part, str)
    assert part.about
    extra = {} if "depth" in part.space else {"depth": {"const": 2}}
    space = Space.parse({**part.space, **extra}, part.constraints)
    assert space.feasible(space.sample(rng()))


def test_library_spaces_make_a_study_that_classify_takes() -> None:
    """Library spaces alone are a complete study; the study's own names win; the dump has no `use`."""
    said = {
        "study": "s", "use": ["architectures/small", "optimizers/all", "bits/mixed", "exits/any"],
        "space": {"kernel": 3}, "objectives": {"val_error": "minimize"},
    }  # fmt: skip
    study = Study.parse(said)
    assert study.space["kernel"].domain.count() == 1
    assert [c.text for c in study.space.constraints] == ["width * depth <= 144"]
    assert "use" not in study.dump()
    assert Study.parse(study.dump()) == study
    assert len(study.space.subspaces()) == 5
    assert not [f for f in lint_study(study) if "does not read" in f.message]


def findings(space: dict[str, Any], constraints: tuple[str, ...] = ()) -> list[str]:
    return [str(f) for f in lint_space(Space.parse(space, constraints))]


@pytest.mark.parametrize(
    ("space", "said"),
    [
        ({"a": {"choice": [3]}}, "space.a: a choice with the one option 3"),
        ({"a": {"int": [3, 3]}}, "space.a: the range holds only 3"),
        ({"a": {"float": [1, 1.5], "log": True}}, "space.a: a log scale over [1, 1.5], less than a factor of 2"),
        ({"a": {"float": [0.0001, 1]}}, "space.a: [0.0001, 1] spans 10000 times without log"),
        ({"a": {"choice": [1, 2, 4]}}, "space.a: numbers without 'ordered: true'"),
        ({"a": {"subset": [1, 2], "min": 2}}, "space.a: the subset is always the same"),
        ({"a": {"repeat": 1, "int": [0, 1]}}, "space.a: repeat: 1 makes one element"),
        ({"a": {"choice": {"x": {}, "y": {}}}}, "space.a: no option has parameters"),
        ({"o": {"choice": {"x": {"l": {"choice": [1]}}}}}, "space.o.x.l: a choice with the one option"),
        ({"a": 3}, "space: there is only one config"),
    ],
)
def test_odd_spaces_are_found(space: dict[str, Any], said: str) -> None:
    """Each oddity has a finding with path and remedy, and a plain space has none."""
    assert any(said in f for f in findings(space)), findings(space)
    assert findings({"a": {"float": [0, 1]}, "b": {"choice": ["x", "y"]}}) == []


def test_constraints_that_say_little_or_much_are_found() -> None:
    """Low acceptance, a constraint that always holds, and a parameter that a constraint never lets be active."""
    space = {"a": {"int": [0, 99]}, "n": {"int": [1, 3]}, "b": {"repeat": "n", "int": [0, 1]}}
    assert any("draws are feasible" in f for f in findings(space, ("a == 1",)))
    assert any("constraints[1]: 'a >= 0' held in all" in f for f in findings(space, ("a < 50", "a >= 0")))
    assert any("held in all of" in f for f in findings(space, ("a >= 0",)))
    assert any("space.b.1: nothing activated it in 256 draws: it needs n > 1" in f for f in findings(space, ("n < 2",)))


def test_odd_studies_are_found() -> None:
    """What the task does not read, exits that never are, no end, more trials than configs, latency of a user's task."""
    text = STUDY.replace("batch_size: 64", "bathc_size: 64").replace("[0, 1]}", "[0, 5]}").replace("{trials: 60}", "{}")
    said = [str(f) for f in lint_study(Study.loads(text))]
    assert any("space.bathc_size: the classify task does not read it: did you mean 'batch_size'" in f for f in said)
    assert any("space.exits: [5] never make a head" in f for f in said)
    assert any("budget: nothing ends this study" in f for f in said)
    mine = {"study": "s", "space": {"a": {"int": [1, 3]}}, "objectives": {"latency_ms": "minimize"}, "task": "m:f"}
    said = [str(f) for f in lint_study(Study.parse({**mine, "budget": {"trials": 9}}))]
    assert any("9 trials for 3 configs" in f for f in said)
    assert any("has to report it itself" in f for f in said)
    assert lint_study(Study.loads(STUDY)) == ()


def test_lint_reads_as_json() -> None:
    """Findings are plain text that `plan --json` can show."""
    assert json.dumps([str(f) for f in lint_space(Space.parse({"a": 1}))])


def test_what_buys_no_time_and_what_nobody_reads_is_odd() -> None:
    """Scales of groups where latency counts, and a horizon without a schedule."""
    said = {"study": "s", "space": {"width": {"int": [4, 8]}, "granularity": "group", "horizon": 5}}
    slow = lint_study(Study.parse({**said, "objectives": {"latency_ms": "minimize"}}))
    small = lint_study(Study.parse({**said, "objectives": {"bytes": "minimize"}}))
    assert any("runs float32" in f.message for f in slow)
    assert not any("runs float32" in f.message for f in small)
    assert any(f.path == "space.horizon" and "without a schedule" in f.message for f in small)
