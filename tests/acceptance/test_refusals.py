"""Real workers, one of which lacks the user's module: the other does the study; and a study that all refuse waits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from searchd.cli import main
from tests.support.broker import Broker
from tests.support.fleet import Fleet
from tests.support.service import Service

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(240)]


def study(name: str, **more: Any) -> dict[str, Any]:
    return {
        "study": name, "space": {"x": {"float": [0, 1]}}, "objectives": {"error": "minimize"},
        "search": {"scheduler": "asha", "searcher": "random", "r": 1, "R": 9, "eta": 3},
        "budget": {"trials": 30}, "task": "tasks_for_workers:learns", **more,
    }  # fmt: skip


def check(at: Service, name: str, trials: int) -> None:
    """No trial failed, every step has one report, and the log replays."""
    found = at.client.trials(name)
    assert len(found) == trials
    assert {trial["status"] for trial in found} <= {"done", "paused", "stopped"}
    for trial in found:
        steps = [report["step"] for report in at.client.trial(name, trial["trial"])["reports"]]
        assert steps == list(range(1, trial["step"] + 1))
    assert at.replays(name)


def test_a_worker_without_the_module_harms_nobody(at: Service, broker: Broker, tmp_path: Path) -> None:
    """Beside a worker that has the module, one that lacks it is asked for no more jobs than were on their way; all
    trials are trained. With that one alone a study says why it waits, and goes on with one that has the module."""
    empty = tmp_path / "empty"
    empty.mkdir()
    with Fleet(broker, tmp_path, path=empty) as lacks:
        lacks.ready()
        with Fleet(broker, tmp_path) as has:
            has.ready()
            at.until(lambda: len(at.client.workers()) == 2, "both are seen")
            at.client.submit(study("learns"))
            assert at.client.wait("learns", 120)["status"] == "done"
            check(at, "learns", 30)
            lost = at.events("learns", "lost")
            assert len(lost) <= 2
            assert {e["payload"]["cause"] for e in lost} <= {"refused"}
            done = {e["payload"]["worker"] for e in at.events("learns", "begun")}
            assert f"{has.name}-0" in done
            assert has.terminate() == 0
        at.until(lambda: len(at.client.workers()) == 1, "one is left")
        at.client.submit(study("alone", budget={"trials": 6}))
        said = "every worker refuses it: module tasks_for_workers of task tasks_for_workers:learns is not found by this"
        at.until(lambda: at.events("alone", "waits"), "it is noted")
        assert at.client.show("alone")["waits"].startswith(said)
        told = CliRunner().invoke(main, ["show", "alone", "--url", at.client.backend.url])  # type: ignore[attr-defined]
        assert said in " ".join(told.output.split())
        assert len(at.events("alone", "lost")) == 1
        with Fleet(broker, tmp_path) as has:
            has.ready()
            assert at.client.wait("alone", 120)["status"] == "done"
            check(at, "alone", 6)
            assert len(at.events("alone", "lost")) == 1


def test_a_run_of_a_function_that_is_nowhere_ends(tmp_path: Path) -> None:
    """`searchd run` starts its own workers, so that none will come that has the function: it ends and says so, and
    goes on once the function is there."""
    file = tmp_path / "nowhere.yaml"
    file.write_text(
        "study: nowhere\nspace: {x: {float: [0, 1]}}\nobjectives: {error: minimize}\ntask: late_module:train\n"
        "search: {scheduler: fifo, searcher: random, R: 2}\nbudget: {trials: 3, parallel: 1}\n"
    )
    run = ["run", str(file), "--out", str(tmp_path / "out")]
    told = CliRunner().invoke(main, run)
    assert told.exit_code == 1, told.output
    assert "every worker refuses it: module late_module of task late_module:train is not found" in told.output
    (tmp_path / "late_module.py").write_text(
        "def train(trial):\n    for step in trial.steps():\n        trial.report(error=trial.config['x'] / step)\n"
    )
    told = CliRunner().invoke(main, run)
    assert told.exit_code == 0, told.output
    assert "done: 3 trials" in told.output
