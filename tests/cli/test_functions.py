"""A slip in the name of a study's function is told before anything starts; a name that might be there is not."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from searchd.cli import main
from searchd.functions import defined, lacking
from spaces.task import Task

MODULE = """
import os.path as where
from math import sqrt as root, pi
if True:
    def train(trial): ...
else:
    async def other(trial): ...
try:
    from nowhere import some
except ImportError:
    some = None
with open(__file__) as file:
    one, (two, *three) = 1, (2, 3)
for number in ():
    made: int = 1
class Thing:
    def method(self):
        self.eval(), self.exec(), self.modules
match 1:
    case 1:
        chosen = print
"""
STUDY = "study: s\nspace: {x: {float: [0, 1]}}\nobjectives: {loss: minimize}\nbudget: {trials: 4}\ntask: toy:trian\n"


def task(name: str, describe: str = "") -> Task:
    return Task(kind="function", name=name, describe=(describe,) if describe else ())


def test_what_a_module_defines_is_read_wherever_it_stands() -> None:
    """Functions, classes, imports and assignments of the module, in branches and loops too; nothing of inner scopes."""
    found = defined(MODULE)
    assert found is not None
    assert found == {
        "where", "root", "pi", "train", "other", "some", "file", "one", "two", "three", "number", "made", "Thing",
        "chosen",
    }  # fmt: skip
    loaded: dict[str, object] = {}
    exec(compile(MODULE.replace("__file__", repr(__file__)), "toy", "exec"), loaded)
    assert {n for n in loaded if not n.startswith("__")} - {"number", "made"} <= found


@pytest.mark.parametrize("encoding", ["utf-8-sig", "latin-1"])
def test_a_file_is_read_as_python_reads_it(tmp_path: Path, encoding: str) -> None:
    """A mark at its beginning, as some editors write it, and the encoding that its first line names."""
    said = "# coding: latin-1\n" if encoding == "latin-1" else ""
    (tmp_path / "toy.py").write_bytes(f"{said}name = 'é'\ndef train(trial): ...\n".encode(encoding))
    assert lacking(task("toy:train"), tmp_path) == ""
    assert "no function 'trian'" in lacking(task("toy:trian"), tmp_path)


@pytest.mark.parametrize("line", [
    "from math import *", "def __getattr__(name): ...", "globals()['trian'] = print", "exec('def trian(t): ...')",
    "import sys\nsys.modules[__name__].trian = print", "locals()['trian'] = print",
    "import builtins\nbuiltins.exec('def trian(t): ...')", "def make():\n    global trian\n    trian = print\nmake()",
])  # fmt: skip
def test_where_only_running_it_tells_nothing_is_said(tmp_path: Path, line: str) -> None:
    (tmp_path / "toy.py").write_text(line)
    assert defined(line) is None
    assert lacking(task("toy:trian"), tmp_path) == ""


def test_a_slip_is_told_with_the_name_that_is_meant(tmp_path: Path) -> None:
    """Of the training function and of `describe`; a package's module too; and a file that is no Python."""
    (tmp_path / "toy.py").write_text("def train(trial): ...\ndef size(config): ...\n")
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "inner.py").write_text("def train(trial): ...\n")
    assert lacking(task("toy:train", "toy:size"), tmp_path) == ""
    assert lacking(task("toy:trian"), tmp_path) == "toy.py has no function 'trian': did you mean 'train'?"
    assert lacking(task("toy:train", "toy:sizes"), tmp_path) == "toy.py has no function 'sizes': did you mean 'size'?"
    assert lacking(task("pack.inner:trane"), tmp_path) == "inner.py has no function 'trane': did you mean 'train'?"
    (tmp_path / "toy.py").write_text("def train(trial):\n    if\n")
    assert lacking(task("toy:train"), tmp_path) == "toy.py, line 2: invalid syntax"


def test_of_what_is_not_here_nothing_is_said(tmp_path: Path) -> None:
    """A module that is not beside the file, one that is installed and comes first, a task that is no function."""
    (tmp_path / "json.py").write_text("")
    for name in ("elsewhere:train", "json:trian", "pack.inner:train"):
        assert lacking(task(name), tmp_path) == ""
    assert lacking(Task(kind="command", name="toy", argv=("toy",)), tmp_path) == ""


def test_validate_looks_and_run_starts_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`validate` points at it; `run` refuses before there is a folder's database, as bad input."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "toy.py").write_text("def train(trial): ...\n")
    (tmp_path / "s.yaml").write_text(STUDY)
    said = "toy.py has no function 'trian': did you mean 'train'?"
    looked = CliRunner().invoke(main, ["validate", "s.yaml"])
    assert looked.exit_code == 0
    assert f"look: task: {said}" in looked.stdout
    ran = CliRunner().invoke(main, ["run", "s.yaml"])
    assert ran.exit_code == 1, ran.output
    assert said in ran.stderr
    assert "nothing was started" in ran.stderr
    assert not (tmp_path / "out" / "s" / "study.db").exists()
