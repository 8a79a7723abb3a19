"""Explore: near the parent in what may change, equal to it in the rest."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchd.searchers.base import History, Record, generator
from searchd.searchers.pbt import PbtSearcher, perturbed
from spaces.domains import Choice, Const, Domain, Float, Int, Subset
from spaces.errors import StudyError
from spaces.space import Space
from spaces.study import Study

SPACE = Space.parse(
    {
        "width": {"int": [4, 64]},
        "optimizer": {"choice": {"sgd": {"lr": {"float": [0.001, 1], "log": True}}, "adamw": {}}},
        "batch": {"int": [8, 64], "step": 8},
    },
    ["width + batch <= 100"],
)


@pytest.mark.parametrize(
    ("domain", "value", "up", "down"),
    [
        (Float(0, 10), 5.0, 6.0, 4.0),
        (Float(0, 10), 9.0, 10.0, 7.2),
        (Float(0, 1, step=0.1), 0.2, 0.3, 0.1),
        (Int(1, 100), 50, 60, 40),
        (Int(1, 100, log=True), 1, 2, 1),
        (Int(8, 62, step=8), 56, 56, 48),
        (Choice((1, 2, 4), ordered=True), 2, 4, 1),
        (Choice(("a", "b")), "a", "a", "a"),
        (Subset((1, 2, 3)), (1,), (1,), (1,)),
        (Const(3), 3, 3, 3),
    ],
)
def test_perturbed(domain: Domain, value: Any, up: Any, down: Any) -> None:
    """Times 1.2 or 0.8 within the range, a step at least on a grid, a neighbour among ordered options, else itself."""
    assert perturbed(domain, value, 1.2) == pytest.approx(up) if isinstance(up, float) else up
    assert perturbed(domain, value, 0.8) == pytest.approx(down) if isinstance(down, float) else down


@given(seed=st.integers(0, 10**6))
def test_only_what_may_change_changes(seed: int) -> None:
    """The child is a config of the space; outside `explore` it is its parent; without a parent it is any config."""
    parent = SPACE.sample(generator(seed, 0))
    history = History(SPACE, (Record(0, parent, "paused", 3, 3),), parent=0)
    child = PbtSearcher(["optimizer.sgd", "batch"]).suggest(1, history, generator(seed, 1))
    SPACE.check(child)
    assert child["width"] == parent["width"]
    assert child["optimizer"] == parent["optimizer"]
    SPACE.check(PbtSearcher(["batch"]).suggest(1, History(SPACE), generator(seed, 1)))


def test_it_does_change() -> None:
    """Over many children the learning rate goes up and down by a fifth, and is sometimes drawn anew."""
    parent = SPACE.complete({"width": 8, "batch": 32, "optimizer": {"name": "sgd", "lr": 0.1}})
    history = History(SPACE, (Record(0, parent, "paused", 3, 3),), parent=0)
    drawn = [PbtSearcher(["optimizer"]).suggest(t, history, generator(0, t)) for t in range(200)]
    rates = np.array([c["optimizer.sgd.lr"] for c in drawn if c["optimizer"] == "sgd"])
    assert 40 < np.isclose(rates, 0.12).sum() < 110
    assert 40 < np.isclose(rates, 0.08).sum() < 110
    assert (~np.isclose(rates, 0.12) & ~np.isclose(rates, 0.08)).sum() > 10


@pytest.mark.parametrize(
    ("search", "words"),
    [
        ({"scheduler": "pbt", "searcher": "tpe"}, "write searcher: pbt"),
        ({"scheduler": "asha", "searcher": "pbt"}, "write scheduler: pbt"),
        ({"scheduler": "pbt", "searcher": "pbt"}, r"pbt needs explore: \[names\]"),
        ({"scheduler": "pbt", "searcher": "pbt", "options": {"explore": ["lrr"]}}, "did you mean 'lr'"),
    ],
)
def test_refused(search: dict[str, Any], words: str) -> None:
    """Half of the method, and names that the space does not have."""
    with pytest.raises(StudyError, match=words):
        Study.parse({"study": "p", "space": {"lr": {"float": [0, 1]}}, "objectives": {"e": "minimize"},
                     "task": "m:f", "search": search})  # fmt: skip
