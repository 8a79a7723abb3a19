"""Tree search: UCT by arithmetic, bisection, and what is left to chance."""

from __future__ import annotations

from collections import Counter
from math import log, sqrt
from typing import Any

import numpy as np
import pytest

from searchd.schedulers.events import Losses
from searchd.searchers.base import History, Record, State, generator
from searchd.searchers.mcts import MctsSearcher
from spaces.space import Space


def history(space: Space, tried: list[tuple[dict[str, Any], float | None]]) -> History:
    """Trials with a loss at rung 1, or running where it is None."""
    records = []
    for i, (values, loss) in enumerate(tried):
        state: State = "running" if loss is None else "paused"
        losses = {} if loss is None else {1: (Losses((loss,)),)}
        records.append(Record(i, space.complete(values), state, 0 if loss is None else 1, 1, losses=losses))
    return History(space, tuple(records), 1, ((1,),))


def suggestions(past: History, name: str = "x", n: int = 40, **options: Any) -> list[Any]:
    return [MctsSearcher(**options).suggest(t, past, generator(0, t))[name] for t in range(100, 100 + n)]


def test_uct_by_hand() -> None:
    """Of two visited options the one of larger mean merit + c · sqrt(2 ln n / n_child) is taken: it flips at the c
    where the two are equal."""
    space = Space.parse({"x": {"choice": ["a", "b"]}, "y": {"float": [0, 1]}})
    tried = [({"x": "a", "y": 0.5}, float(i)) for i in range(8)] + [({"x": "b", "y": 0.5}, 3.5)]
    past = history(space, tried)
    merit = 1 - np.array([0, 1, 2, 3, 5, 6, 7, 8]) / 8
    gap = merit.mean() - (1 - 4 / 8)
    assert gap == 0.0
    tried[-1] = ({"x": "b", "y": 0.5}, 100.0)
    past = history(space, tried)
    means = (1 - np.arange(8) / 8).mean(), 0.0
    flip = (means[0] - means[1]) / (sqrt(2 * log(9)) * (1 - sqrt(1 / 8)))
    assert set(suggestions(past, c=flip * 0.99)) == {"a"}
    assert set(suggestions(past, c=flip * 1.01)) == {"b"}


def test_an_unvisited_child_is_first() -> None:
    """An option that nobody tried is taken before any other, however good those are."""
    space = Space.parse({"x": {"choice": ["a", "b", "c", "d"]}})
    past = history(space, [({"x": x}, 0.0) for x in "aabbcc"])
    assert set(suggestions(past)) == {"d"}


def test_pending_trials_are_visits() -> None:
    """A running trial counts as a visit of average merit: the next worker goes elsewhere."""
    space = Space.parse({"x": {"choice": ["a", "b", "c"]}})
    known = [({"x": "a"}, float(i)) for i in range(6)]
    assert Counter(suggestions(history(space, known))).keys() == {"b", "c"}
    assert set(suggestions(history(space, [*known, ({"x": "b"}, None)]))) == {"c"}


@pytest.mark.parametrize(
    "domain",
    [{"float": [0, 16]}, {"int": [0, 15]}, {"float": [0, 15], "step": 1}, {"choice": list(range(16)), "ordered": True},
     {"int": [1, 15], "log": True}, {"float": [1, 16], "log": True}],
)  # fmt: skip
def test_bisection_finds_the_half(domain: dict[str, Any]) -> None:
    """With everything tried and the best at 13, ever finer cells of ordered domains keep the good one."""
    space = Space.parse({"x": domain})
    values = range(1, 16)
    past = history(space, [({"x": v}, abs(v - 13)) for v in values for _ in range(4)])
    found = suggestions(past, c=0.0, resolution=8)
    assert np.median([abs(v - 13) for v in found]) <= 1.5
    coarse = suggestions(past, c=0.0, resolution=1)
    middle = 4 if domain.get("log") else 8
    assert min(coarse) >= middle - 0.5
    assert len({round(v) for v in coarse}) > 4, "below the resolution it is random"


def test_conditions_and_subsets() -> None:
    """The tree goes on under the option that was chosen; a subset is decided item by item within its sizes."""
    options = {"choice": {"p": {"x": {"float": [0, 1]}}, "q": {}}}
    space = Space.parse({"o": options, "s": {"subset": ["a", "b", "c"], "min": 1, "max": 2}})
    tried = []
    for t in range(60):
        config = space.sample(generator(3, t))
        good = config["o"] == "p" and config["o.p.x"] > 0.5 and "b" in config["s"]
        tried.append((dict(config), 0.0 if good else 1.0 + t))
    past = history(space, tried)
    found = [MctsSearcher(c=0.0, resolution=1).suggest(t, past, generator(0, t)) for t in range(100, 120)]
    assert all(c["o"] == "p" and c["o.p.x"] > 0.5 and "b" in c["s"] for c in found)


def test_a_few_random_trials_come_first() -> None:
    """Before `startup` trials reported, the suggestion is the space's own sample."""
    space = Space.parse({"x": {"choice": ["a", "b"]}})
    past = history(space, [({"x": "a"}, 0.0)] * 4)
    assert MctsSearcher().suggest(9, past, generator(0, 9)) == space.sample(generator(0, 9))
    assert set(suggestions(past, startup=4)) == {"b"}
