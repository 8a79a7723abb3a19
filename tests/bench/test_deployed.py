"""The bench of exported points: its studies are valid, its verdicts right, and what was recorded holds."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from bench.deployed import EXAMPLES, HEAD, judged, study, summary
from spaces.study import Study

RECORDED = Path(__file__).parents[2] / "bench" / "deployed.csv"


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_is_a_study(name: str, tmp_path: Path) -> None:
    """What is made shorter can still be read, and keeps its name, by which its folder is found."""
    assert Study.load(study(name, tmp_path)).name == name


def test_every_example_that_yields_models_is_there() -> None:
    """Each example of a built-in task is measured."""
    files = sorted((Path(__file__).parents[2] / "examples").glob("*.yaml"))
    models = {f.stem for f in files if (known := Study.load(f).task.built_in) is not None and known.exported}
    assert models <= set(EXAMPLES)


@pytest.mark.parametrize(("off", "spread", "said"), [(-9.9, 1, "10"), (12, 13, "spread"), (12, 11, "no")])
def test_verdicts(off: float, spread: float, said: str) -> None:
    """Within 10 %, else within what repeats differ, else beyond both."""
    assert judged(off, spread) == said


def test_the_recorded_figures() -> None:
    """Every exact number of every point of every example came out equal; latencies were recorded with the spread of
    their repeats, and their medians are within 10 % or that spread."""
    with RECORDED.open() as file:
        rows = list(csv.DictReader(file))
    assert set(rows[0]) == set(HEAD)
    assert {r["example"] for r in rows} == set(EXAMPLES)
    assert all(r["equal"] == r["of"] and int(r["of"]) >= 3 for r in rows)
    medians = [r for r in rows if r["metric"] == "latency_ms"]
    assert all(float(r["recorded_us"]) > 0 and float(r["spread_percent"]) >= 0 for r in medians)
    assert all(judged(float(r["off_percent"]), float(r["spread_percent"])) == r["within"] for r in medians)
    assert all(r["within"] != "no" for r in medians)
    assert f"latency_ms all: {len(medians)} points" in summary(rows)
