"""Describe jobs on a worker: a function's answer or a program's lines as numbers by name, and what is none."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from searchd.wire import JobSpec
from tests.support import tasks_for_workers
from workers.job import End, run
from workers.rehearse import Rehearsal


def do(tmp_path: Path, task: dict[str, Any], *allow: str, **config: Any) -> End:
    spec = JobSpec(id="j", study="s", trial=3, attempt=1, kind="describe", config=config, nested=config, task=task,
                   seed=5, objectives=("error",), artifacts=str(tmp_path))  # fmt: skip
    return run(spec, Rehearsal(tmp_path), allow, (str(tmp_path),))


def function(tmp_path: Path, said: Any, *allow: str) -> End:
    module = tasks_for_workers.__name__
    task = {"kind": "function", "name": f"{module}:learns", "describe": [f"{module}:describes"]}
    return do(tmp_path, task, *(allow or (f"{module}:*",)), said=said)


def program(tmp_path: Path, code: str, *allow: str) -> End:
    (tmp_path / "say.py").write_text(code)
    task = {"kind": "command", "argv": ["false"], "describe": [sys.executable, "say.py", "{k}"]}
    return do(tmp_path, task, *(allow or ("command",)), k=7)


def test_numbers_by_name(tmp_path: Path) -> None:
    """Whole numbers, floats and 0-d arrays become floats; a veto is kept beside them."""
    end = function(tmp_path, {"parameters": 12, "mb": np.float32(0.5), "ops": np.array(3)})
    assert (end.outcome, end.result) == ("finished", {"metrics": {"parameters": 12.0, "mb": 0.5, "ops": 3.0}})
    end = function(tmp_path, {"mb": 9.5, "veto": " too large "})
    assert end.result == {"metrics": {"mb": 9.5}, "veto": "too large"}


@pytest.mark.parametrize(
    ("said", "text"),
    [
        (None, "it answered None, a NoneType"),
        ([1], "it answered [1], a list"),
        ({"a": "1"}, "metric a is '1', a str"),
        ({"a": [1, 2]}, "metric a is [1, 2]"),
        ({"a": float("nan")}, "a is nan, which is not finite"),
        ({"veto": ""}, "its veto is ''"),
        ({"veto": True}, "its veto is True"),
    ],
)
def test_what_is_no_description_fails_the_trial(tmp_path: Path, said: Any, text: str) -> None:
    """The error says what came and what is wanted."""
    end = function(tmp_path, said)
    assert (end.outcome, end.reason) == ("failed", "bad description")
    assert text in end.error
    assert "numbers by name, all finite" in end.error


def test_both_functions_must_be_allowed(tmp_path: Path) -> None:
    """A worker that allows the training only refuses the job, which another worker may take."""
    end = function(tmp_path, {}, f"{tasks_for_workers.__name__}:learns")
    assert (end.outcome, end.reason) == ("failed", "refused")
    assert "describes is not on this worker's allow-list" in end.error
    assert program(tmp_path, "", "command:false").reason == "refused"


def test_a_program_describes_by_its_lines(tmp_path: Path) -> None:
    """It gets the config as a training gets it; its lines of JSON together are the description, the last word wins."""
    code = """
import json, os, sys
config = json.load(sys.stdin)
print("building")
print(json.dumps({"k": config["k"], "word": 1}))
print(json.dumps({"word": int(sys.argv[1]), "seed": int(os.environ["SEARCHD_SEED"])}))
"""
    end = program(tmp_path, code)
    assert (end.outcome, end.result) == ("finished", {"metrics": {"k": 7.0, "word": 7.0, "seed": 5.0}}), end.error
    end = program(tmp_path, "print('{\"veto\": \"no\"}')")
    assert end.result == {"metrics": {}, "veto": "no"}


@pytest.mark.parametrize(
    ("code", "reason", "text"),
    [
        ("print('hello')", "bad description", "without a line of JSON"),
        ("import sys; print('{}'); sys.exit('no kernel')", "exit code 1", "no kernel"),
        ("print('{\"a\": \"x\"}')", "bad description", "metric a is 'x'"),
    ],
)
def test_a_program_that_describes_nothing(tmp_path: Path, code: str, reason: str, text: str) -> None:
    """No line, another exit code, text for a number: each fails the trial with its reason."""
    end = program(tmp_path, code)
    assert (end.outcome, end.reason) == ("failed", reason)
    assert text in end.error


def test_a_task_without_a_description_refuses_the_job(tmp_path: Path) -> None:
    """The job is another release's; another worker may know more."""
    end = do(tmp_path, {"kind": "command", "argv": ["false"]}, "command")
    assert (end.outcome, end.reason) == ("failed", "refused")
