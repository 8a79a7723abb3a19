"""The example of super-networks, from its file to an exported front of sub-networks, with real processes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from spaces.builtin.supernet import space_of
from spaces.study import Study
from spaces.subnets import subnet
from tests.support.fleet import ROOT
from tests.support.runs import running

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(180)]


def test_a_front_of_subnets_is_measured_again_from_its_files(tmp_path: Path) -> None:
    """`searchd run examples/supernet.yaml`, smaller: sub-networks of trained super-networks are on the front, several
    of one trial; each has files of its own, of the size that its genome says, and learned something."""
    spec = Study.load(ROOT / "examples" / "supernet.yaml").dump()
    spec["search"] |= {"r": 1, "R": 2, "eta": 2}
    spec["budget"] = {"trials": 2, "parallel": 2}
    spec["space"] |= {"width": 4, "depth": 1, "expand": 2, "samples": 1, "kernel": 3, "block": "residual"}
    spec["task"]["supernet"]["search"] |= {"evaluations": 8, "population": 8, "generations": 2}
    file = tmp_path / "supernet.yaml"
    file.write_text(yaml.safe_dump(spec))
    with running(file, tmp_path / "out", "--json") as run:
        answer = run.answer()
    assert answer["summary"]["status"] == "done"
    front = answer["front"]
    assert len(front) > len({point["trial"] for point in front})
    options = Study.load(file).task.options
    for point in front:
        metrics = point["metrics"]
        assert point["verified"]
        assert metrics["val_error"] < 50
        folder = tmp_path / "out" / "supernet" / "trials" / str(point["trial"]) / f"point-{point['point']}"
        card = json.loads((folder / "card.json").read_text())
        assert card["metrics"]["val_error"] == pytest.approx(metrics["val_error"])
        assert card["metrics"]["latency_ms"] == metrics["latency_ms"] > 0
        space = space_of(options, json.loads((folder / "config.json").read_text()))
        said = subnet(space, metrics["subnet"]).metrics
        assert (folder / "weights.bin").stat().st_size == said["bytes"] == metrics["bytes"]
