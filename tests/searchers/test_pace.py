"""EI per second: what training costs is learned from the reports, and cheap configs are preferred by it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from math import inf, nan
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from searchd.schedulers.events import Losses
from searchd.search.events import Finished, Job, Reported
from searchd.search.facts import Facts
from searchd.search.pace import pace_of
from searchd.search.recalling import recall
from searchd.search.search import Search
from searchd.searchers.base import History, Record, generator
from searchd.searchers.mobster import MobsterSearcher
from searchd.searchers.pace import RIDGE, Pace
from searchd.simulator import simulate
from searchd.simulator.world import Step
from spaces.space import Space
from spaces.study import Study
from tests.support.studies import FUNCTION, study

LINE = Space.parse({"x": {"float": [0, 1]}})


@given(st.integers(4, 12), st.integers(1, 9), st.integers(0, 10**6))
@settings(deadline=None, max_examples=50)
def test_it_is_the_ridge_of_the_textbook(n: int, d: int, seed: int) -> None:
    """Both ways to solve it (n < 2d and not) give the least of Σ (y − m − b·t)² + λ |b|², within what was seen."""
    rng = np.random.default_rng(seed)
    x, seconds = rng.random((n, d)), np.exp(rng.normal(size=n))
    at = rng.random((5, d))
    terms = np.hstack([x, x * x])
    design = np.hstack([np.ones((n, 1)), terms])
    penalty = RIDGE * np.diag([0.0] + [1.0] * (2 * d))
    by = np.linalg.solve(design.T @ design + penalty, design.T @ np.log(seconds))
    expected = np.hstack([np.ones((5, 1)), at, at * at]) @ by
    found = Pace(x, seconds).log(at)
    assert found == pytest.approx(np.clip(expected, np.log(seconds).min(), np.log(seconds).max()), abs=1e-8)


def test_what_nobody_timed_says_nothing() -> None:
    """Trials without seconds are left out; of fewer than three that have some nothing is concluded."""
    x = np.linspace(0, 1, 6)[:, None]
    seconds = np.exp(3 * x[:, 0])
    some = np.where(np.arange(6) == 2, nan, seconds)
    assert Pace(x, some).log(x).tolist() == Pace(np.delete(x, 2, 0), np.delete(seconds, 2)).log(x).tolist()
    assert np.ptp(Pace(x, seconds).log(x)) > 2
    assert Pace(x, np.where(np.arange(6) < 2, seconds, nan)).log(x).tolist() == [0.0] * 6


@pytest.mark.parametrize(
    ("metrics", "pace"),
    [({"train_s": 6.0}, 2.0), ({"train_s": 6}, 2.0), ({}, None), ({"train_s": nan}, None), ({"train_s": inf}, None),
     ({"train_s": 0.0}, None), ({"train_s": "6"}, None)],
)  # fmt: skip
def test_the_pace_of_a_report(metrics: dict[str, Any], pace: float | None) -> None:
    """Seconds so far over steps so far; nothing where the report does not say, or says nonsense."""
    assert pace_of(metrics, 3) == pace


def past(pace: float | None) -> History:
    """Two valleys alike, at 0.2 and at 0.8; a step at the right end takes `pace` times one at the left."""
    records = [
        Record(i, LINE.complete({"x": x}), "paused", 1, 1,
               losses={1: (Losses((min((x - 0.2) ** 2, (x - 0.8) ** 2),)),)}, pace=None if pace is None else pace**x)
        for i, x in enumerate(np.linspace(0, 1, 11).tolist()) if abs(x - 0.5) > 0.05
    ]  # fmt: skip
    records = [Record(i, r.config, r.state, 1, 1, losses=r.losses, pace=r.pace) for i, r in enumerate(records)]
    return History(LINE, tuple(records), 1, ((1, 3),))


def left(history: History, **options: Any) -> float:
    """The share of suggestions in the left half."""
    drawn = [MobsterSearcher(**options).suggest(t, history, generator(0, t))["x"] for t in range(100, 112)]
    return sum(x < 0.5 for x in drawn) / len(drawn)


@pytest.mark.parametrize("kernel", ["exp-decay", "independent"])
def test_the_cheaper_of_two_equals(kernel: str) -> None:
    """The valley where a step is quick is preferred, whichever side that is; without `cost`, or where no seconds are
    known, the same suggestions as ever."""
    assert left(past(1000.0), kernel=kernel, cost=1.0) == 1.0
    assert left(past(0.001), kernel=kernel, cost=1.0) == 0.0
    drawn = [
        MobsterSearcher(kernel=kernel, cost=cost).suggest(100, past(pace), generator(0, 100))["x"]
        for cost, pace in ((0.0, None), (0.0, 1000.0), (1.0, None))
    ]
    assert drawn[0] == drawn[1] == drawn[2]


def test_seconds_reach_the_searcher() -> None:
    """A report with `train_s` sets the pace of its trial, in the record and in the columns."""
    search = Search(study(FUNCTION))
    job = search.ask()
    assert isinstance(job, Job)
    metrics = {"loss": 1.0, "train_s": 2.5 * job.until}
    search.tell(Reported(job.trial, job.until, metrics))
    search.tell(Finished(job.trial, job.until))
    assert search.trials[job.trial].pace == 2.5
    search.ask()
    assert search.history.table.pace[0] == 2.5
    assert np.isnan(search.history.table.pace[1])


def test_a_rebase_keeps_the_seconds() -> None:
    """They are facts of the log: the search of another rule knows them too."""
    search = Search(study(FUNCTION))
    facts = Facts()
    facts.came(0, search.study.space.sample(generator(0, 0)))
    facts.reported(0, 3, {"loss": 1.0, "train_s": 12.0}, ())
    recall(search, facts)
    assert search.trials[0].pace == 4.0


class Flat:
    """The width does nothing but take time."""

    def train(self, trial: int, config: Mapping[str, Any], since: int, until: int) -> Iterator[Step]:  # noqa: ARG002
        for step in range(since + 1, until + 1):
            yield Step(step, config["width"] / 10, {"error": (config["x"] - 0.3) ** 2 + 0.1 / step})


def test_less_time_for_the_same_trials() -> None:
    """Where wide is slow and no better, searches with `cost: 1` need a small part of the time for as many trials, and
    their reports carry the seconds."""
    took: dict[int, float] = {0: 0.0, 1: 0.0}
    for cost, seed in product(took, range(4)):
        said = {"scheduler": "fifo", "searcher": "gp", "R": 3, "options": {"cost": cost}}
        space = {"x": {"float": [0, 1]}, "width": {"int": [4, 256], "log": True}}
        made = {"study": "flat", "space": space, "objectives": {"error": "minimize"}, "search": said,
                "budget": {"trials": 40}, "task": "m.x:f", "seed": seed}  # fmt: skip
        run = simulate(Study.parse(made), Flat())
        took[cost] += run.seconds
        assert ("train_s" in run.trace[0].metrics) == bool(cost)
    assert took[1] < 0.7 * took[0], took
