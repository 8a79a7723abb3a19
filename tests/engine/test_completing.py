"""What searchd adds to reports: seconds of training and formulas, in the log like any metric."""

from __future__ import annotations

from math import log
from typing import Any

import pytest

from searchd.search.events import Finished, Reported
from searchd.search.search import Search
from tests.support.studies import NETS, ask, measurement, study
from tests.support.world import World, spec

CLASSIFY: dict[str, Any] = {
    "study": "nets",
    "space": {"width": {"int": [8, 16]}, "depth": {"int": [1, 2]}, "exits": {"subset": [0]}},
    "search": {"scheduler": "asha", "searcher": "random", "r": 1, "R": 3, "eta": 3},
    "budget": {"trials": 6},
    "task": "classify",
}
TIMED = {"cost": {"goal": "minimize", "formula": "loss + 0.05 * log(train_s / 2)"}, "train_s": {"goal": "minimize"}}


def test_time_is_a_metric(world: World) -> None:
    """`train_s` adds up over the jobs of a trial, each step once, also when a worker died; the formula is computed from
    it; a worker is asked for neither; and the log replays."""
    world.fleet.step_s = 2.0
    study = world.submit(spec(objectives=TIMED, budget={"trials": 9}))
    for _ in range(3):
        world.tick(1.0)
        world.round()
        for worker in world.fleet.workers:
            worker.work()
    world.fleet.workers[0].die()
    world.run(study)
    assert {tuple(job.objectives) for job in world.fleet.dispatched if job.kind == "train"} == {("loss",)}
    with world.store.reading() as reader:
        reports = reader.reports(study)
    assert max(report.step for report in reports) == 9
    for report in reports:
        assert report.metrics["train_s"] == 2.0 * report.step
        assert report.metrics["cost"] == pytest.approx(report.metrics["loss"] + 0.05 * log(report.step))
    world.check(study)


def test_who_does_not_ask_gets_nothing(world: World) -> None:
    """A study without an objective of time has the reports that its workers sent."""
    world.fleet.step_s = 2.0
    study = world.submit(spec())
    world.run(study)
    with world.store.reading() as reader:
        assert {tuple(report.metrics) for report in reader.reports(study)} == {("loss",)}


def test_a_formula_of_every_point() -> None:
    """Each operating point has its own value, measured latency and exact metrics included."""
    objectives: dict[str, Any] = {
        "val_error": "minimize", "cost": {"goal": "minimize", "formula": "val_error + latency_ms + bytes / 1e6"}
    }  # fmt: skip
    search = Search(study({**NETS, "objectives": objectives}))
    job = ask(search)
    assert job.kind == "measure"
    search.tell(measurement(search, job))
    job = ask(search)
    merged = search.merged(job.trial, 1, {"val_error": 9.0}, ({"val_error": 10.0}, {"val_error": 20.0}))
    assert [m["cost"] for m in merged] == [m["val_error"] + m["latency_ms"] + m["bytes"] / 1e6 for m in merged]
    search.tell(Reported(job.trial, 1, {"val_error": 9.0}))
    search.tell(Finished(job.trial, 1))
    (losses,) = search.trials[job.trial].losses[1]
    assert losses.values == (9.0, search.merged(job.trial, 1, {"val_error": 9.0})[0]["cost"])


def test_what_is_missing_is_named() -> None:
    """A report without a metric of the formula fails its trial, and the reason names that metric."""
    search = Search(study(objectives={"cost": {"goal": "minimize", "formula": "loss + speed"}}))
    job = ask(search)
    (stop,) = search.tell(Reported(job.trial, 1, {"loss": 1.0}))
    assert "no number for speed" in stop.reason


def test_a_verified_point_is_computed_again(world: World) -> None:
    """The latency that was measured from the exported file changes the formula of a front point."""
    objectives = {"val_error": "minimize", "cost": {"goal": "minimize", "formula": "val_error + 100 * latency_ms"}}
    study = world.submit({**CLASSIFY, "objectives": objectives})
    world.run(study)
    with world.store.reading() as reader:
        points = [p for p in reader.points(study) if p.verified]
    assert points
    for point in points:
        assert point.metrics["cost"] == point.metrics["val_error"] + 100 * point.metrics["latency_ms"]
    world.check(study)
