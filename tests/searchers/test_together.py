"""`tpe` asked for several trials at once: one of them is what a single call says, and a cold `auto` gets the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from searchd.schedulers.events import Losses, TrialId
from searchd.searchers.auto import AutoSearcher
from searchd.searchers.base import History, Record, generator
from searchd.searchers.batches import Known
from searchd.searchers.table import Table
from searchd.searchers.tpe import Drawn, TpeSearcher, compose
from searchd.simulator.run import simulate
from searchd.simulator.world import Step
from spaces.config import Config
from spaces.space import Space
from spaces.study import Study

FLAT = {"x": {"float": [0, 1]}, "n": {"int": [1, 9]}, "kind": {"choice": ["a", "b", "c"]}}
TREE = {"x": {"float": [0, 1]}, "kind": {"choice": {"a": {"y": {"float": [0, 1]}}, "b": {"z": {"int": [1, 9]}}}}}
PRIOR = {"x": {"float": [0, 1], "prior": {"mean": 0.9, "sd": 0.05}}, "y": {"float": [0, 1]}}


def study(space: dict[str, Any], objectives: tuple[str, ...] = ("loss",)) -> Study:
    goals = dict.fromkeys(objectives, "minimize")
    search = {"scheduler": "auto", "searcher": "auto", "R": 9}
    return Study.parse({"study": "s", "space": space, "objectives": goals, "search": search, "task": "a:b",
                        "budget": {"trials": 120}})  # fmt: skip


def past(space: Space, n: int, seed: int, objectives: int = 1) -> History:
    """n trials that all reported at steps 1 and, a third of them, 3."""
    rng, records, tally = np.random.default_rng(seed), [], 0
    for trial in range(n):
        losses = {}
        for step in (1, 3)[: 1 + (trial % 3 == 0)]:
            losses[step] = (Losses(tuple(rng.random(objectives))),)
        heard = {step: tally + i for i, step in enumerate(losses)}
        tally += len(losses)
        records.append(Record(trial, space.sample(rng), losses=losses, state="paused", heard=heard, born=trial))
    return History(space, tuple(records), objectives, ((1, 3, 9),))


def known(table: Table) -> Known:
    return Known(table, len(table), table.entered)


@pytest.mark.parametrize("objectives", [1, 2])
@pytest.mark.parametrize("space", [FLAT, TREE, PRIOR])
def test_one_of_them_is_what_a_single_call_says(space: dict[str, Any], objectives: int) -> None:
    """With the same numbers drawn, while nothing is busy."""
    history = past(study(space).space, 60, 3, objectives)
    (drawn,) = TpeSearcher().several(known(history.table), (), 1, generator(0, 60))
    again = generator(0, 60)
    TpeSearcher().several(known(history.table), (), 1, again)  # `compose` goes on with the same numbers
    said = TpeSearcher().suggest(60, history, generator(0, 60))
    assert compose(history.space, drawn.at(0), again) == said


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.integers(2, 9))
def test_each_is_the_best_of_its_own_candidates(seed: int, n: int) -> None:
    """Several suggestions differ, and are no worse than one: they lie where the good trials of the past do."""
    space = study({"x": {"float": [0, 1]}, "y": {"float": [0, 1]}}).space
    rng, records = np.random.default_rng(seed), []
    for trial in range(80):
        config = space.sample(rng)
        losses = {9: (Losses((abs(config["x"] - 0.3),)),)}
        records.append(Record(trial, config, losses=losses, state="done", heard={9: trial}, born=trial))
    table = History(space, tuple(records), 1, ((9,),)).table
    found = TpeSearcher().several(known(table), (), n, generator(seed, 0))
    best = [drawn.at(0) for drawn in found]
    assert len({tuple(each.values()) for each in best}) == n
    assert np.median([abs(each[0] - 0.3) for each in best]) < 0.1


def test_the_next_best_is_another_one() -> None:
    """One place after the other gives different candidates by falling score, then the last again; groups that have
    fewer give their last."""
    x = np.array([[0.5, 0.1], [0.7, 0.1], [0.5, 0.1], [0.2, 0.9]])
    drawn = Drawn([([2, 0], x, np.array([3.0, 5.0, 3.0, 4.0])), ([1], np.array([[0.4]]), np.zeros(1))])
    found = [drawn.at(place) for place in range(5)]
    assert found[:3] == [{2: 0.7, 0: 0.1, 1: 0.4}, {2: 0.2, 0: 0.9, 1: 0.4}, {2: 0.5, 0: 0.1, 1: 0.4}]
    assert found[3] == found[4] == found[2]


class Steps:
    """A grid of 25 configs of which most are taken soon."""

    def train(self, _trial: TrialId, config: Config, since: int, until: int) -> Any:
        for step in range(since + 1, until + 1):
            yield Step(step, 1.0, {"loss": abs(config["a"] - 2) + abs(config["b"] - 3) + 0.1 / step})


def test_what_is_taken_costs_no_new_model() -> None:
    """In a small space most of what `tpe` likes is there already: the next of the same candidates are tried."""
    asked, refused = 0, 0

    class Counting(TpeSearcher):
        def drawn(self, *args: Any) -> Any:
            nonlocal asked
            asked += 1
            return super().drawn(*args)

    class Watched:
        def __init__(self) -> None:
            self.auto = AutoSearcher(0)
            self.auto._tpe = Counting()
            self.densities: set[TrialId] = set()

        def suggest(self, trial: TrialId, history: History, rng: Any) -> Config:
            nonlocal refused
            if trial > 12 and trial % 4 == 1 and trial % 10:
                self.densities.add(trial)
                refused += len(history.rejected) > 0
            return self.auto.suggest(trial, history, rng)

    space, watched = {"a": {"int": [0, 4]}, "b": {"int": [0, 4]}}, Watched()
    simulate(study(space), Steps(), workers=1, seconds=150, seed=1, searcher=watched)
    assert len(watched.densities) > 4
    assert refused > len(watched.densities)
    assert asked <= len(watched.densities) + 1


def test_too_little_is_known() -> None:
    history = past(study(FLAT).space, 9, 0)
    assert TpeSearcher().several(known(history.table), (), 3, generator(0, 9)) == []


def test_busy_trials_count_as_bad() -> None:
    """A cluster of trials that told nothing yet keeps suggestions away from it."""
    space = study({"x": {"float": [0, 1]}}).space
    rng, records = np.random.default_rng(0), []
    for trial in range(120):
        config = Config({"x": float(rng.random())})
        losses = {9: (Losses((1.0,)),)}
        records.append(Record(trial, config, losses=losses, state="done", heard={9: trial}, born=trial))
    far = []
    for busy in (0, 60):
        late = [Record(120 + i, Config({"x": 0.5 + 0.001 * i}), state="running", born=120) for i in range(busy)]
        table = History(space, (*records, *late), 1, ((9,),)).table
        found = TpeSearcher().several(known(table), (), 40, generator(1, 0))
        far.append(float(np.mean([abs(drawn.at(0)[0] - 0.53) > 0.1 for drawn in found])))
    assert far[1] > far[0] + 0.1


class Bowl:
    def train(self, _trial: TrialId, config: Config, since: int, until: int) -> Any:
        for step in range(since + 1, until + 1):
            yield Step(step, 1.0, {"loss": abs(config["x"] - 0.3) + 0.5 / step, "cost": config["x"]})


@pytest.mark.parametrize(("space", "objectives"), [(FLAT, ("loss",)), (TREE, ("loss",)), (FLAT, ("loss", "cost"))])
def test_auto_asks_for_several_and_a_cold_one_says_the_same(space: dict[str, Any], objectives: tuple[str, ...]) -> None:
    """With many workers a batch has several trials for `tpe`; a searcher that knows the records only suggests the same,
    whichever of them it is asked for first."""
    counted: list[int] = []
    checked = 0

    class Counting(TpeSearcher):
        def several(self, *args: Any) -> Any:
            found = super().several(*args)
            counted.append(len(found))
            return found

    class Twins:
        def __init__(self) -> None:
            self.warm = AutoSearcher(5)
            self.warm._tpe = Counting()

        def suggest(self, trial: TrialId, history: History, rng: Any) -> Config:
            nonlocal checked
            said = self.warm.suggest(trial, history, rng)
            if trial in (69, 93, 109) and not history.rejected:
                cold = History(history.space, history.records, history.objectives, history.ladders)
                assert AutoSearcher(5).suggest(trial, cold, generator(5, trial)) == said
                checked += 1
            return said

    simulate(study(space, objectives), Bowl(), workers=48, seed=5, searcher=Twins())
    assert checked >= 2
    assert max(counted) >= 2
