"""The language model example, from its file to an exported front, with real processes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.examples import smaller
from tests.support.runs import running

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(120)]


def _change(spec: dict[str, Any]) -> None:
    spec["search"] |= {"R": 3}
    spec["budget"] = {"trials": 3, "parallel": 2}
    spec["space"]["width"] = {"const": 32}
    spec["task"]["lm"] |= {"context": 32, "updates": 30}


def test_a_front_of_skip_schedules_is_measured_again_from_its_files(tmp_path: Path) -> None:
    """`searchd run examples/language.yaml`, smaller: points of trained models are exported, and their numbers come from
    the files; every one learned something."""
    with running(smaller("language", tmp_path, _change), tmp_path / "out", "--json") as run:
        answer = run.answer()
        assert answer["summary"]["status"] == "done"
        assert answer["front"]
        for point in answer["front"]:
            assert point["verified"]
            assert point["metrics"]["val_loss"] < 3.6
            assert point["metrics"]["latency_ms"] > 0
            files = tmp_path / "out" / "language" / "trials" / str(point["trial"])
            card = json.loads((files / "card.json").read_text())
            said = {p["point"]: p for p in card["points"]}[point["point"]]
            assert said["metrics"]["val_loss"] == pytest.approx(point["metrics"]["val_loss"])
            assert said["skip"]["kind"] in ("all", "unified", "decode")
