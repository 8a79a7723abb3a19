"""What is read from a run: the best over time, the hypervolume, the summary."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from searchd.schedulers.front import hypervolume
from searchd.simulator import Step, Synthetic, hypervolume_over_time, incumbents, simulate, summary
from tests.support.studies import study

BOUNDED = {"loss": {"goal": "minimize", "at_least": 0.2}}
TWO = {"loss": "minimize", "gain": "maximize"}


class Draws:
    """Each report is drawn: two objectives, some guessed."""

    def train(self, trial: int, config: Any, since: int, until: int) -> Iterator[Step]:
        for step in range(since + 1, until + 1):
            values = {"loss": (7 * trial + 3 * step) % 11 / 10, "gain": (5 * trial + step) % 7 / 10}
            yield Step(step, 1.0 + config["x"], values, known=(trial + step) % 4 > 0)


@given(seed=st.integers(0, 10**6))
@settings(max_examples=10, deadline=None)
def test_incumbents_only_get_better(seed: int) -> None:
    """Each incumbent beats the one before, bounds first; the last is the best of all known reports."""
    run = simulate(study(objectives=BOUNDED), Draws(), seed=seed, workers=3)
    found = incumbents(run)
    keys = [(i.violation, i.value) for i in found]
    assert keys == sorted(set(keys), reverse=True)
    assert [i.seconds for i in found] == sorted(i.seconds for i in found)
    losses = [s.metrics["loss"] for s in run.trace if s.known]
    assert found[-1].value == min((v for v in losses if v >= 0.2), default=max(losses))
    assert all(i.step == 9 for i in incumbents(run, step=9))


@given(seed=st.integers(0, 10**6))
@settings(max_examples=10, deadline=None)
def test_the_hypervolume_only_grows(seed: int) -> None:
    """It ends at the hypervolume of all known reports, a maximised objective with its sign turned."""
    run = simulate(study(objectives=TWO), Draws(), seed=seed, workers=3)
    found = hypervolume_over_time(run, (1.0, 0.0))
    assert found == sorted(found)
    points = [(s.metrics["loss"], -s.metrics["gain"]) for s in run.trace if s.known]
    assert abs(found[-1][1] - hypervolume(points, (1.0, 0.0))) < 1e-9
    assert [i.value for i in incumbents(run, "gain")] == sorted(i.value for i in incumbents(run, "gain"))


def test_a_summary_is_json() -> None:
    """What was spent and found, by names; nothing found is null."""
    said = study(budget={"trials": 6})
    told = json.loads(json.dumps(summary(simulate(said, Synthetic(said), workers=2))))
    assert told["trials"] == 6
    assert told["best"]["value"] >= 0
    assert 0 < told["busy_fraction"] <= 1
    assert summary(simulate(said, Synthetic(said), workers=2, seconds=1e-9))["best"] is None


@given(seed=st.integers(0, 10**6))
@settings(max_examples=10, deadline=None)
def test_the_best_on_the_front_is_known_and_of_a_last_rung(seed: int) -> None:
    """`front_best` is the best of the front's points, without what the world guessed."""
    run = simulate(study(objectives=TWO), Draws(), seed=seed, workers=3)
    found = summary(run)["front_best"]
    known = {(s.trial, s.step) for s in run.trace if s.known}
    values = [p.metrics["loss"] for p in run.search.front() if (p.trial, p.step) in known]
    assert (found and found["value"]) == min(values, default=None)
