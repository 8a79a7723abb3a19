"""`validate` and `plan` refuse what `run` would refuse: the search is built, not only read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from searchd import store as stores
from searchd.cli import main
from searchd.errors import Missing
from tests.support.world import World, spec

STUDY = "study: x\nspace: {{width: {{int: [8, 32]}}}}\nobjectives: {{val_error: minimize}}\nsearch: {{{}}}\n"


@pytest.mark.parametrize(
    ("search", "says"),
    [
        ("scheduler: asha, brackets: 3", "asha has one bracket, but brackets = 3: use hyperband or async-hyperband"),
        ("scheduler: asha, options: {promotion: delay}", "options.promotion = 'delay': did you mean 'delayed'?"),
        ("options: {rule: quantile}", "auto × auto has no option 'rule'"),
        ("searcher: tpe, options: {startup: 0}", "options.startup needs a whole number from 1 up, but is 0"),
    ],
)
@pytest.mark.parametrize("command", ["validate", "plan"])
def test_options_of_the_search_are_checked_with_their_line(
    tmp_path: Path, command: str, search: str, says: str
) -> None:
    """An option that scheduler and searcher do not take is a problem of the file: exit code 2, with its line."""
    file = tmp_path / "study.yaml"
    file.write_text(STUDY.format(search))
    answer = CliRunner().invoke(main, [command, str(file)])
    assert answer.exit_code == 2
    assert says in answer.stderr
    assert f"{file}:4: search" in answer.stderr


def test_validate_in_json_carries_the_problem(tmp_path: Path) -> None:
    """`--json` answers `ok: false` and the problem on stdout, with exit code 2."""
    file = tmp_path / "study.yaml"
    file.write_text(STUDY.format("scheduler: fifo, brackets: 2"))
    answer = CliRunner().invoke(main, ["validate", str(file), "--json"])
    assert answer.exit_code == 2
    assert json.loads(answer.stdout)["problems"][0]["line"] == 4


def test_validate_says_that_nothing_keeps_the_bounds(tmp_path: Path) -> None:
    """A bound on a metric that needs no training is tried on drawn configs before anything is spent."""
    file = tmp_path / "study.yaml"
    text = "study: x\nspace: {width: {int: [8, 32]}}\n"
    text += "objectives: {val_error: minimize, bytes: {goal: minimize, at_most: B}}\n"
    file.write_text((text + "budget: {trials: 9}\n").replace("B}}", "10}}"))
    said = CliRunner().invoke(main, ["validate", str(file)]).stdout
    assert "look: none of 512 configs drawn keeps the bounds (bytes = " in said
    file.write_text((text + "budget: {trials: 9}\n").replace("B}}", "1e9}}"))
    assert "bounds" not in CliRunner().invoke(main, ["validate", str(file)]).stdout


def test_validate_names_a_parameter_that_nobody_reads(tmp_path: Path) -> None:
    """A misspelt parameter is allowed, yet the built-in task would train with its default: it is said at once."""
    file = tmp_path / "study.yaml"
    file.write_text(
        "study: x\nspace: {widht: {int: [8, 32]}}\nobjectives: {val_error: minimize}\nbudget: {trials: 9}\n"
    )
    answer = CliRunner().invoke(main, ["validate", str(file)])
    assert answer.exit_code == 0
    assert "look: space.widht: the classify task does not read it: did you mean 'width'?" in answer.stdout


def test_a_slip_beside_the_function_has_its_line(tmp_path: Path) -> None:
    """A key of ours misspelt in a file is told, and does not reach the task as an option."""
    file = tmp_path / "study.yaml"
    file.write_text(STUDY.format("r: 1") + "task: {function: 'a:b', descibe: 'a:c'}\n")
    answer = CliRunner().invoke(main, ["validate", str(file)])
    assert answer.exit_code == 2
    assert f"{file}:5: task.descibe: 'descibe' looks like 'describe'" in answer.stderr


WARM = """
study: next
space: {{x: {{float: [0, 1]}}, layers: {{int: [1, 9]}}}}
objectives: {{{objective}: minimize}}
budget: {{trials: 9}}
task: somewhere:train
warm_start: [{names}]
"""


def looks(folder: Path, names: str, *args: str, objective: str = "loss") -> list[str]:
    file = folder / "next.yaml"
    file.write_text(WARM.format(names=names, objective=objective))
    answer = CliRunner().invoke(main, ["validate", str(file), "--json", *args])
    assert answer.exit_code == 0, answer.output
    found: list[str] = [said for said in json.loads(answer.stdout)["look"] if said.startswith("warm_start")]
    return found


def test_validate_looks_earlier_studies_up(tmp_path: Path) -> None:
    """Which of them is not there, and of which nothing can be learned, is said; what is there is not, by name or
    folder."""
    (tmp_path / "out" / "toy").mkdir(parents=True)
    world = World(tmp_path / "out" / "toy")
    assert world.run(world.submit(spec())) == "done"
    world.close()
    root = ("--root", str(tmp_path / "out"))
    assert looks(tmp_path, f"toy, {tmp_path}/out/toy", *root) == []
    [missing] = looks(tmp_path, "toy, tyo", *root)
    assert "no study 'tyo'; did you mean 'toy'?" in missing
    [useless] = looks(tmp_path, "toy", *root, objective="accuracy")
    assert "nothing can be learned from 'toy': its reports have no accuracy" in useless


def test_validate_says_nothing_that_it_cannot_know(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a folder, or without the part that reads one, a name is no mistake; a daemon that does not answer is told
    once."""
    nowhere = ("--root", str(tmp_path / "nowhere"))
    assert looks(tmp_path, "toy, tyo", *nowhere) == []
    [told] = looks(tmp_path, "toy, tyo", "--url", "http://127.0.0.1:9")
    assert "does not answer" in told

    def bare(*_: object, **__: object) -> None:
        raise Missing("reading a study's database needs sqlalchemy")

    (tmp_path / "out" / "toy").mkdir(parents=True)
    (tmp_path / "out" / "toy" / "study.db").touch()
    monkeypatch.setattr(stores, "open_store", bare)
    assert looks(tmp_path, "toy, tyo", "--root", str(tmp_path / "out")) == []
