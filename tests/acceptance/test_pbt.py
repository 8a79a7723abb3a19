"""Population-based training with real workers: a copy has its parent's weights and its own learning rate."""

from __future__ import annotations

from pathlib import Path

import pytest

from searchd.replay import replay
from searchd.store import open_store
from tests.support.runs import Run

pytestmark = pytest.mark.acceptance

TASK = """
import torch

def train(trial):
    model = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(model.weight)
    optimizer = torch.optim.SGD(model.parameters(), lr=trial.config["lr"])
    trial.load(model, optimizer)
    for step in trial.steps():
        optimizer.zero_grad()
        (model.weight.sum() - 1).square().div(2).backward()    # w <- w + lr (1 - w)
        optimizer.step()
        trial.report(error=float(1 - model.weight), lr=optimizer.param_groups[0]["lr"])
        trial.save(model, optimizer)
"""
STUDY = """
study: herd
space: {lr: {float: [0.001, 0.3], log: true}}
objectives: {error: minimize}
search: {scheduler: pbt, searcher: pbt, r: 3, R: 12, options: {population: 4, explore: [lr]}}
budget: {trials: 10}
task: herd:train
seed: 1
"""


@pytest.mark.timeout(180)
def test_a_population(tmp_path: Path) -> None:
    """The error of every copy goes on from its parent's at the step where it took over, at the copy's own rate."""
    (tmp_path / "herd.py").write_text(TASK)
    (tmp_path / "study.yaml").write_text(STUDY)
    run = Run(tmp_path / "study.yaml", tmp_path / "out", "--json")
    code, _, err = run.end()
    assert code == 0, err
    store = open_store(f"sqlite:///{tmp_path / 'out' / 'herd' / 'study.db'}", readonly=True)
    with store.reading() as reader:
        study = reader.studies()[0].id
        asked = [e.payload for e in reader.events(study, kinds=("asked",))]
        reports = {(r.trial, r.step): r.metrics for r in reader.reports(study)}
        assert replay(reader, study).equal
    store.close()
    copies = [(p["trial"], p["parent"], p["since"]) for p in asked if p.get("parent") is not None]
    assert copies, "somebody was copied"
    for trial, parent, since in copies:
        first = reports[trial, since + 1]
        assert min(step for who, step in reports if who == trial) == since + 1
        assert first["lr"] == pytest.approx(run.client.trial("herd", trial)["config"]["lr"])
        assert first["error"] == pytest.approx((1 - first["lr"]) * reports[parent, since]["error"], rel=1e-4)
    assert run.client.show("herd")["steps_done"] == len(reports)
