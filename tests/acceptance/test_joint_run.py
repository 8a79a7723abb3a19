"""The example that searches everything at once, from its file to a verified front, with real processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.examples import smaller
from tests.support.runs import running

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(150)]


def _change(spec: dict[str, Any]) -> None:
    spec["search"] |= {"R": 3}
    spec["space"]["horizon"] = {"const": 3}
    spec["budget"] = {"trials": 5, "parallel": 2}


def test_architecture_bits_exits_and_optimizer_in_one_study(tmp_path: Path) -> None:
    """`searchd run examples/joint.yaml`, smaller: a front of exported networks, each better than guessing."""
    with running(smaller("joint", tmp_path, _change), tmp_path / "out", "--json") as run:
        answer = run.answer()
        assert answer["summary"]["status"] == "done"
        assert answer["front"]
        for point in answer["front"]:
            assert point["verified"]
            assert point["metrics"]["val_error"] <= 80
            assert point["metrics"]["latency_ms"] > 0
            assert {"width", "depth", "exit_weights", "optimizer"} <= set(point["config"])
            assert (tmp_path / "out" / "joint" / "trials" / str(point["trial"]) / "model.onnx").is_file()
