"""The example of early exits from its file to its verified front, with real processes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.fleet import ROOT
from tests.support.runs import check_ended, running

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(200)]


def test_the_front_of_exits_is_verified_by_rule_and_thresholds(tmp_path: Path) -> None:
    """One trained network is several verified points, each with its rule, thresholds and temperatures; the card says
    them in words, and what a batch costs."""
    out = tmp_path / "out"
    with running(ROOT / "examples" / "exits.yaml", out, "--json") as run:
        answer = run.answer()
        check_ended(out, "exits", 8)
        front = answer["front"]
        assert len(front) > len({p["trial"] for p in front}), "no trial has two points"
        for point in front:
            exits = len(point["config"]["exits"]) + 1
            assert point["verified"]
            assert point["metrics"]["rule"] == "margin"
            assert len(point["metrics"]["thresholds"]) == exits - 1
            assert len(point["metrics"]["temperatures"]) == len(point["metrics"]["exit_rates"]) == exits
        pairs = sorted((p["metrics"]["val_error"], p["metrics"]["latency_ms"]) for p in front)
        errors, times = zip(*pairs, strict=True)
        assert list(times) == sorted(times, reverse=True)
        card = json.loads(next(iter(sorted(out.glob("**/trials/*/card.json")))).read_text())
        assert "largest probability minus its second largest" in card["exits"]["rules"]["margin"]
        assert all(p["batch"]["whole_ms"] >= p["batch"]["compacted_ms"] * 0.999 for p in card["points"])
        jobs = [e["payload"] for e in run.client.log("exits") if e["kind"] == "verified"]
        assert all(e["ok"] for e in jobs)
        assert min(errors) < 15
