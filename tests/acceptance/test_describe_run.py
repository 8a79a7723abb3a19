"""A study whose task describes its configs by jobs, from its file to its front, with real processes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support import tasks_for_workers
from tests.support.runs import running

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(120)]

STUDY = """
study: sized
space: {x: {float: [0, 1]}, k: {int: [1, 4]}}
objectives: {error: minimize, size: {goal: minimize, at_most: 25}}
search: {scheduler: asha, searcher: random, r: 1, R: 3, eta: 3}
budget: {trials: 10, parallel: 2}
task: {function: "tasks_for_workers:learns", describe: "tasks_for_workers:size"}
"""


def test_what_is_described_is_on_the_front_and_what_is_vetoed_never_trains(tmp_path: Path) -> None:
    """`searchd run` lets its workers call both functions; a bound and a veto act before any step is trained."""
    shutil.copy(str(tasks_for_workers.__file__), tmp_path)
    file = tmp_path / "sized.yaml"
    file.write_text(STUDY)
    with running(file, tmp_path / "out", "--json") as run:
        answer = run.answer()
        trials = run.client.trials("sized")
        assert answer["summary"]["status"] == "done"
        assert all(t["status"] == "vetoed" and t["step"] == 0 for t in trials if t["config"]["k"] > 2)
        assert all(t["status"] in ("paused", "done") and t["step"] > 0 for t in trials if t["config"]["k"] <= 2)
        assert {t["reason"] for t in trials if t["status"] == "vetoed"} <= {
            "size = 30, at most 25 allowed", "four is too many"
        }  # fmt: skip
        assert 0 < sum(t["status"] == "vetoed" for t in trials) < 10
        assert answer["front"]
        assert all(p["metrics"]["size"] == 10 * p["config"]["k"] for p in answer["front"])
