"""A choice's options compared: the numbers, the test, the same answer everywhere, and what cannot be compared."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from math import inf, isfinite, isnan, nan
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from searchd import Client, views
from searchd.cli import main
from searchd.errors import NotFound, SpaceError
from searchd.store import open_store
from searchd.store.base import Store
from tests.support.app import URL, Asgi, reading_app
from tests.support.stores import report_row, study_row, trial_row
from tests.support.study_db import Written, write_study

SPACE: dict[str, Any] = {
    "optimizer": {"choice": {"sgd": {"lr": {"float": [0, 1]}}, "adamw": {}, "lion": {}, "muon": {}}},
    "width": {"int": [1, 3]},
}
SPEC: dict[str, Any] = {
    "study": "s", "space": SPACE, "objectives": {"val_error": "minimize", "score": "maximize"}, "task": "m:f",
    "search": {"scheduler": "fifo", "searcher": "random", "R": 9, "unit": "epoch"}, "budget": {"trials": 9},
}  # fmt: skip
VALUES: dict[str, list[float]] = {
    "adamw": [4, 2, 3, 5, 1], "sgd": [10, 9, nan, 8, 7], "lion": [20, inf, 30, 40, 50], "muon": [6.5],
}  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """Trials with a value at step 9, and a better one at step 3, where the order is the opposite; the NaN of sgd ended
    its trial as diverged, the infinity of lion's failed."""
    opened = open_store(tmp_path_factory.mktemp("s") / "study.db")
    with opened.transaction() as t:
        t.add_study(study_row("s", name="s", spec=SPEC))
        n = 0
        for option, values in VALUES.items():
            for value in values:
                over = not isfinite(value)
                config = {"optimizer": option, "width": 1 + n % 3}
                reason = "diverged" if isnan(value) else "out of memory" if over else ""
                t.put_trial(trial_row(n, "s", config=config, status="failed" if over else "done", step=3 if over else 9,
                                      reason=reason))  # fmt: skip
                t.add_report(report_row(3, n, "s", metrics={"val_error": -n, "score": n}))
                if not over:
                    t.add_report(report_row(9, n, "s", metrics={"val_error": value, "score": 100 - value}))
                n += 1
    yield opened
    opened.close()


def compare(store: Store, *args: Any) -> dict[str, Any]:
    with store.reading() as reader:
        found = views.compare(reader, "s", *args)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    return found


def test_options_by_the_end_of_training(store: Store) -> None:
    """At the deepest step, the best first; quartiles lie on lines between neighbours, and beyond what is finite there
    is none; what diverged or failed is judged as worst."""
    found = compare(store, "optimizer")
    assert (found["metric"], found["goal"], found["step"], found["unit"]) == ("val_error", "minimize", 9, "epoch")
    assert [o["option"] for o in found["options"]] == ["adamw", "muon", "sgd", "lion"]
    adamw, _, sgd, lion = found["options"]
    assert adamw == {"option": "adamw", "trials": 5, "steps": 45, "judged": 5, "diverged": 0, "failed": 0, "best": 1,
                     "q1": 2, "median": 3, "q3": 4, "trial": 4}  # fmt: skip
    assert (sgd["best"], sgd["median"], sgd["q3"], sgd["diverged"], sgd["steps"]) == (7, 9, 10, 1, 39)
    assert (lion["diverged"], lion["failed"], lion["q3"]) == (0, 1, 50)
    assert found["test"] is None  # muon has one trial


def test_other_metrics_steps_and_parameters(store: Store) -> None:
    """What is maximised is best where it is greatest; another step has another order; any listed parameter can be
    compared, and a rank test of what chance made tells nothing apart."""
    found = compare(store, "optimizer", "score")
    assert found["goal"] == "maximize"
    assert found["options"][0]["best"] == 99
    early = compare(store, "optimizer", None, 3)
    assert [o["option"] for o in early["options"]] == ["muon", "lion", "sgd", "adamw"]
    by_width = compare(store, "width")
    assert by_width["test"] is not None
    assert not by_width["test"]["apart"]


