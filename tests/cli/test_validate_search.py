"""`validate` and `plan` refuse what `run` would refuse: the search is built, not only read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from searchd.cli import main

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


def test_validate_names_a_parameter_that_nobody_reads(tmp_path: Path) -> None:
    """A misspelt parameter is allowed, yet the built-in task would train with its default: it is said at once."""
    file = tmp_path / "study.yaml"
    file.write_text(
        "study: x\nspace: {widht: {int: [8, 32]}}\nobjectives: {val_error: minimize}\nbudget: {trials: 9}\n"
    )
    answer = CliRunner().invoke(main, ["validate", str(file)])
    assert answer.exit_code == 0
    assert "look: space.widht: the classify task does not read it: did you mean 'width'?" in answer.stdout
