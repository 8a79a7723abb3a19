"""What a training reads of a parameter that is a schedule: a number a step, in a function, a command, the built-in."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from workers.rehearse import Rehearsal, rehearse
from workers.tasks import command
from workers.trial import Trial

LR = {"schedule": "piecewise", "knots": [1, 3], "values": [0.4, 0.1], "log": True}


def test_a_function_reads_the_value_of_its_step(tmp_path: Path) -> None:
    """`trial.at()` is the config of the step that runs, also after a resume; `trial.at(step)` that of any other."""

    def train(trial: Trial) -> None:
        trial.load(n=None)
        assert trial.at()["lr"] == 0.4
        for step in trial.steps():
            assert trial.at() == trial.at(step)
            trial.report(lr=trial.at()["lr"], last=trial.at(27)["lr"])
            trial.save(n=step)

    first = rehearse(train, {"lr": LR, "width": 8}, until=2, folder=tmp_path)
    then = rehearse(train, {"lr": LR, "width": 8}, until=4, resume=first)
    told = [r.metrics["lr"] for r in first.reports + then.reports]
    assert told == pytest.approx([0.4, 0.2, 0.1, 0.1])
    assert {r.metrics["last"] for r in then.reports} == {0.1}


def test_a_command_finds_knots_and_values_in_its_config(tmp_path: Path) -> None:
    """The config file has the schedule as plain numbers: knots, values, whether the lines are on a log scale."""
    script = tmp_path / "train.py"
    script.write_text(
        "import json, sys\n"
        "lr = json.load(sys.stdin)['lr']\n"
        "said = {'knots': sum(lr['knots']), 'values': sum(lr['values']), 'log': int(lr['log'])}\n"
        "print(json.dumps(said), flush=True)\n"
        "sys.stdin.close(); import time; time.sleep(9)\n"
    )
    run = command.runner([sys.executable, str(script)], ("command",), (str(tmp_path),))
    told = rehearse(run, {"lr": LR}, until=1, folder=tmp_path / "out").reports
    assert told[0].metrics == {"knots": 4.0, "values": 0.5, "log": 1.0}
    assert json.loads((tmp_path / "out" / "trials" / "0" / "config.json").read_text())["lr"] == LR


def test_the_built_in_task_follows_a_schedule() -> None:
    """A constant schedule trains as the number does; a falling one does not; resumed in parts equals run through."""
    torch_task = pytest.importorskip("workers.tasks.classify")

    def go(lr: object, until: int, resume: Rehearsal | None = None) -> Rehearsal:
        config = {"width": 4, "depth": 1, "optimizer": {"name": "sgd", "lr": lr}}
        return rehearse(torch_task.train, config, until=until, kind="classify", resume=resume)

    flat = {**LR, "values": [0.1, 0.1]}
    falls = {**LR, "values": [0.1, 0.001]}
    number, constant, falling = go(0.1, 3), go(flat, 3), go(falls, 3)
    assert [r.metrics for r in number.reports] == [r.metrics for r in constant.reports]
    assert number.reports[0].metrics == falling.reports[0].metrics
    assert number.reports[-1].metrics != falling.reports[-1].metrics
    first = go(falls, 2)
    rest = go(falls, 3, first)
    assert [r.metrics for r in first.reports + rest.reports] == [r.metrics for r in falling.reports]
