"""`Search` with bounds on metrics: what is ranked behind, what is never started."""

from __future__ import annotations

from math import inf, nan

import pytest

from searchd.search.events import (
    Exhausted,
)
from searchd.search.search import Search
from spaces.describe import describe
from tests.support.studies import NETS, run, study


def test_bounds_rank_first() -> None:
    """A trial that breaks a bound goes behind all that keep it, and is on no front while one keeps it."""
    spec = study(objectives={"loss": {"goal": "minimize", "at_least": 0.5}}, budget={"trials": 3})
    search = Search(spec)
    losses = [0.1, 0.9, 0.7]
    run(search, report=lambda _, job, __: ({"loss": losses[job.trial]}, ()))
    assert [r.step for r in search.trials.values()] == [1, 1, 3]
    assert [p.trial for p in search.front()] == [2]
    assert search.violation({"loss": 0.1}) == pytest.approx(0.8)
    assert search.violation({"loss": nan}) == inf
    assert search.violation({}) == inf


def test_the_front_without_a_feasible_point() -> None:
    """When every point breaks the bound, the least violation comes first."""
    spec = study(objectives={"loss": {"goal": "minimize", "at_most": -1}}, budget={"trials": 3})
    search = Search(spec)
    run(search)
    front = search.front()
    assert front
    assert all(p.violation > 0 for p in front)
    assert front[0].violation == min(p.violation for p in front)


def test_a_bound_on_exact_metrics_is_kept_before_the_start() -> None:
    """No config above the bound on bytes is ever started, though most of the space is above it."""
    spec = study(NETS, objectives={"bytes": {"goal": "minimize", "at_most": 600}})
    search = Search(spec)
    run(search, 2)
    assert len(search.trials) == 20
    for record in search.trials.values():
        found = describe(spec.task, spec.space, record.config)
        assert found is not None
        assert found.metrics["bytes"] <= 600


def test_an_unreachable_bound_ends_the_search_with_a_note() -> None:
    """No config fits: no trial, Exhausted, and a note that names bound and remedy; the state stays as it was."""
    spec = study(NETS, objectives={"bytes": {"goal": "minimize", "at_most": 1}})
    search = Search(spec)
    assert search.ask() == Exhausted()
    assert search.ask() == Exhausted()
    assert not search.trials
    assert "at most 1 allowed" in search.note
    assert "loosen the bound" in search.note


def test_a_small_space_is_searched_without_repetition() -> None:
    """Six configs, six trials: all different; the seventh repeats one, for want of another."""
    spec = study(space={"x": {"int": [1, 3]}, "lr": {"choice": [0.1, 0.2]}, "optimizer": "sgd"}, budget={"trials": 7})
    search = Search(spec)
    run(search)
    configs = [r.config for r in search.trials.values()]
    assert len(set(configs[:4])) == 4
    assert len(configs) == 7
