"""`examples/bits.yaml` as it stands: trained once, deployed at several bit allocations, each with files of its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from spaces.nets import network
from tests.support.fleet import ROOT
from tests.support.runs import check_ended, running

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(240)]


def test_the_example_of_bits(tmp_path: Path) -> None:
    """The front has allocations of trained networks, each verified from its own files, whose size is the point's. No
    allocation trained a step, and the log replays."""
    with running(ROOT / "examples" / "bits.yaml", tmp_path / "out", "--json") as run:
        run.answer()
        check_ended(run.out, "bits", 5)
        front = run.client.front("bits")
    allocated = [p for p in front if "bits" in p["metrics"]]
    assert len({tuple(p["metrics"]["bits"]) for p in allocated}) >= 2
    assert all(p["verified"] for p in front)
    for point in allocated:
        folder = tmp_path / "out" / "bits" / "trials" / str(point["trial"])
        suffix = "".join(f"-{b:g}" for b in point["metrics"]["bits"])
        config = json.loads((folder / f"config{suffix}.json").read_text())
        assert config["bits"] == point["metrics"]["bits"]
        size = (folder / f"weights{suffix}.bin").stat().st_size
        assert size == point["metrics"]["bytes"] == network(config, (1, 8, 8), 10).bytes <= 12000
        card = json.loads((folder / f"card{suffix}.json").read_text())
        assert {layer["weight_bits"] for layer in card["layers"]} <= {2, 4, 8}
        assert point["metrics"]["val_error"] <= 40
    assert max(p["step"] for p in front) == 6
