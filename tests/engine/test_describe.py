"""Describe jobs through the engine: rows, log, replay; what is vetoed, what fails, and a study all of it vetoed."""

from __future__ import annotations

from typing import Any

import pytest

from searchd import views
from searchd.engine import asking
from searchd.engine.describing import described
from searchd.search.events import Described, Failed, Vetoed
from searchd.store.base import JobRow
from tests.support.world import World, spec

TASK = {"function": "toys.train:train", "describe": "toys.train:describe"}
SPEC = spec(
    task=TASK, objectives={"loss": "minimize", "size": {"goal": "minimize", "at_most": 25}}, budget={"trials": 18}
)


def rows(world: World, study: str) -> Any:
    with world.store.reading() as reader:
        return reader.trials(study), reader.jobs(study), reader.points(study)


def test_described_before_training_and_vetoed_by_bound_or_word(world: World) -> None:
    """Each config is described once, before its training; what breaks a bound or is vetoed never trains; the described
    metric is in every point, and the log replays."""
    study = world.submit(SPEC)
    assert world.run(study) == "done"
    world.check(study)
    trials, jobs, points = rows(world, study)
    k = {t.trial: t.config["k"] for t in trials}
    trained = {j.trial for j in jobs if j.kind == "train"}
    assert {t.trial for t in trials if t.status == "vetoed"} == {n for n in k if k[n] > 2}
    assert trained == {n for n in k if k[n] <= 2}
    assert {t.reason for t in trials if t.config["k"] == 4} == {"four is too many"}
    assert {t.reason for t in trials if t.config["k"] == 3} == {"size = 30, at most 25 allowed"}
    assert all(t.ended_at is not None for t in trials if t.status == "vetoed")
    assert [j.trial for j in jobs if j.kind == "describe"] == list(range(18))
    assert all(p.metrics["size"] == 10 * k[p.trial] for p in points)
    asked = [(trial, kind) for trial, kind, *_ in world.asked(study)]
    assert all(asked.index((n, "describe")) < asked.index((n, "train")) for n in trained)
    with world.store.reading() as reader:
        assert views.summary(reader, study, world.time)["trials"]["vetoed"] == 18 - len(trained)
        assert all(set(p["metrics"]) == {"loss", "size"} for p in views.front(reader, study))
        told = [e["text"] for e in views.log(reader, study)]
    assert "trial 0: describe its config" in told
    assert any(t.endswith("vetoed before training: four is too many") for t in told)


def test_a_worker_need_not_report_what_is_known(world: World) -> None:
    """A training job names the objectives that its reports must bring, without the described ones."""
    study = world.submit(SPEC)
    world.run(study)
    for job in world.fleet.dispatched:
        assert job.objectives == (("loss",) if job.kind == "train" else ("loss", "size"))


def test_a_restart_in_the_middle_changes_nothing(world: World) -> None:
    """A daemon that is restarted at every turn takes the decisions of one that is not."""
    calm = world.submit(SPEC)
    world.run(calm)
    shaken = world.submit(SPEC)
    for _ in range(400):
        world.restart()
        world.tick(1.0)
        world.round()
        for worker in world.fleet.workers:
            worker.work()
    world.check(shaken)
    assert world.asked(shaken) == world.asked(calm)


def test_a_lost_description_runs_again(world: World) -> None:
    """A describe job whose worker died is asked again with the next attempt, and the trial goes on."""
    study = world.submit(SPEC)
    for _ in range(40):
        world.tick(1.0, beat=False)
        world.fleet.workers[1].beat()
        world.round()
        world.fleet.workers[0].job = None  # what it begins is lost
        for worker in world.fleet.workers:
            worker.work()
    assert world.run(study) == "done"
    _, jobs, _ = rows(world, study)
    assert any(j.attempt > 1 for j in jobs if j.kind == "describe")
    world.check(study)


def test_all_vetoed_faults_the_study(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A search of which everything is vetoed stops and says why, also one without a number of trials."""
    monkeypatch.setattr(asking, "HOPELESS", {"failed": 20, "vetoed": 30})
    endless = world.submit({**SPEC, "space": {"x": {"float": [0, 1]}, "k": {"int": [3, 4]}}, "budget": {"hours": 9}})
    assert world.run(endless) == "faulted"
    with world.store.reading() as reader:
        reason = reader.study(endless).status_reason
        assert 30 <= len(reader.trials(endless)) < 34
    assert "trials were vetoed and none has reported anything; the last: " in reason
    assert world.replay(endless).equal
    short = world.submit({**SPEC, "space": {"x": {"float": [0, 1]}, "k": {"int": [3, 4]}}, "budget": {"trials": 5}})
    assert world.run(short) == "done"
    with world.store.reading() as reader:
        assert "5 trials were vetoed and none has reported anything" in reader.study(short).status_reason


RESULTS: list[tuple[dict[str, Any], object]] = [
    ({"metrics": {"a": 1, "b": 2.5}}, Described(7, {"a": 1.0, "b": 2.5})),
    ({"metrics": {}}, Described(7, {})),
    ({"metrics": {"a": 1}, "veto": "no"}, Vetoed(7, "no")),
]


@pytest.mark.parametrize(("result", "event"), RESULTS)
def test_results(result: dict[str, Any], event: object) -> None:
    """Metrics are floats; a veto wins."""
    assert described(job(), result) == event


@pytest.mark.parametrize(
    "result",
    [{}, {"metrics": None}, {"metrics": {"a": "1"}}, {"metrics": {"a": True}}, {"metrics": {"a": float("inf")}}],
)
def test_results_that_are_none(result: dict[str, Any]) -> None:
    """Anything else fails the trial, and says what is expected."""
    event = described(job(), result)
    assert isinstance(event, Failed)
    assert "finite numbers" in event.reason


def job() -> JobRow:
    return JobRow("j", "s", 7, "describe", 0, 0, 1, "running", "w", "d", "", None, {}, 0.0, 0.0, None)
