"""One contract suite over every searcher: stateless, seeded a trial, inside the space and its constraints."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from searchd.schedulers.events import Losses
from searchd.search.algorithms import SEARCHERS, make_searcher
from searchd.search.search import Search
from searchd.searchers.base import History, Record, Searcher, generator
from spaces.config import Config
from spaces.space import Space
from tests.support.studies import FUNCTION, NETS, run, study

SLOW = {"optuna-gp"}
"""Searchers that take tenths of a second for a suggestion: test_optuna_gp.py has the contract in small."""
HALF = {"pbt"}
"""One half of a pair that stands in no other: see tests/searchers/test_pbt_searcher.py."""
EACH = pytest.mark.parametrize("name", [name for name in SEARCHERS if name not in SLOW | HALF])
SPACES: dict[str, Space] = {
    "conditional": Space.parse(FUNCTION["space"]),
    "repeated": Space.parse(NETS["space"], ["width * depth <= 30"]),
    "every domain": Space.parse(
        {
            "a": {"float": [0, 1], "step": 0.1}, "b": {"int": [1, 10], "step": 3}, "c": {"int": [1, 100], "log": True},
            "d": {"choice": [None, True, "x", 1.5]}, "e": {"choice": [1, 2, 4], "ordered": True},
            "f": {"subset": ["p", "q", "r"], "min": 1, "max": 2}, "g": {"const": [1, 2]}, "h": {"float": [2, 2]},
            "i": {"int": [3, 3]}, "j": {"choice": ["only"]}, "k": {"float": [1e-5, 1], "log": True},
        }
    ),
    "constants": Space.parse({"a": 1, "b": {"const": "x"}}),
}  # fmt: skip


def make(name: str, seed: int = 0) -> Searcher:
    return make_searcher(study(search={"searcher": name}).search, seed)


def history(space: Space, trials: int, objectives: int = 1, troubles: bool = True) -> History:
    """So many random trials: finished at rungs 1, 3 and 9, some running, failed, diverged, out of bounds."""
    records = []
    for trial in range(trials):
        config = space.sample(generator(99, trial))
        draw = np.random.default_rng(trial)
        state = "failed" if troubles and trial % 11 == 7 else "running" if trial % 5 == 4 else "paused"
        losses: dict[int, tuple[Losses, ...]] = {}
        for step in (1, 3, 9)[: 1 + trial % 3]:
            values = draw.random((2, objectives)).tolist()
            if troubles and trial % 7 == 3:
                values[0][0] = float("nan")
            losses[step] = tuple(Losses(tuple(v), float(trial % 4 == 0 and troubles)) for v in values)
        if state == "failed":
            losses = {}
        records.append(Record(trial, config, state, 0 if state == "failed" else max(losses), 1, losses=losses))  # type: ignore[arg-type]
    return History(space, tuple(records), objectives, ((1, 3, 9),))


@EACH
@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize(("trials", "objectives"), [(0, 1), (3, 1), (40, 1), (40, 3)])
def test_suggestions_are_configs_of_the_space(name: str, space: str, trials: int, objectives: int) -> None:
    """Every suggestion is exactly one feasible config, with no history, a short one, a long one with troubles."""
    past = history(SPACES[space], trials, objectives)
    for trial in range(trials, trials + 3):
        SPACES[space].check(make(name).suggest(trial, past, generator(0, trial)))


@EACH
@pytest.mark.parametrize("space", SPACES)
def test_warm_equals_fresh(name: str, space: str) -> None:
    """A searcher that suggested much before answers as a fresh one, and the order of calls changes nothing."""
    pasts = [history(SPACES[space], n, 2) for n in (0, 12, 30)]
    questions = [(trial, past) for past in pasts for trial in (30, 31, 32)]
    fresh = [make(name).suggest(trial, past, generator(5, trial)) for trial, past in questions]
    warm = make(name)
    assert [warm.suggest(trial, past, generator(5, trial)) for trial, past in questions] == fresh
    again = {i: warm.suggest(*questions[i], generator(5, questions[i][0])) for i in reversed(range(len(questions)))}
    assert [again[i] for i in range(len(questions))] == fresh


@EACH
@pytest.mark.parametrize("trials", [0, 30])
def test_trials_get_different_configs(name: str, trials: int) -> None:
    """With the same history, different trials get different suggestions, and another seed another one."""
    space = SPACES["conditional"]
    past = history(space, trials)
    found = {make(name).suggest(trial, past, generator(0, trial)) for trial in range(30, 38)}
    assert len(found) == 8
    assert make(name, seed=1).suggest(30, past, generator(1, 30)) not in found


@EACH
def test_a_rejected_suggestion_is_not_repeated(name: str) -> None:
    """Asked again for a trial after a rejection, with its generator further on, a searcher says something else."""
    space = SPACES["conditional"]
    for trials in (0, 30):
        rng = generator(0, 30)
        past = history(space, trials)
        first = make(name).suggest(30, past, rng)
        past = History(space, past.records, 1, past.ladders, rejected=(first,))
        assert make(name).suggest(30, past, rng) != first


@EACH
@pytest.mark.parametrize("base", [FUNCTION, NETS])
def test_a_whole_search_is_reproducible(name: str, base: dict[str, Any]) -> None:
    """Two searches with one seed give the same jobs with three workers; another seed gives others."""
    spec = study(base, search={"searcher": name}, budget={"trials": 24})
    first, second, other = (run(Search(spec, seed=seed), 3) for seed in (4, 4, 5))
    assert first == second
    assert [j.config for j in other] != [j.config for j in first]


def test_generator_of_a_trial() -> None:
    """The generator is Philox with the key (seed, trial); a negative seed is one too."""
    assert generator(0, 1).integers(1000) != generator(1, 0).integers(1000)
    assert generator(-1, 0).bit_generator.state["state"]["key"].tolist() == [2**64 - 1, 0]


def test_history_counts_the_failed_where_they_were_due() -> None:
    """A trial that failed on its way to a rung is in that rung, without a point."""
    config = Config({"x": 1.0})
    failed = Record(0, config, "failed", step=0, until=1)
    later = Record(1, config, "failed", step=1, until=3, losses={1: (Losses((0.5,)),)})
    past = History(SPACES["conditional"], (failed, later))
    assert past.at(1) == {0: (), 1: (Losses((0.5,)),)}
    assert past.at(3) == {1: ()}
    assert past.steps() == [1]
