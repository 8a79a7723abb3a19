"""Algorithm configuration end to end: a real program raced by real workers over instances, losers cut."""

from __future__ import annotations

from pathlib import Path

import pytest

from searchd.replay import replay
from searchd.store import open_store
from searchd.wire import cut, cut_s
from tests.support.runs import Run

pytestmark = pytest.mark.acceptance

SOLVER = """
import json, os, sys, time
config = json.load(sys.stdin)
assert os.environ["SEARCHD_INSTANCE"] in ("a", "b") and os.environ["SEARCHD_INSTANCE_SEED"].isdigit()
time.sleep(config["nap"])
print(json.dumps({"tries": 3}))
"""
STUDY = """
study: races
space: {nap: {float: [0.02, 9], log: true}}
objectives: {run_time_s: minimize}
search: {scheduler: acband, searcher: random, R: 8, unit: instance, options: {alpha: 0.5, delta: 0.25, k: 2}}
task: {command: ["{python}", solver.py], instances: [a, b], cap_s: 6}
seed: 5
"""


@pytest.mark.timeout(180)
def test_a_race(tmp_path: Path) -> None:
    """The fastest config wins, a slow run ends long before its cap once somebody solved the instance, and the log
    replays."""
    (tmp_path / "solver.py").write_text(SOLVER)
    file = tmp_path / "study.yaml"
    file.write_text(STUDY)
    run = Run(file, tmp_path / "out", "--json")
    code, _, err = run.end()
    assert code == 0, err
    assert run.client.show("races")["status"] == "done"
    trials = run.client.trials("races")
    naps = {trial["trial"]: trial["config"]["nap"] for trial in trials}
    assert len(naps) == 4
    (point,) = run.client.front("races")
    assert naps[point["trial"]] == min(naps.values())
    assert point["metrics"]["solved"] == 1.0
    assert point["metrics"]["tries"] == 3.0
    assert point["metrics"]["instances"] >= 4
    store = open_store(f"sqlite:///{tmp_path / 'out' / 'races' / 'study.db'}", readonly=True)
    with store.reading() as reader:
        study = reader.studies()[0].id
        reports = reader.reports(study)
        assert replay(reader, study).equal
    store.close()
    by_instance: dict[int, list[dict[str, float]]] = {}
    for report in reports:
        by_instance.setdefault(report.step, []).append(dict(report.metrics))
    raced = [runs for runs in by_instance.values() if len(runs) == 2]
    assert raced
    slowest = max(naps.values())
    assert slowest > 2, "the seed draws a slow config"
    cut_short = [m for runs in raced for m in runs if not m["solved"]]
    assert cut_short, "somebody was cut"
    for runs in raced:
        solved = [m["run_time_s"] for m in runs if m["solved"]]
        assert all(m["run_time_s"] > min(solved) for m in runs if not m["solved"]), "cut means slower"
    assert min(m["run_time_s"] for m in cut_short) < 5, "and was cut before its cap"
    assert {m["par10_s"] for m in cut_short} == {60.0}


def test_the_words_of_a_cut() -> None:
    """What the daemon writes the worker reads back to the last bit; any other reason is no cut."""
    assert cut_s(cut(0.1 + 0.2, "trial 3 was faster")) == 0.1 + 0.2
    assert cut_s("stopped by the user") is None
    assert cut_s("cut at noon") is None
