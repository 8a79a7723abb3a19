"""A device from its registration to a front that shows what was predicted and what was measured: real processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from searchd.folder import DEVICES
from tests.support.runs import check_ended, running

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(180)]

STUDY = """
study: fast
space:
  width: {choice: [4, 8], ordered: true}
  depth: {const: 2}
  exits: {const: [0]}
objectives: {val_error: minimize, latency_ms: minimize}
search: {scheduler: asha, searcher: random, r: 1, R: 3, eta: 3}
budget: {trials: 3, parallel: 1}
latency: predicted
"""


def test_added_profiled_run_and_shown(tmp_path: Path) -> None:
    """`device add`, `device profile`, `run`: no measure job, and every point of the front has both figures."""
    file, out = tmp_path / "fast.yaml", tmp_path / "out"
    file.write_text(STUDY)
    with running("add", out, "--json", command=("device", "cpu", "--root")) as run:
        assert run.answer()["runtime"] == "onnxruntime"
    with running("profile", out, "--json", command=("device", "cpu", str(file), "--root")) as run:
        found = run.answer()
        assert found["profile"]["operators"] >= 8
        assert found["profile"]["quality"]["error"] >= 0
        assert found["profile"]["stale"] is None
    assert not (out / DEVICES / "daemon.json").exists()
    with running(file, out, "--json") as run:
        answer = run.answer()
        kinds = {e["payload"]["kind"] for e in run.client.log("fast") if e["kind"] == "begun"}
        assert run.client.device("cpu")["profile"]["study"] == "fast"
    assert kinds == {"train", "export"}
    assert answer["front"]
    for point in answer["front"]:
        assert point["metrics"]["latency_ms"] > 0
        assert point["metrics"]["predicted_latency_ms"] > 0
    assert answer["summary"]["predicted"]["points"] >= len(answer["front"])
    check_ended(out, "fast", 3)
