"""`searchd deepen` with real processes and real training: a finished study goes on from its checkpoints."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner

from searchd import Client
from searchd.cli import main
from searchd.folder import Folder
from searchd.replay import replay
from tests.support.runs import running

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(200)]

STUDY = """
study: deep
space: {lr: {float: [0.01, 1.0], log: true}, decay: {float: [1.0e-6, 0.1], log: true}}
objectives: {val_error: minimize}
search: {scheduler: hyperband, searcher: random, r: 1, R: 3, eta: 3}
budget: {parallel: 2}
task: softmax_of_ours:train
"""

TASK = '''
"""Softmax regression on handwritten digits, in NumPy. Each step that is computed leaves a line."""

import numpy as np
from sklearn.datasets import load_digits


def train(trial):
    x, y = load_digits(return_X_y=True)
    x = np.hstack([x / 16, np.ones((len(x), 1))])
    order = np.random.default_rng(0).permutation(len(x))
    train, held = order[400:], order[:400]
    saved = trial.load(w=None)
    w = saved.get("w")
    w = np.zeros((x.shape[1], 10)) if w is None else np.array(w)
    for step in trial.steps():
        for batch in np.array_split(np.random.default_rng((trial.seed, step)).permutation(train), 20):
            p = np.exp(x[batch] @ w - (x[batch] @ w).max(axis=1, keepdims=True))
            p /= p.sum(axis=1, keepdims=True)
            p[np.arange(len(batch)), y[batch]] -= 1
            w = w - trial.config["lr"] * (x[batch].T @ p / len(batch) + trial.config["decay"] * w)
        with (trial.files / "computed.txt").open("a") as log:
            log.write(f"{step} {np.abs(w).sum():.12f}\\n")
        trial.report(val_error=100 * (np.argmax(x[held] @ w, axis=1) != y[held]).mean())
        trial.save(w=w)
'''


def computed(folder: Path) -> dict[int, list[str]]:
    """The steps that each trial's training really computed, with the size of its weights after each."""
    return {int(f.parent.name): f.read_text().splitlines() for f in folder.glob("trials/*/computed.txt")}


def test_a_finished_study_is_deepened(tmp_path: Path) -> None:
    """The price is the table's (3 → 9: 58 steps more), exactly those steps are trained, each once and from the weights
    of before; the log replays; the file of before still names the study."""
    file, out = tmp_path / "deep.yaml", tmp_path / "out"
    file.write_text(STUDY)
    (tmp_path / "softmax_of_ours.py").write_text(TASK)
    with running(file, out, "--json") as run:
        first = run.answer()
    assert first["summary"]["steps_done"] == 11
    before = computed(out / "deep")

    root = ("--root", str(out))
    told = CliRunner().invoke(main, ["deepen", "deep", "--max-resource", "9", *root, "--json"])
    assert told.exit_code == 0, told.output
    price = json.loads(told.stdout)["price"]
    assert not json.loads(told.stdout)["deepened"]
    assert (price["extra"]["steps"], price["extra"]["trials"]) == (69 - 11, 17 - 5)
    wrong = CliRunner().invoke(main, ["deepen", "deep", "--max-resource", "10", *root])
    assert wrong.exit_code == 2
    assert "choose 9 or 27" in wrong.stderr
    with running(file, out, "--json") as run:
        assert run.answer()["summary"]["steps_done"] == 11, "nothing was changed"

    with running("deep", out, "--json", command=("deepen", "--max-resource", "9", "--yes", "--root")) as run:
        answer = run.answer()
    assert answer["deepened"]
    assert answer["summary"]["status"] == "done"
    assert answer["summary"]["steps_done"] == 69
    assert answer["summary"]["trials"]["total"] == 17
    after = computed(out / "deep")
    for trial, lines in after.items():
        steps = [int(line.split()[0]) for line in lines]
        assert steps == list(range(1, len(steps) + 1)), f"trial {trial} computed {steps}"
        assert lines[: len(before.get(trial, []))] == before.get(trial, [])
    assert sum(map(len, after.values())) == 69
    assert max(map(len, after.values())) == 9
    assert Counter(len(lines) > len(before[t]) for t, lines in after.items() if t in before)[True] >= 1

    with Client(root=out) as client:
        assert client.spec("deep")["search"]["R"] == 9
        going = [j for t in client.trials("deep") for j in client.trial("deep", t["trial"])["jobs"] if j["since"] == 3]
        assert going, "somebody went on from the old R"
        assert all(j["attempt"] == 1 for j in going)
    folder = Folder(out)
    with folder.opened("deep") as (reader, identity):
        assert replay(reader, identity).equal
    folder.close()
    with running(file, out, "--json") as run:
        assert run.answer()["summary"]["steps_done"] == 69
