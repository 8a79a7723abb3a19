"""`plan`: exact numbers for synchronous Hyperband, expected ones for the others, and what is doubtful."""

from __future__ import annotations

import json
from typing import Any

import pytest

from searchd.errors import SearchdError
from searchd.plan import plan
from searchd.search.search import Search
from spaces.study import Study
from tests.support.studies import FUNCTION, NETS, run, study


def test_hyperband_of_243() -> None:
    """R = 243, eta = 3: 6 brackets, 415 trials, 6,831 steps resumed, 8,457 restarted."""
    answer = plan(study({**FUNCTION, "budget": {}}, search={"scheduler": "hyperband", "R": 243}))
    assert (len(answer["brackets"]), answer["trials"], answer["steps"], answer["steps_restart"]) == (6, 415, 6831, 8457)
    assert answer["brackets"][5] == {"rungs": [{"trials": 6, "step": 243}]}
    assert answer["exact"]
    assert json.loads(json.dumps(answer)) == answer


@pytest.mark.parametrize(
    "search",
    [
        {"scheduler": "fifo"}, {"scheduler": "hyperband"}, {"scheduler": "hyperband", "brackets": 2},
        {"scheduler": "hyperband", "options": {"rounding": "bohb"}},
        {"scheduler": "asha", "options": {"promotion": "delayed"}},
    ],
)  # fmt: skip
@pytest.mark.parametrize("trials", [7, 27, 60])
def test_plans_are_kept(search: dict[str, Any], trials: int) -> None:
    """Where the plan is exact (and for delayed promotion), a search without trouble takes just those jobs."""
    spec = study(search=search, budget={"trials": trials})
    answer = plan(spec)
    jobs = run(Search(spec), 3)
    assert len({j.trial for j in jobs}) == answer["trials"] == trials
    assert sum(j.until - j.since for j in jobs) == answer["steps"]
    assert sum(j.until for j in jobs) == answer["steps_restart"]


@pytest.mark.parametrize(
    "search", [{"scheduler": "asha"}, {"scheduler": "async-hyperband"}, {"scheduler": "auto", "searcher": "auto"}]
)
def test_what_depends_on_losses_is_a_range(search: dict[str, Any]) -> None:
    """Steps are an expected number between a fewest and a most, and a search takes a number between them."""
    spec = study(search={**search, "R": 9}, budget={"trials": 27})
    answer = plan(spec)
    fewest, most = answer["steps_range"]
    assert not answer["exact"]
    assert fewest < answer["steps"] < most
    assert any("expected" in note for note in answer["notes"])
    assert fewest <= sum(j.until - j.since for j in run(Search(spec), 3)) <= most
    begun = {"async-hyperband": [15, 7, 5]}.get(search["scheduler"], [27])
    assert [b["rungs"][0]["trials"] for b in answer["brackets"]] == begun


def test_the_fewest_of_asha_is_its_quota() -> None:
    """Where nobody is overtaken, floor(n / eta) of each rung go on."""
    assert plan(study(budget={"trials": 27}))["steps_range"][0] <= 27 + 9 * 2 + 3 * 6


def test_auto_is_not_priced_as_asha() -> None:
    """`auto` calibrates with long trials and resumes: a small study takes several times the quota of ASHA, and the plan
    says how much it could be at most."""
    answer = plan(study(search={"scheduler": "auto", "searcher": "auto", "R": 27}, budget={"trials": 12}))
    fewest, most = answer["steps_range"]
    assert fewest > 2 * (12 + 4 * 2 + 1 * 6)
    assert fewest <= 148 <= most  # what such a study took, trained for real
    assert "the most it could take: 324 epochs, if everyone trained to R = 27" in answer["notes"]


def test_a_slow_searcher_is_played_by_another() -> None:
    """A plan waits for no Gaussian process: who suggested instead is said."""
    answer = plan(study(search={"searcher": "mobster"}, budget={"trials": 20}))
    assert any("auto in place of mobster" in note for note in answer["notes"])
    assert answer["searcher"] == "mobster"


