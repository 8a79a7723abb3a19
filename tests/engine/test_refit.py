"""The front of a study that went by predictions is measured, shown beside them, and the predictor fitted again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from searchd import views
from searchd.errors import NotFound
from searchd.latency import Predictor
from searchd.wire import JobSpec
from spaces.builtin.supernet import space_of
from spaces.study import Study
from tests.support.devices import NET, device_row
from tests.support.world import World

SPEC = {**NET, "latency": "predicted"}


def ready(world: World) -> None:
    with world.store.transaction() as tx:
        tx.put_device(device_row(Study.parse(SPEC)))


def test_the_front_says_both_and_the_predictor_is_fitted_again(world: World) -> None:
    """No measure job ran; exports cost far more than predicted: that is said, fitted, logged, learned, and replays."""
    ready(world)
    study = world.submit(SPEC)
    assert world.run(study) == "done"
    world.check(study)
    assert {kind for _, kind, _, _ in world.asked(study)} == {"train"}
    with world.store.reading() as reader:
        front = views.front(reader, study)
        summary = views.summary(reader, study, world.time)
        row = reader.device("cpu")
        texts = [entry["text"] for entry in views.log(reader, study)]
    assert front
    for point in front:
        assert point["metrics"]["latency_ms"] == 1.25
        assert 0 < point["metrics"]["predicted_latency_ms"] < 0.2
    assert summary["predicted"]["error"] > 0.8
    assert summary["predicted"]["bias"] < -0.8
    (event,) = world.events(study, "refitted")
    assert event.payload["off"] > event.payload["bound"] == 0.05
    assert row is not None
    assert row.profile is not None
    assert len(row.profile["front"]) == event.payload["measured"] == len(event.payload["figures"])
    before = Predictor.of_json(world.events(study, "submitted")[0].payload["spec"]["predictor"]["predictor"])
    after = Predictor.of_json(event.payload["predictor"])
    counts = event.payload["figures"][-1]["counts"]
    assert before.ms(counts) < 0.2
    assert 1.0 < after.ms(counts) < 4.0  # each network cost 1 ms up to its first exit, 2 ms in all
    assert any("latency is predicted anew: off by" in text for text in texts)
    assert any("predicted, 1.25 measured" in text for text in texts)


def test_a_study_that_goes_on_decides_by_the_new_one(world: World) -> None:
    """After a larger budget, also after a restart, the search predicts by the log's last predictor; the log replays."""
    ready(world)
    study = world.submit(SPEC)
    world.run(study)
    world.restart()
    world.loop.extend(study, {"trials": 9})
    assert world.run(study) == "done"
    world.check(study)
    refits = world.events(study, "refitted")
    found: dict[bool, list[float]] = {False: [], True: []}
    for event in world.events(study, "verified"):
        found[event.seq > refits[0].seq] += event.payload.get("predicted", {}).values()
    assert found[True]
    assert max(found[True]) > 2 * max(found[False])


def test_a_good_prediction_is_left_alone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the front costs what was predicted nothing is fitted again."""
    ready(world)
    monkeypatch.setattr("searchd.engine.refitting.WANTED_ERROR", 0.99)
    study = world.submit(SPEC)
    assert world.run(study) == "done"
    assert world.events(study, "refitted") == []
    with world.store.reading() as reader:
        row = reader.device("cpu")
    assert row is not None
    assert row.profile is not None
    assert row.profile["front"] == []


def test_without_a_profile_nothing_is_submitted(world: World) -> None:
    """A study that wants predictions where there are none is refused before it has a row."""
    with pytest.raises(NotFound, match="not registered"):
        world.submit(SPEC)
    with world.store.reading() as reader:
        assert reader.studies() == []


def test_jobs_of_a_registered_device_name_its_runtime(world: World) -> None:
    """Measure and export jobs go down with what the device is registered with, trainings without."""
    ready(world)
    with world.store.transaction() as tx:
        row = tx.device("cpu")
        assert row is not None
        tx.put_device(replace(row, runtime="torch"))
    study = world.submit(NET)
    world.run(study)
    said = {(job.kind, job.runtime) for job in world.fleet.dispatched}
    assert said == {("measure", "torch"), ("export", "torch"), ("train", "")}


def test_energy_adds_up_over_reports(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """`train_energy_j` is the sum so far, marked shared once another job ran beside a step."""
    from tests.support.world import Worker, spec

    say = Worker._up

    def with_energy(self: Worker, kind: object, **more: object) -> None:
        say(self, kind, **({**more, "energy_j": 2.0} if "metrics" in more else more))

    monkeypatch.setattr(Worker, "_up", with_energy)
    study = world.submit(spec(objectives={"loss": "minimize", "train_energy_j": "minimize"}))
    assert world.run(study) == "done"
    world.check(study)
    with world.store.reading() as reader:
        rows = reader.reports(study)
    assert rows
    assert all(r.metrics["train_energy_j"] == 2.0 * r.step for r in rows)
    assert any(r.metrics.get("train_energy_shared") == 1.0 for r in rows)


def test_the_same_figures_are_fitted_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A study that goes on and ends without a new network on its front is not fitted again, however far off it is."""
    monkeypatch.setattr("searchd.engine.refitting.WANTED_ERROR", -1.0)
    ready(world)
    study = world.submit(SPEC)
    world.run(study)
    world.loop.extend(study, {"trials": 5, "parallel": 2})
    assert world.run(study) == "done"
    assert len(world.events(study, "refitted")) == 1
    world.check(study)


def test_points_that_name_networks_refit_by_points(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a super-network no measure job runs; its trials are sent the predictor; each exported sub-network is one
    figure of the refit, and what is sent after that is the new predictor."""
    said = {
        **SPEC, "space": {"width": {"int": [3, 4]}}, "task": {"supernet": {"data": "wine", "bits": [4, 32]}},
        "objectives": {"val_error": "minimize", "latency_ms": "minimize"},
    }  # fmt: skip
    with world.store.transaction() as tx:
        tx.put_device(device_row(Study.parse(said)))

    def metrics(job: JobSpec, step: int) -> tuple[dict[str, float], tuple[dict[str, Any], ...]]:
        found = space_of(job.task["options"], job.nested)
        sizes = [{"subnet": found.extreme(biggest), "val_error": 10.0 - 2 * biggest - step, "latency_ms": 0.1 + biggest}
                 for biggest in (False, True)]  # fmt: skip
        return {"train_loss": 1.0}, tuple(sizes)

    monkeypatch.setattr(world.fleet, "metrics", metrics)
    study = world.submit(said)
    assert world.run(study) == "done"
    world.check(study)
    assert {job.kind for job in world.fleet.dispatched} == {"train", "export"}
    (refit,) = world.events(study, "refitted")
    networks = [e.payload["networks"] for e in world.events(study, "verified")]
    assert refit.payload["measured"] == sum(map(len, networks)) > 1
    sent = [job.predictor for job in world.fleet.dispatched if job.kind == "train"]
    before = world.events(study, "submitted")[0].payload["spec"]["predictor"]["predictor"]
    assert all(one == before for one in sent)
    world.loop.extend(study, {"trials": 9})
    assert world.run(study) == "done"
    world.check(study)
    after = [job.predictor for job in world.fleet.dispatched if job.kind == "train"][len(sent) :]
    assert after
    assert all(one == refit.payload["predictor"] for one in after)
