"""The comparison of optimizers that ships as an example: run as it stands, fair, and told apart by `compare`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from spaces.lint import lint_study
from spaces.study import Study
from tests.support.fleet import ROOT
from tests.support.runs import check_ended, running

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(300)]
FILE = ROOT / "examples" / "optimizers.yaml"


def test_the_example_compares_fairly(tmp_path: Path) -> None:
    """Every optimizer gets as many trials and as many steps, all are judged at the end of their schedule, and the study
    replays; the command prints a line for each."""
    study = Study.load(FILE)
    options = set(study.space["optimizer"].domain.options)
    assert not [f for f in lint_study(study) if "trials" in f.message or "step" in f.message]
    out = tmp_path / "out"
    with running(FILE, out, "--json") as run:
        run.answer()
        found = run.client.compare("optimizers", "optimizer")
    check_ended(out, "optimizers", 24)
    assert found["step"] == study.search.R == 6
    assert {o["option"] for o in found["options"]} == options
    assert {(o["trials"], o["judged"], o["steps"]) for o in found["options"]} == {(4, 4, 24)}
    assert found["options"][0]["best"] < 6
    assert found["test"]["p"] > 0
    with running("optimizers", out, "optimizer", "--json", command=("compare", "--root")) as command:
        assert json.dumps(command.answer()) == json.dumps(found)
