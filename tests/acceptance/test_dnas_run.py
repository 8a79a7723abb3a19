"""A search by gradients from its file to exported networks, with real processes; its worker's child is killed once."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from searchd.errors import SearchdError
from tests.support.runs import Run, check_ended, running

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(150)]

STUDY = """
study: blocks
space:
  width: {choice: [4, 8], ordered: true}
  weight: {float: [0.1, 2], log: true}
  theta_lr: 0.1
  batch_size: 16
  optimizer: {choice: {sgd: {lr: 0.05}}}
objectives: {val_error: minimize, latency_ms: minimize, bytes: minimize}
search: {scheduler: asha, searcher: random, r: 3, R: 9, eta: 3}
budget: {trials: 3, parallel: 2}
task: {dnas: {data: wine, layers: 3, loss: proxyless-add, samples: 2}}
"""


def child_at_work(run: Run) -> int | None:
    """The process that trains a step beyond the first; None before that."""
    if run.steps("blocks") < 2:
        return None
    try:
        busy = [w for w in run.client.workers() if w["state"] == "busy" and w.get("child_pid")]
    except SearchdError:
        return None
    return int(busy[0]["child_pid"]) if busy else None


def test_architectures_are_points_that_are_exported_and_measured(tmp_path: Path) -> None:
    """Nothing is lost when a child is killed; every point on the front names its blocks and has a model file whose
    figures were measured anew, beside what the table predicted; the log replays."""
    file = tmp_path / "blocks.yaml"
    file.write_text(STUDY)
    with running(file, tmp_path / "out", "--json") as run:
        os.kill(run.until(lambda: child_at_work(run), "a child at work"), signal.SIGKILL)
        answer = run.answer()
    check_ended(tmp_path / "out", "blocks", 3)
    assert answer["front"]
    for point in answer["front"]:
        metrics = point["metrics"]
        assert point["verified"]
        assert len(metrics["architecture"]) == 3
        assert metrics["bytes"] == 4 * metrics["params"]
        assert metrics["predicted_ms"] > 0
        assert metrics["latency_p95_ms"] >= metrics["latency_ms"] > 0
        files = tmp_path / "out" / "blocks" / "trials" / str(point["trial"])
        assert (files / f"weights-{point['point']}.bin").stat().st_size == metrics["bytes"]
        assert (files / f"model-{point['point']}.onnx").is_file()
        card = json.loads((files / "card.json").read_text())
        assert {p["point"]: p["architecture"] for p in card["points"]}[point["point"]] == metrics["architecture"]