def test_the_judged_are_told_and_only_what_can_be_is_advised(tmp_path: Path) -> None:
    """Without a test the counts that it wants are shown; `balanced` is advised where the study would take it."""
    made = tmp_path / "s"
    made.mkdir()
    opened = open_store(made / "study.db")
    with opened.transaction() as t:
        t.add_study(study_row("s", name="s", spec=SPEC))
        for n in range(8):
            config = {"optimizer": "adamw" if n < 6 else "sgd", "width": 1 if n < 6 else 2}
            t.put_trial(trial_row(n, "s", config=config, status="done", step=9 if n < 7 else 3))
            t.add_report(report_row(9 if n < 7 else 3, n, "s", metrics={"val_error": n}))
    opened.close()

    def said(parameter: str) -> str:
        result = CliRunner(env={"COLUMNS": "200"}).invoke(main, ["compare", "s", parameter, "--root", str(tmp_path)])
        assert result.exit_code == 0, result.output
        return result.output

    by_choice = said("optimizer")
    assert by_choice.splitlines()[1].split()[:4] == ["optimizer", "trials", "judged", "steps"]
    assert "no test: it needs two judged trials or more" in by_choice
    assert "there are adamw 6, sgd 1" in by_choice
    assert "{balanced: optimizer}" in by_choice
    by_int = said("width")
    assert "unequal numbers of trials" in by_int
    assert "balanced" not in by_int


def test_two_that_differ(tmp_path: Path) -> None:
    """1 to 5 against 6 to 10: p = 2 / 252, told apart, and the first is the better one."""
    store = open_store(tmp_path / "study.db")
    with store.transaction() as t:
        t.add_study(study_row("s", name="s", spec=SPEC))
        for n in range(10):
            option = "adamw" if n % 2 else "sgd"
            t.put_trial(trial_row(n, "s", config={"optimizer": option, "width": 1}, status="done", step=9))
            t.add_report(report_row(9, n, "s", metrics={"val_error": n // 2 + 5 * (option == "sgd")}))
    test = compare(store, "optimizer")["test"]
    store.close()
    assert test == {"first": "adamw", "second": "sgd", "better": "adamw", "p": pytest.approx(2 / 252), "apart": True}


@pytest.mark.parametrize(("args", "kind", "text"), [
    (("optimiser",), SpaceError, "did you mean 'optimizer'"),
    (("optimizer.sgd.lr",), SpaceError, "range of many values"),
    (("optimizer", "val_eror"), NotFound, "no metric|has a metric 'val_eror': did you mean 'val_error'"),
])  # fmt: skip
def test_what_cannot_be_compared(store: Store, args: tuple[str, ...], kind: type[Exception], text: str) -> None:
    """A misspelt parameter or metric, and a range: each says what to name instead."""
    with pytest.raises(kind, match=text):
        compare(store, *args)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Written]:
    study = write_study(tmp_path_factory.mktemp("out") / "digits", trials=20)
    yield study
    study.close()


def test_the_same_over_http_and_from_a_folder(written: Written) -> None:
    """Parameter, metric and step reach both; a measured metric is compared at the step of its points."""
    http = Client(URL, transport=Asgi(reading_app(written.store, now=time.time())))
    with http, Client(root=written.folder.parent) as folder:
        for args in (("optimizer",), ("kernel", "train_loss", 1), ("depth", "bytes")):
            found = folder.compare("digits", *args)
            assert http.compare("digits", *args) == json.loads(json.dumps(found))
            assert len(found["options"]) >= 2
        with pytest.raises(SpaceError):
            http.compare("digits", "optimiser")


def test_the_command(written: Written) -> None:
    """A table with a line an option and the verdict; JSON on request; exit code 2 for what is no parameter."""
    root = ["--root", str(written.folder.parent)]
    shown = CliRunner().invoke(main, ["compare", "digits", "optimizer", "--step", "1", *root])
    assert shown.exit_code == 0, shown.output
    for word in ("val_error", "sgd", "adamw", "lion", "median", "rank test"):
        assert word in shown.output, shown.output
    told = CliRunner().invoke(main, ["compare", "digits", "optimizer", "--metric", "bytes", "--json", *root])
    assert json.loads(told.output)["metric"] == "bytes"
    wrong = CliRunner().invoke(main, ["compare", "digits", "optimiser", *root])
    assert wrong.exit_code == 2
