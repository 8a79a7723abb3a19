"""A linear network of 1, 4 and 8 bits, measured by torch: each width has its own figure, and says what ran it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from searchd.local_devices import add_local
from tests.support.runs import check_ended, running
from workers.nets.eager import kernel_on

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(180)]

STUDY = """
study: narrow
space:
  width: {const: 32}
  depth: {const: 2}
  bits: {choice: [1, 4, 8]}
objectives: {val_error: minimize, latency_ms: minimize, bytes: minimize}
search: {scheduler: fifo, searcher: sobol, r: 1, R: 1}
budget: {trials: 4, parallel: 1}
task: {classify: {data: iris}}
"""


def test_a_study_of_bits_on_a_cpu_by_torch(tmp_path: Path) -> None:
    """The study keeps its device's runtime; one measure job a width, whose record has the bits and the chooser's
    reason; a trial shows it, and so does the card of what is exported; the log replays."""
    file, out = tmp_path / "narrow.yaml", tmp_path / "out"
    file.write_text(STUDY)
    assert add_local(out, "cpu", "torch")["runtime"] == "torch"
    with running(file, out, "--json") as run:
        answer = run.answer()
        assert run.client.spec("narrow")["runtime"] == "torch"
        log = run.client.log("narrow")
        trials = {t["trial"]: run.client.trial("narrow", t["trial"]) for t in run.client.trials("narrow")}
    check_ended(out, "narrow", 4)
    measured = {e["payload"]["signature"]: e["payload"] for e in log if e["payload"].get("event") == "measured"}
    bits = {t["config"]["bits"] for t in trials.values()}
    assert bits == {1, 4, 8}
    assert len(measured) == 3
    choice = kernel_on(torch.device("cpu"))
    there = choice.provider not in ("torch", "reference")
    for trial in trials.values():
        width, record = trial["config"]["bits"], measured[trial["signature"]]
        assert record["kernel_bits"] == ([width] * 2 if there else [32, 32])
        assert " · torch " in record["device"]
        line = record["kernels"][0]
        assert line.startswith(f"{width} bit")
        assert ("runs at" in line) == there
        assert choice.why in line
        assert trial["kernels"] == {"runtime": "torch", "measured": True, "lines": record["kernels"]}
    assert answer["front"]
    for point in answer["front"]:
        assert point["metrics"]["latency_ms"] > 0
        card = json.loads((out / "narrow" / "trials" / str(point["trial"]) / "card.json").read_text())
        assert card["latency"]["kernels"] == measured[trials[point["trial"]]["signature"]]["kernels"]
