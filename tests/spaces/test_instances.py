"""Instances of a command: read from a list, a number or a file, and refused with value, rule and remedy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from spaces.errors import StudyError
from spaces.study import Study


def study(task: dict[str, Any], base: Path | None = None, **changes: Any) -> Study:
    said: dict[str, Any] = {
        "study": "races",
        "space": {"x": {"float": [0, 1]}},
        "objectives": {"run_time_s": "minimize"},
        "search": {"scheduler": "acband", "searcher": "random", "R": 400},
        "task": {"command": ["solve"], **task},
    }
    return Study.parse({**said, **changes}, base)


@pytest.mark.parametrize(
    ("said", "names"), [(3, ("1", "2", "3")), (["a.cnf", 7], ("a.cnf", "7")), ({"file": "list.txt"}, ("a b", "c"))]
)
def test_three_ways(tmp_path: Path, said: object, names: tuple[str, ...]) -> None:
    """A number counts from 1, a list is taken as it is, a file has a name a line; the study keeps the names."""
    (tmp_path / "list.txt").write_text("# two of them\n a b \n\nc\n")
    found = study({"instances": said, "cap_s": 2}, tmp_path)
    assert found.task.instances == names
    assert Study.parse(found.dump()) == found


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ({"instances": 0, "cap_s": 1}, "0 is no number of instances from 1 to 100000"),
        ({"instances": [], "cap_s": 1}, r"\[\] lists no instances"),
        ({"instances": [1.5], "cap_s": 1}, "1.5 is no instance's name"),
        ({"instances": {"file": "gone.txt"}, "cap_s": 1}, "gone.txt cannot be read: No such file"),
        ({"instances": {"flie": "x"}, "cap_s": 1}, "names no file: write instances"),
        ({"instances": 3}, "cap_s = None is not a number of seconds above 0"),
        ({"instances": 3, "cap_s": 0}, "cap_s = 0 is not a number of seconds above 0"),
        ({"cap_s": 3}, "cap_s caps a run on an instance: give instances too"),
        ({}, "acband races configs on instances"),
    ],
)
def test_refused(tmp_path: Path, task: dict[str, Any], words: str) -> None:
    """Each mistake is named with its rule."""
    with pytest.raises(StudyError, match=words):
        study(task, tmp_path)


def test_the_pair_belongs_together() -> None:
    """Instances need a scheduler that races them, and its budget is R, not steps."""
    with pytest.raises(StudyError, match="runs on instances: use scheduler: acband"):
        study({"instances": 3, "cap_s": 1}, search={"scheduler": "asha"})
    with pytest.raises(StudyError, match=r"set search\.R instead of budget\.steps"):
        study({"instances": 3, "cap_s": 1}, budget={"steps": 9})
