"""Every searcher with a model, when all other trials are at rest: nothing is pending, and yet there are choices."""

from __future__ import annotations

import pytest

from searchd.schedulers.events import Losses
from searchd.search.algorithms import make_searcher
from searchd.searchers.base import History, Record, generator
from spaces.space import Space
from spaces.study import Study

SPACE = {"k": {"choice": ["a", "b", "c"]}, "x": {"float": [0, 1]}}


@pytest.mark.parametrize("name", ["auto", "mobster", "bohb", "smbo", "config", "scbo", "tpe", "gp"])
def test_a_suggestion_when_nothing_is_pending(name: str) -> None:
    """Twenty trials have reported at three rungs and rest: there is a suggestion."""
    said = {"study": "s", "space": SPACE, "objectives": {"loss": "minimize"}, "task": "a.b:c",
            "search": {"searcher": name, "r": 1, "R": 9}, "budget": {"trials": 30}}  # fmt: skip
    space = Space.parse(SPACE)
    records = tuple(
        Record(
            i, space.complete({"k": "abc"[i % 3], "x": i / 20}), "paused", 9, 9,
            losses={step: (Losses(((i / 20 - 0.6) ** 2 + 1 / step,), 0.0),) for step in (1, 3, 9)},
        )
        for i in range(20)
    )  # fmt: skip
    searcher = make_searcher(Study.parse(said).search, 0)
    config = searcher.suggest(20, History(space, records, 1, ((1, 3, 9),)), generator(0, 20))
    assert set(config) == {"k", "x"}
