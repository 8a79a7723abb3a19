"""What `Search` does before a trial starts: configs that a user brought, and shapes that are measured first."""

from __future__ import annotations

import numpy as np
import pytest

from searchd.errors import SpaceError
from searchd.search.events import (
    Failed,
    Injected,
    Measured,
    Stopped,
    Wait,
)
from searchd.search.search import Search
from spaces.config import Config
from tests.support.studies import NETS, ask, measurement, run, study


# ---------------------------------------------------------------- injected
def test_injected_is_the_next_trial() -> None:
    """A user's config is a trial at once (waiting), starts before any other, and is checked against the space."""
    search = Search(study())
    ask(search)
    config = search.study.space.complete({"x": 0.25, "lr": 0.01, "optimizer": "sgd", "optimizer.sgd.momentum": 0.9})
    search.tell(Injected(config))
    assert search.trials[1].state == "waiting"
    job = ask(search)
    assert (job.trial, job.config, job.reason) == (1, config, "injected")
    assert ask(search).trial == 2
    with pytest.raises(SpaceError, match="lr is missing"):
        search.tell(Injected(Config({"x": 0.25, "optimizer": "sgd", "optimizer.sgd.momentum": 0.9})))
    assert len(search.trials) == 3


def test_injected_after_the_end() -> None:
    """After Exhausted a user's config still runs."""
    search = Search(study(budget={"trials": 2}))
    run(search)
    search.tell(Injected(search.study.space.sample(np.random.default_rng(0))))
    assert ask(search).trial == 2


def test_injected_and_stopped_before_it_started() -> None:
    """Such a trial never runs, wherever it stands in the queue, and the ids go on without a gap."""
    for stopped in range(3):
        search = Search(study())
        configs = [search.study.space.sample(np.random.default_rng(i)) for i in range(3)]
        for config in configs:
            search.tell(Injected(config))
        search.tell(Stopped(stopped))
        jobs = [ask(search) for _ in range(3)]
        assert [j.trial for j in jobs] == [t for t in range(4) if t != stopped][:3]
        assert search.trials[stopped].state == "stopped"
        assert [j.config for j in jobs[:2]] == [c for i, c in enumerate(configs) if i != stopped]


# ---------------------------------------------------------------- measure first
def test_a_shape_is_measured_once_before_it_trains() -> None:
    """Each signature gets one measure job, before the first training of a trial that has it; 0..0, then 0..until."""
    search = Search(study(NETS))
    jobs = run(search, 3)
    measured = [j.signature for j in jobs if j.kind == "measure"]
    assert len(measured) == len(set(measured)) > 3
    seen = set()
    for job in jobs:
        signature = search.trials[job.trial].signature
        if job.kind == "measure":
            assert (job.since, job.until) == (0, 0)
            seen.add(job.signature)
        assert signature in seen


def test_waiting_for_a_measurement_changes_nothing() -> None:
    """While the next trial's shape is being measured the answer is Wait; afterwards both train."""
    spec = study(NETS, space={"width": 8, "depth": 1, "bits": 8, "exits": {"const": []}, "lr": {"float": [0, 1]}})
    search = Search(spec)
    job = ask(search)
    assert job.kind == "measure"
    assert search.trials[0].state == "waiting"
    assert [search.ask() for _ in range(3)] == [Wait()] * 3
    assert len(search.trials) == 1
    search.tell(measurement(search, job))
    first, second = ask(search), ask(search)
    assert [(j.trial, j.kind) for j in (first, second)] == [(0, "train"), (1, "train")]


def test_what_cannot_be_measured_is_not_started() -> None:
    """A failed measurement fails its trial; its shape is not started again; another one is measured instead."""
    search = Search(study(NETS))
    job = ask(search)
    assert job.signature is not None
    search.tell(Measured(job.signature, error="no kernel"))
    assert search.trials[0].state == "failed"
    assert search.trials[0].reason == "its latency could not be measured: no kernel"
    run(search, 2)
    assert all(r.signature != job.signature for t, r in search.trials.items() if t)
    search.tell(Injected(job.config))
    again = ask(search)
    assert (again.kind, again.signature) == ("measure", job.signature)


def test_a_trial_that_ends_while_it_is_measured() -> None:
    """Stopped or failed during its measurement: the next trial of that shape has it measured; a late result counts."""
    spec = study(NETS, space={"width": 8, "depth": 1, "bits": 8, "exits": {"const": []}, "lr": {"float": [0, 1]}})
    for end in (Stopped(0), Failed(0)):
        search = Search(spec)
        first = ask(search)
        search.tell(end)
        again = ask(search)
        assert (again.trial, again.kind) == (1, "measure")
        search.tell(measurement(search, first))
        assert (ask(search).trial, search.trials[0].state) == (1, "stopped" if isinstance(end, Stopped) else "failed")


def test_stopped_between_measured_and_trained() -> None:
    """A trial that was measured and then stopped does not train."""
    search = Search(study(NETS))
    job = ask(search)
    search.tell(measurement(search, job))
    search.tell(Stopped(0))
    assert ask(search).trial == 1


def test_expected_latency() -> None:
    """Merged points: exact metrics, Σ exit rate × cumulative latency, and what the report says itself wins."""
    space = {"width": 8, "depth": 2, "bits": 8, "exits": {"const": [0]}, "lr": {"float": [0, 1]}}
    search = Search(study(NETS, space=space))
    job = ask(search)
    assert job.signature is not None
    search.tell(Measured(job.signature, (0.2, 1.0), (0.4, 2.0)))
    points = ({"val_error": 5.0, "exit_rates": [0.75, 0.25]}, {"val_error": 4.0, "exit_rates": [0.0, 1.0]},
              {"val_error": 4.0, "latency_ms": 9.0}, {"exit_rates": [1.0]})  # fmt: skip
    merged = search.merged(job.trial, 1, {"val_loss": 0.5}, points)
    assert [round(p["latency_ms"], 9) for p in merged[:3]] == [0.4, 1.0, 9.0]
    assert [round(p["latency_p95_ms"], 9) for p in merged[:3]] == [0.8, 2.0, 2.0]
    assert "latency_ms" not in merged[3], "rates that do not match the exits bring no latency"
    assert all(p["val_loss"] == 0.5 and p["bytes"] > 0 for p in merged)
    (alone,) = search.merged(job.trial, 1, {"val_error": 5.0})
    assert alone["latency_ms"] == 1.0
    assert search.merged(99, 1, {"a": 1.0}) == [{"a": 1.0}]


def test_the_front_is_over_points() -> None:
    """A trial may hold several points of the front; none dominates another; equal ones are shown once."""
    search = Search(study(NETS, space={"depth": 2, "bits": 8, "exits": {"const": [0]}}))
    run(search, 2)
    front = search.front()
    names = [o.name for o in search.study.objectives]
    rows = [tuple(p.metrics[n] for n in names) for p in front]
    assert len(rows) == len(set(rows)) > 3
    assert len({p.trial for p in front}) < len(front)
    assert not any(all(x <= y for x, y in zip(a, b, strict=True)) for a in rows for b in rows if a != b)
    assert [r[0] for r in rows] == sorted(r[0] for r in rows)