def test_async_hyperband_splits_the_trials() -> None:
    """All trials are in one of the brackets, by the weights of the round."""
    answer = plan(study(NETS, budget={"trials": 40}))
    assert [b["rungs"][0] for b in answer["brackets"]] == [{"trials": 27, "step": 1}, {"trials": 13, "step": 3}]


def test_without_a_number_of_trials() -> None:
    """An endless search has no totals; its notes say how it ends."""
    answer = plan(study({**FUNCTION, "budget": {"hours": 2, "steps": 50}}))
    assert (answer["trials"], answer["steps"], answer["steps_restart"]) == (None, None, None)
    assert "goes on for 2 hours or for 50 epochs" in answer["notes"][0]
    assert "goes on until it is stopped" in plan(study({**FUNCTION, "budget": {}}))["notes"][0]


def test_notes() -> None:
    """Too few trials for R, a bracket cut short, too few steps: said before anything is spent."""
    assert any("no trial reaches R = 9" in n for n in plan(study(budget={"trials": 5}))["notes"])
    cut = plan(study(search={"scheduler": "hyperband"}, budget={"trials": 20}))
    assert any("budget.trials = 20 cuts the last one short" in n for n in cut["notes"])
    short = plan(study(search={"scheduler": "fifo"}, budget={"trials": 20, "steps": 100}))
    assert any("would take 180 epochs, and the budget ends after 100" in n for n in short["notes"])
    tight = plan(study(NETS, objectives={"bytes": {"goal": "minimize", "at_most": 300}}))
    assert any("of configs keep the bounds (bytes = " in n for n in tight["notes"])


def test_space_facts() -> None:
    """Sub-spaces in words, the size (None: endless), the share that the constraints accept."""
    answer = plan(study())
    assert answer["subspaces"] == ["optimizer = sgd: 4 parameters", "optimizer = adam: 4 parameters"]
    assert answer["size"] is None
    small = plan(study(NETS, constraints=["width <= 8"]))
    assert small["size"] == 21 * (4 + 16 + 64) * 4
    assert 0.2 < small["acceptance"] < 0.6
    assert small["subspaces"] == []


def test_a_search_that_cannot_be_built() -> None:
    """An unknown option is told by the plan too."""
    with pytest.raises(SearchdError, match="has no option"):
        plan(study(search={"options": {"speed": 1}}))


def test_races_are_told_in_instances() -> None:
    """R of `acband` is instances to spend, not runs; one round is one round; each run is one config on one instance."""
    races = {"command": ["solve"], "instances": [f"i{n}" for n in range(3)], "cap_s": 5}
    search = {"scheduler": "acband", "searcher": "random", "r": 1, "R": 60, "unit": "instance",
              "options": {"alpha": 0.2, "delta": 0.2, "k": 2}}  # fmt: skip
    said = {**FUNCTION, "objectives": {"run_time_s": "minimize"}, "task": races, "search": search, "budget": {}}
    answer = plan(Study.parse(said))
    assert any("R = 60 instances to spend, and the task has 3" in note for note in answer["notes"])
    assert "epoch 4: 2 configs race on 2 instances in 1 round" in answer["notes"]
    assert answer["steps"] == answer["steps_range"][0] == 114


def test_acband_with_options_of_a_searcher_and_restarts() -> None:
    """Options of the searcher are no options of the races; each restart has configs of its own, the last race none."""
    spec = study({
        "study": "s", "space": {"x": {"float": [0, 1]}}, "objectives": {"run_time_s": "minimize"},
        "search": {"scheduler": "acband", "searcher": "tpe", "R": 400,
                   "options": {"alpha": 0.2, "delta": 0.2, "k": 4, "restarts": 3, "startup": 5}},
        "task": {"command": ["solve", "{instance}"], "instances": 20, "cap_s": 3},
    })  # fmt: skip
    found = plan(spec)
    rungs = [bracket["rungs"][0]["trials"] for bracket in found["brackets"]]
    assert found["trials"] == sum(rungs)
    assert rungs[-1] == 0
    assert rungs[: len(rungs) // 3] * 3 == rungs[:-1]
    assert any(note.startswith("the winners: 3 configs race") for note in found["notes"])
