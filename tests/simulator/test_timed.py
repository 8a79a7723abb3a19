"""Effectiveness and time in one objective: a search that is told what time costs finds a quick config."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from searchd.simulator import Synthetic, simulate
from searchd.simulator.trace import Run
from searchd.simulator.world import Step
from spaces.study import Study


class Wide:
    """The error falls a little with the width, the seconds rise with it."""

    def train(self, trial: int, config: Mapping[str, Any], since: int, until: int) -> Iterator[Step]:  # noqa: ARG002
        for step in range(since + 1, until + 1):
            yield Step(step, config["width"] / 10, {"error": 0.2 + 1 / config["width"] + 0.1 / step})


def study(objectives: Mapping[str, Any], searcher: str = "gp") -> Study:
    return Study.parse({
        "study": "timed", "space": {"width": {"int": [4, 256], "log": True}}, "objectives": objectives,
        "search": {"scheduler": "asha", "searcher": searcher, "r": 1, "R": 9}, "budget": {"trials": 30},
        "task": "m.x:f",
    })  # fmt: skip


def best(run: Run) -> int:
    done = {t: r for t, r in run.search.trials.items() if 9 in r.losses}
    return int(min(done.values(), key=lambda r: r.losses[9][0].values[0]).config["width"])


def test_time_has_a_price() -> None:
    """error + 0.05 ln(seconds / 60) is least at width 20; the error alone at the widest."""
    priced = {"cost": {"goal": "minimize", "formula": "error + 0.05 * log(train_s / 60)"}}
    assert best(simulate(study({"error": "minimize"}), Wide())) > 200
    assert 17 <= best(simulate(study(priced), Wide())) <= 24


def test_seconds_add_up() -> None:
    """`train_s` of the n-th step is what n steps took, whoever trained them; a bound on it is one like any other."""
    run = simulate(study({"error": "minimize", "train_s": {"goal": "minimize", "at_most": 9}}), Wide())
    for seen in run.trace:
        width = run.search.trials[seen.trial].config["width"]
        assert seen.metrics["train_s"] == pytest.approx(seen.step * width / 10)
    losses = [r.losses[9][0] for r in run.search.trials.values() if 9 in r.losses]
    assert any(p.violation == 0 for p in losses)
    assert all((p.violation == 0) == (p.values[1] <= 9) for p in losses)


def test_a_made_up_world_brings_what_formulas_read() -> None:
    """The synthetic world has a curve for each metric of a formula, and none for the time."""
    made = study({"cost": {"goal": "minimize", "formula": "a + b + train_s"}}, "random")
    run = simulate(made, Synthetic(made))
    assert set(run.trace[0].metrics) == {"a", "b", "train_s"}
    assert run.search.front()
