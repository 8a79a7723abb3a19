"""Reports that lack an objective: a slip is told at once, what may come later is waited for, lines are looked at."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from workers.rehearse import Rehearsal, rehearse
from workers.tasks import command
from workers.trial import Trial


def reporting(tmp_path: Path, name: str, objectives: list[str], *, late: bool = True) -> Rehearsal:
    """A function that reports `name` at every step, and what is needed at the last one."""

    def train(trial: Trial) -> None:
        for step in trial.steps():
            trial.report({name: 0.5})
            if late and step == 4:
                trial.report(dict.fromkeys(objectives, 0.5))

    return rehearse(train, {}, until=4, folder=tmp_path, objectives=objectives)


@pytest.mark.parametrize(("name", "objective"), [("los", "loss"), ("val_eror", "val_error"), ("valError", "val_error"),
                                                 ("er", "err"), ("accuarcy", "accuracy")])  # fmt: skip
def test_a_slip_is_told_at_the_first_report(tmp_path: Path, name: str, objective: str) -> None:
    """Nothing more is trained for a name that was meant to be the objective's."""
    run = reporting(tmp_path, name, [objective])
    assert (run.outcome, run.reason, run.reports) == ("failed", "no objective reported", [])
    said = f"step 1 reports {name}, and the objectives need {objective}: did you mean {objective}?"
    assert run.error == said


@pytest.mark.parametrize(
    ("name", "objectives"),
    [("acc1", ["acc5"]), ("mae", ["mse"]), ("mae", ["mape"]), ("val_mse", ["val_msle"]), ("time_ms", ["time_s"]),
     ("acc_m", ["acc_mm"]), ("latency_ms", ["latency_s"]), ("loss", ["loss_q"]), ("train_loss", ["val_loss"]),
     ("loss", ["losses", "loss"]), ("score", ["loss"])],
)  # fmt: skip
def test_what_may_come_later_is_waited_for(tmp_path: Path, name: str, objectives: list[str]) -> None:
    """Another metric early, an objective itself, and the objectives at the end: as it is meant."""
    run = reporting(tmp_path, name, objectives)
    assert (run.outcome, len(run.reports)) == ("finished", 4)


def test_a_slip_after_the_first_report_is_told_at_the_end(tmp_path: Path) -> None:
    """Later reports are looked at only where a trial is judged."""

    def train(trial: Trial) -> None:
        for step in trial.steps():
            trial.report({"score" if step == 1 else "los": 0.5})

    run = rehearse(train, {}, until=3, folder=tmp_path, objectives=["loss"])
    assert len(run.reports) == 2
    assert run.error.startswith("step 3 reports los")


def test_another_name_is_told_where_a_trial_is_judged(tmp_path: Path) -> None:
    """What the report has, what is needed, and how it is said."""
    run = reporting(tmp_path, "score", ["loss"], late=False)
    assert run.error == ("step 4: the report has score, but the objectives need loss; call trial.report(loss=…) "
                         "in every step")  # fmt: skip


def program(tmp_path: Path, code: str, *, kind: str = "command") -> Rehearsal:
    (tmp_path / "say.py").write_text(code)
    run = command.runner([sys.executable, "say.py"], ("command",), (str(tmp_path),))
    return rehearse(run, {}, until=3, folder=tmp_path / "out", objectives=["err"], kind=kind)


def test_a_program_with_a_metric_of_another_name(tmp_path: Path) -> None:
    """It ends after its only line: the objective that it never said is named, with what it said."""
    run = program(tmp_path, "print('{\"score\": 0.2}')")
    assert run.reason == "ended at step 1"
    assert "let it run until it gets SIGTERM. Its lines have score, and the objectives need err" in run.error


def test_a_program_with_a_slip_in_its_metric(tmp_path: Path) -> None:
    """It is told at its first line, though the program ends at once."""
    run = program(tmp_path, "print('{\"er\": 0.2}')")
    assert run.error == "step 1 reports er, and the objectives need err: did you mean err?"


def test_a_program_whose_lines_are_no_json(tmp_path: Path) -> None:
    """A printed dict of Python looks like JSON and is none."""
    run = program(tmp_path, "print({'err': 0.2})")
    assert run.reason == "ended at step 0"
    assert "none of its lines was JSON: {'err': 0.2} is none" in run.error
    assert 'print a line of JSON such as {"err": 0.5}' in run.error


def test_a_program_that_ends_too_early(tmp_path: Path) -> None:
    """With the right metric nothing else is wrong."""
    run = program(tmp_path, "print('{\"err\": 0.2}')")
    assert run.error == "the command ended after step 1, but the trial goes on; let it run until it gets SIGTERM"
