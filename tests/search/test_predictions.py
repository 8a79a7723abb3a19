"""A search that goes by predicted latency: no measure jobs, bounds before any training, the same after a replay."""

from __future__ import annotations

from typing import Any

import pytest

from searchd.devices.predicted import taken
from searchd.latency import Predictor
from searchd.log import event_of, event_payload
from searchd.search.events import Exhausted, Finished, Job, Reported, Repredicted
from searchd.search.facts import Facts
from searchd.search.predictions import Predictions, broken
from searchd.search.recalling import recall
from searchd.search.search import Search
from spaces.chains import occurrences
from spaces.config import Config
from spaces.describe import operators
from spaces.study import Objective, Study
from tests.support.devices import NET, device_row, whole_ms


def predicted(**changes: Any) -> Study:
    study = Study.parse({**NET, "latency": "predicted", **changes})
    return study.model_copy(update={"predictor": taken(device_row(study))})


def costs(study: Study, config: Config) -> list[float]:
    chains = operators(study.task, study.space, config) or ()
    return [whole_ms(occurrences(chains, k)) for k in range(len(chains))]


def test_no_job_measures_what_is_predicted() -> None:
    """The first job of every trial trains; the same study without a profile measures first."""
    search = Search(predicted())
    first = search.ask()
    assert isinstance(first, Job)
    assert (first.kind, first.signature) == ("train", None)
    without = Search(Study.parse({**NET, "latency": "predicted"})).ask()
    assert isinstance(without, Job)
    assert without.kind == "measure"


def test_points_cost_what_their_exits_cost() -> None:
    """Latency of a point is Σ exit rate × predicted cost up to that exit; what a report says itself wins."""
    study = predicted()
    search = Search(study)
    job = search.ask()
    assert isinstance(job, Job)
    low, high = costs(study, job.config)
    points = ({"exit_rates": [0.25, 0.75]}, {"exit_rates": [1.0, 0.0], "latency_ms": 7.0})
    merged = search.merged(job.trial, 1, {"val_error": 5.0}, points)
    assert merged[0]["latency_ms"] == pytest.approx(0.25 * low + 0.75 * high, rel=1e-4)
    assert merged[1]["latency_ms"] == 7.0
    search.tell(Reported(job.trial, 1, {"val_error": 5.0}, points))
    search.tell(Finished(job.trial, 1))
    assert search.front()


def test_searchers_see_the_latency_of_any_config() -> None:
    """`history.describe` has `latency_ms` of the whole network beside the exact metrics; a report's metrics do not."""
    study = predicted()
    search = Search(study)
    config = Config({"width": 12, "depth": 2, "exits": [0]})
    (found,) = search.history.describe([config])
    assert found is not None
    assert found["latency_ms"] == pytest.approx(costs(study, config)[-1], rel=1e-4)
    assert found["bytes"] > 0
    assert "latency_ms" not in search.exact(config)
    (exact,) = Search(Study.parse(NET)).history.describe([config])
    assert exact is not None
    assert "latency_ms" not in exact


def test_a_bound_keeps_configs_from_training() -> None:
    """Nothing starts whose first exit alone is too slow; where nothing is fast enough, it says so."""
    at = [costs(predicted(), Config({"width": w, "depth": 2, "exits": [0]}))[0] for w in (8, 11, 16)]
    bound = {"latency_ms": {"goal": "minimize", "at_most": at[1] * 1.0001}}
    study = predicted(objectives={"val_error": "minimize", **bound}, budget={"trials": 30})
    search = Search(study)
    widths = []
    while isinstance(job := search.ask(), Job) and len(widths) < 12:
        widths.append(job.config["width"])
    assert set(widths) <= {8, 9, 10, 11}
    assert 11 in widths  # its whole network is too slow, its first exit is not
    none = {"latency_ms": {"goal": "minimize", "at_most": at[0] / 2}}
    search = Search(predicted(objectives={"val_error": "minimize", **none}))
    assert isinstance(search.ask(), Exhausted)
    assert "predicted at the least" in search.note


def test_the_error_of_a_predictor_is_a_margin() -> None:
    """A bound is broken when the whole range of a config's latencies is beyond it by more than the usual error."""
    top = Objective(name="latency_ms", at_most=1.0)
    assert broken(top, 1.04, 3.0, 0.05) is None
    assert broken(top, 0.5, 3.0, 0.0) is None
    assert broken(top, 1.06, 3.0, 0.05) == "latency_ms = 1.06 predicted at the least, at most 1 allowed"
    floor = Objective(name="latency_ms", at_least=1.0)
    assert broken(floor, 0.1, 0.96, 0.05) is None
    assert broken(floor, 0.1, 0.9, 0.05) == "latency_ms = 0.9 predicted at the most, at least 1 wanted"


def test_a_new_predictor_holds_from_then_on() -> None:
    """An event replaces it, as JSON in a log does; a prefix never costs more than the whole."""
    study = predicted()
    search = Search(study)
    config = Config({"width": 12, "depth": 2, "exits": [0]})
    before = search.predictions.get(config)
    assert study.predictor is not None
    said = dict(study.predictor["predictor"])
    event = Repredicted({**said, "once": said["once"] + 1.0})
    assert event_of(event_payload(event)) == event
    assert search.tell(event) == ()
    after = search.predictions.get(config)
    assert before is not None
    assert after is not None
    assert [a - b for a, b in zip(after.cumulative_ms, before.cumulative_ms, strict=True)] == pytest.approx([1.0, 1.0])
    falling = Predictor.of_json({**said, "each": -5.0}).as_json()
    search.tell(Repredicted(falling))
    low, high = search.predictions.get(config).cumulative_ms  # type: ignore[union-attr]
    assert low <= high


def test_a_rebase_keeps_the_newest_predictor() -> None:
    """What another version fitted again is a fact: the new rule begins with it."""
    study = predicted()
    assert study.predictor is not None
    said = {**study.predictor["predictor"], "once": 3.0}
    facts = Facts()
    facts.happened(Repredicted(said))
    search = Search(study)
    recall(search, facts)
    found = search.predictions.get(Config({"width": 8, "depth": 2, "exits": [0]}))
    assert found is not None
    assert found.cumulative_ms[0] > 3.0


def test_measured_studies_predict_nothing() -> None:
    """A predictor that a study does not go by is not read."""
    study = predicted().model_copy(update={"latency": "measured"})
    assert not Predictions(study).wanted
    assert Search(study).predictions.get(Config({"width": 8, "depth": 2, "exits": [0]})) is None
