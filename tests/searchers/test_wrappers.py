"""Searchers that hold another one pass on what it says: a parent for the new trial, and a remark on the study."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from searchd.search.search import Search
from searchd.searchers.base import History, Morphed, Searcher, generator, remark_of
from searchd.searchers.beginning import Beginning
from searchd.searchers.constants import Constants
from searchd.searchers.portfolio import PortfolioSearcher
from spaces.space import Space
from spaces.study import Earlier, Study
from tests.support.studies import FUNCTION, NETS, run, study

SPACE = Space.parse({"k": {"int": [1, 64]}, "lr": {"float": [0.001, 1], "schedule": {"piecewise": [1, 3]}}})


class Heirs:
    """Always a child of trial 3, whose schedule is no constant, and a word on it."""

    def __init__(self) -> None:
        self.remark: str | None = None

    def suggest(self, trial: int, history: History, rng: Any) -> Morphed:  # noqa: ARG002
        self.remark = f"trial {trial} is a child"
        return Morphed(SPACE.complete({"k": 8, "lr": [0.1, 0.01]}), 3)


WRAPPERS: Mapping[str, Any] = {
    "beginning": lambda then: Beginning(4, then),
    "constants": lambda then: Constants(2, then),
    "portfolio": lambda then: PortfolioSearcher(0, {"one": then, "other": then}),
    "all": lambda then: Constants(2, Beginning(4, PortfolioSearcher(0, {"one": then, "other": then}))),
}


@pytest.mark.parametrize("name", WRAPPERS)
def test_a_parent_and_a_remark_are_passed_on(name: str) -> None:
    """As the inner searcher said them, for every trial; before it was asked there is no remark."""
    searcher: Searcher = WRAPPERS[name](Heirs())
    assert not remark_of(searcher)
    for trial in range(6):
        said = searcher.suggest(trial, History(SPACE), generator(0, trial))
        assert said == Morphed(SPACE.complete({"k": 8, "lr": [0.1, 0.01]}), 3)
        assert remark_of(searcher) == f"trial {trial} is a child"


def heirs(spec: Study) -> list[Any]:
    return [job for job in run(Search(spec), 3) if job.morph is not None]


def test_children_after_a_warm_start() -> None:
    """Evolution that begins with earlier configs has children with their parents' weights, and its first ten trials
    are those configs, without a parent."""
    options = {"morph": 0.8, "startup": 4}
    search = {"scheduler": "asha", "searcher": "evolution", "brackets": None, "options": options}
    cold = study(NETS, search=search, budget={"trials": 40})
    first = Search(study(NETS, budget={"trials": 30}))
    run(first, 2)
    known = [r for r in first.trials.values() if 1 in r.losses]
    trials = [{"config": r.config.flat(), "values": r.losses[1][0].values} for r in known]
    earlier = Earlier.model_validate({"name": "first", "study": "first-1", "step": 1, "trials": trials})
    warm = cold.model_copy(update={"earlier": (earlier,)})
    begun = Search(warm)
    found = heirs(warm)
    run(begun, 3)
    digests = {r.config.digest for r in known}
    assert all(begun.trials[t].config.digest in digests and begun.trials[t].morph is None for t in range(10))
    assert len(found) > 5
    assert heirs(warm) == found


def test_children_beside_constants() -> None:
    """A study with schedules takes both options: some constants, some children, and no child was flattened."""
    space = {**FUNCTION["space"], "k": {"int": [1, 64], "log": True},
             "drop": {"float": [0, 1], "schedule": {"piecewise": [1, 9]}}}  # fmt: skip
    options = {"morph": 0.6, "grow": ["k"], "startup": 4, "constants": 2}
    spec = study(FUNCTION, space=space, search={"searcher": "evolution", "options": options}, budget={"trials": 60})
    search = Search(spec)
    children = [job for job in run(search, 3) if job.morph is not None]
    flat = {t for t, r in search.trials.items() if r.config["drop.0"] == r.config["drop.1"]}
    assert len(children) > 5
    assert len(flat) > 10
    for job in children:
        parent = search.trials[job.parent].config
        assert {n: v for n, v in job.config.items() if n != "k"} == {n: v for n, v in parent.items() if n != "k"}
