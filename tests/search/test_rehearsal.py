"""Rehearsals: what a search takes in made-up worlds is near to what it takes in others, and the same every time."""

from __future__ import annotations

from typing import Any

import pytest

from searchd.errors import Missing
from searchd.plan import plan
from searchd.rehearsal import rehearse
from searchd.searchers import needs
from searchd.simulator import Synthetic, simulate
from spaces.study import Study


def study(trials: int, **search: Any) -> Study:
    return Study.parse(
        {
            "study": "plane",
            "space": {"x": {"float": [0, 1]}, "y": {"float": [1e-4, 1], "log": True}, "z": {"choice": ["a", "b"]}},
            "objectives": {"loss": "minimize"},
            "search": {"r": 1, "R": 27, "eta": 3, **search},
            "budget": {"trials": trials, "parallel": 2},
            "task": {"function": "nowhere:train"},
        }
    )


@pytest.mark.parametrize(
    ("scheduler", "searcher"),
    [("auto", "auto"), ("auto", "random"), ("asha", "tpe"), ("async-hyperband", "random"), ("stopping", "random")],
)
def test_other_worlds_take_what_was_rehearsed(scheduler: str, searcher: str) -> None:
    """Of ten simulated runs in worlds that no rehearsal has seen, nine at least take a number of steps in its range."""
    spec = study(20, scheduler=scheduler, searcher=searcher)
    fewest, most = plan(spec)["steps_range"]
    worlds = [Synthetic(spec, seed=100 + n, noise=0.02 * n, crossing=n / 20) for n in range(10)]
    took = [simulate(spec, world, workers=2, seed=50 + n).counts.steps for n, world in enumerate(worlds)]
    assert sum(fewest <= steps <= most for steps in took) >= 9, (fewest, most, took)
    assert fewest < plan(spec)["steps"] < most


@pytest.mark.parametrize("scheduler", ["auto", "asha", "pasha"])
def test_many_trials_are_told_from_the_first(scheduler: str) -> None:
    """What comes after the trials that are run is what their second half took, times how many more there are."""
    spec = study(400, scheduler=scheduler, searcher="random")
    found = rehearse(spec, 400)
    took = simulate(spec, Synthetic(spec, seed=100, noise=0.05), workers=2).counts.steps
    assert 0.6 * took <= found.steps <= 1.6 * took
    assert found.rungs[0][0][0] == pytest.approx(400, rel=0.05)


def test_the_same_every_time_whatever_bounds_and_budgets_say() -> None:
    """Bounds, and budgets of hours and steps, change nothing."""
    spec = study(12)
    bounded = Study.parse(
        {**spec.dump(), "objectives": {"loss": {"goal": "minimize", "at_most": -5}},
         "budget": {"trials": 12, "hours": 1e-6, "steps": 3, "parallel": 2}}
    )  # fmt: skip
    assert rehearse(spec, 12) == rehearse(spec, 12) == rehearse(bounded, 12)
    assert rehearse(spec, 12).runs == 24


def test_a_long_ladder_costs_no_more() -> None:
    """Only rungs are computed: R = 3^12 is as quick as R = 27, and its top rung is reached."""
    found = rehearse(study(9, R=3**12, scheduler="auto"), 9)
    assert found.rungs[0][-1][1] == 3**12
    assert found.low > 3**12


def test_a_part_that_is_missing_is_no_hindrance(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without scipy a plan of `tpe` is rehearsed by `evolution`, which needs NumPy only, as `auto` does not."""
    def lacking(searcher: str, part: str, instead: str = "") -> None:
        raise Missing(f"{searcher} needs {part}, or {instead}")

    assert rehearse(study(9, searcher="tpe", scheduler="asha"), 9).searcher == "tpe"
    monkeypatch.setattr("searchd.searchers.tpe.need", lacking)
    monkeypatch.setattr("searchd.searchers.auto.need", lacking)
    assert needs.need is not lacking
    for searcher in ("tpe", "auto", "mobster"):
        assert rehearse(study(9, searcher=searcher, scheduler="asha"), 9).searcher == "evolution"


def test_options_of_the_searcher_stay_behind() -> None:
    """A stand-in is not given options that it does not take; those of the scheduler are kept."""
    spec = study(9, scheduler="asha", searcher="mobster", options={"rows": 50, "order": "crowding"})
    assert rehearse(spec, 9).searcher == "auto"


def test_time_and_formulas_are_rehearsed() -> None:
    """Made-up worlds bring the seconds and what formulas read: trials report, and go up as with any other objective."""
    spec = study(12, scheduler="asha", searcher="random")
    plain = rehearse(spec, 12)
    for objectives in ({"train_s": "minimize"}, {"cost": {"goal": "minimize", "formula": "a + log(train_s)"}}):
        timed = rehearse(Study.parse({**spec.dump(), "objectives": objectives}), 12)
        assert timed.rungs[0][0] == plain.rungs[0][0]
        assert 0.5 * plain.steps < timed.steps < 2 * plain.steps
