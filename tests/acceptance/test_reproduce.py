"""A point that somebody took away is made again by the command on its card, as it is written there, in a shell."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from searchd import Client
from tests.support.runs import running

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(300)]

NETS = """
study: small
space:
  width: {int: [4, 8]}
  depth: 2
  exits: {const: [0]}
  optimizer: {choice: {adamw: {lr: {float: [0.005, 0.02], log: true}}}}
objectives: {val_error: minimize, latency_ms: minimize}
search: {scheduler: asha, searcher: random, r: 1, R: 3, eta: 3}
budget: {trials: 4, parallel: 1}
task: {classify: {data: digits}}
seed: 8
"""
HERD = """
study: herd
space: {lr: {float: [0.001, 0.3], log: true}}
objectives: {error: minimize}
search: {scheduler: pbt, searcher: pbt, r: 2, R: 8, options: {population: 3, explore: [lr]}}
budget: {trials: 9, parallel: 1}
task: herd:train
seed: 1
"""
TASK = """
import torch

def train(trial):
    model = torch.nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=trial.config["lr"], momentum=0.5)
    trial.load(model, optimizer)
    for step in trial.steps():
        x = torch.randn(8, 4)
        loss = (model(x) - x.sum(1, keepdim=True)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        trial.report(error=loss)
        trial.save(model, optimizer)
"""


def shell(line: str, folder: Path, *more: str) -> tuple[int, str]:
    """What a user sees who types the line in a folder: exit code and both streams. `searchd` is this environment's."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(" ".join([line, *more]), shell=True, cwd=folder, capture_output=True, text=True, check=False,
                          env={**os.environ, "PATH": path})  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def told(card: Path) -> str:
    line: str = json.loads(card.read_text())["reproduce"]["command"]
    return line


def test_the_command_of_a_card_makes_the_point_again(tmp_path: Path) -> None:
    """Errors of a network with exits, of which some jobs were resumed, come out equal to the digit at the thresholds of
    then; and the folder that was taken away verifies, until a file of it is damaged."""
    (tmp_path / "small.yaml").write_text(NETS)
    with running(tmp_path / "small.yaml", tmp_path / "out", "--json") as run:
        front = run.answer()["front"]
        point = next(p for p in front if p["step"] == 3)
        run.client.download("small", point["trial"], tmp_path / "model")
    code, said = shell(told(tmp_path / "model" / "card.json"), tmp_path / "model", "--json", "-q")
    assert code == 0, said
    answer = json.loads(said[said.index("{\n") :])
    rows = [r for r in answer["reproduced"] if r["point"] == point["point"]]
    again = {r["metric"]: r["again"] for r in rows if r["exact"]}
    assert {"val_error", "test_error", "bytes"} <= set(again)
    assert again == {name: point["metrics"][name] for name in again}
    assert all(r["same"] for r in answer["reproduced"] if r["exact"])
    assert {p["point"] for p in answer["front"]} <= {r["point"] for r in answer["reproduced"]}
    code, said = shell("searchd verify model --exact --json", tmp_path)
    assert code == 0, said
    (tmp_path / "model" / "weights.bin").write_bytes(b"")
    code, said = shell("searchd verify model", tmp_path)
    assert code == 1
    assert "weights.bin is not the file that was exported" in said


def lineage(client: Client) -> tuple[dict[str, Any], Sequence[int]]:
    """A trial with a point that has the most ancestors, and these, the nearest first."""
    trials = {t["trial"]: t for t in client.trials("herd")}

    def above(n: int) -> list[int]:
        parent = trials[n]["parent"]
        return [] if parent is None else [parent["trial"], *above(parent["trial"])]

    found = max((t for t in trials if client.trial("herd", t)["points"]), key=lambda t: len(above(t)))
    return client.trial("herd", found), above(found)


def test_a_copy_of_a_copy_of_a_users_function(tmp_path: Path) -> None:
    """Of a population, a trial that began with another's weights is made again with all its ancestors, though it lies
    in another folder than the function, and draws random numbers: the same error."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "herd.py").write_text(TASK)
    (tmp_path / "code" / "herd.yaml").write_text(HERD)
    with running(tmp_path / "code" / "herd.yaml", tmp_path / "out", "--json") as run:
        run.answer()
        trial, ancestors = lineage(run.client)
        assert ancestors
        best = run.client.front("herd")[0]["trial"]
        assert (tmp_path / "out" / "herd" / "trials" / str(best) / "reproduce.yaml").is_file()
        run.client.download("herd", trial["trial"], tmp_path / "taken")
    line = told(tmp_path / "taken" / "card.json")
    code, said = shell(line, tmp_path / "taken", "--json", "-q")
    assert code == 0, said
    (row,) = json.loads(said[said.index("{\n") :])["reproduced"]
    assert row["metric"] == "error"
    assert row["again"] == row["recorded"] == trial["points"][0]["metrics"]["error"]
