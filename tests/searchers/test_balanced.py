"""Trials dealt out to the options of a choice: equally many, each option searched as if it were alone."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from numpy.random import Generator

from searchd.errors import SearchdError, StudyError
from searchd.search.algorithms import SEARCHERS, check_options, make_searcher
from searchd.search.events import Deepened, Extended, Injected
from searchd.search.search import Search
from searchd.searchers.balanced import Balanced
from searchd.searchers.base import History, Morphed, Record, Searcher, generator
from searchd.searchers.table import Table
from spaces.balance import choices, narrowed
from spaces.config import Config
from spaces.lint import lint_study
from spaces.study import Earlier, EarlierTrial, Study
from tests.support.chaos import chaos
from tests.support.studies import run, study

SLOW = {"optuna-gp"}
NAMES = [name for name in SEARCHERS if name not in {"pbt"} | SLOW]
THREE: dict[str, Any] = {
    "x": {"float": [0, 1]}, "lr": {"float": [1e-4, 1], "log": True},
    "optimizer": {"choice": {
        "sgd": {"momentum": {"float": [0, 0.99]}}, "adam": {"beta": {"float": [0.8, 0.999]}}, "lion": {},
    }},
}  # fmt: skip


def balanced(searcher: str, scheduler: str = "fifo", trials: int = 18, **more: Any) -> Study:
    options = {"balanced": "optimizer", **more}
    said = {"scheduler": scheduler, "searcher": searcher, "R": 9, "options": options}
    return study(space=THREE, search=said, budget={"trials": trials})


@pytest.mark.parametrize("name", NAMES)
def test_each_option_gets_as_many_trials(name: str) -> None:
    """With every searcher, in turn in the order of the space; at any moment no option is two ahead."""
    search = Search(balanced(name), seed=1)
    run(search, 3)
    dealt = [r.config["optimizer"] for r in search.trials.values()]
    assert dealt == ["sgd", "adam", "lion"] * 6


@pytest.mark.parametrize("name", ["random", "tpe", "auto", "evolution"])
def test_an_option_is_searched_as_if_it_were_alone(name: str) -> None:
    """One worker: the trials of an option are those of a study whose choice has that option only, drawn by the same
    generators; what the other options brought changes nothing."""
    search = Search(balanced(name), seed=1)
    run(search)
    for place, option in enumerate(["sgd", "adam", "lion"]):
        space = narrowed(search.study.space, "optimizer", option)
        alone = make_searcher(balanced(name).search.model_copy(update={"options": {}}), 1)
        mine = [r for r in search.trials.values() if r.config["optimizer"] == option]
        records: list[Record] = []
        for i, record in enumerate(mine):
            past = History(space, tuple(records), 1, search.scheduler.ladders())
            assert alone.suggest(i, past, generator(1, 3 * i + place)) == record.config
            born = sum(len(r.losses) for r in records)
            heard = dict.fromkeys(record.losses, born)
            records.append(Record(i, record.config, record.state, record.step, record.until, losses=record.losses,
                                  born=born, heard=heard))  # fmt: skip


class Cut:
    """Up to a trial the configs of the log, from there on a fresh searcher."""

    def __init__(self, known: dict[int, Config], then: Searcher) -> None:
        self.known, self.then = known, then

    def suggest(self, trial: int, history: History, rng: Generator) -> Config | Morphed:
        known = self.known.get(trial)
        return self.then.suggest(trial, history, rng) if known is None else known


@pytest.mark.parametrize("name", ["tpe", "auto", "portfolio", "evolution"])
@pytest.mark.parametrize("scheduler", ["asha", "auto"])
def test_a_search_in_trouble_is_replayed(name: str, scheduler: str) -> None:
    """Lost, failed and injected trials, several workers, a deepening: a search that is rebuilt in the middle with a
    fresh searcher answers the same, and no option is far ahead."""
    spec = balanced(name, scheduler)
    live = Search(spec)
    log = chaos(live, 7, 4, 80, deeper=1, most=20)
    configs = {trial: record.config for trial, record in live.trials.items()}
    half = dict(list(configs.items())[: len(configs) // 2])
    again = Search(spec, searcher=Cut(half, make_searcher(spec.search, 0)))
    for event, answer in log:
        assert (again.ask() if event is None else again.tell(event)) == answer
    counts = Counter(config["optimizer"] for config in configs.values())
    assert max(counts.values()) - min(counts.values()) <= 2


@pytest.mark.parametrize("name", ["tpe", "auto", "evolution"])
def test_warm_equals_fresh(name: str) -> None:
    """A searcher that suggested for other histories before answers as a fresh one does."""
    spec = balanced(name)
    searches = [Search(spec, seed=seed) for seed in (1, 2)]
    for search in searches:
        run(search, report=lambda s, job, step: ({"loss": job.config["x"] * (s.study.seed + 1) / step}, ()))
    pasts = [s.history for s in searches]
    warm = make_searcher(spec.search, 0)
    for past in [*pasts, *pasts]:
        for trial in (18, 19):
            fresh = make_searcher(spec.search, 0).suggest(trial, past, generator(0, trial))
            assert warm.suggest(trial, past, generator(0, trial)) == fresh


class Spy:
    """Random configs; compares the table that it is given with one that is built from the records."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def suggest(self, trial: int, history: History, rng: Generator) -> Config | Morphed:
        kept = history.table
        built = Table.of(history.space, history.objectives, history.ladders, history.records)
        assert kept.steps == built.steps
        assert len(kept) == len(built) == trial == len(history.records)
        for column in ("trials", "units", "state", "depth", "until", "born", "loss", "violation", "heard"):
            np.testing.assert_array_equal(getattr(kept, column), getattr(built, column), column)
        self.seen.append(trial)
        return history.space.sample(rng)


def test_each_option_has_a_table_that_grows() -> None:
    """Through troubles and a deepening, what a searcher is given is its option's own history, numbered from 0."""
    spies: list[Spy] = []

    def make() -> Spy:
        spies.append(Spy())
        return spies[-1]

    search = Search(balanced("random", "asha"), searcher=Balanced("optimizer", make))
    chaos(search, 3, 3, 150, deeper=1, most=40)
    search.tell(Deepened(max(map(max, search.scheduler.ladders())) * 3))
    search.tell(Extended(60))
    run(search, 3)
    assert len(spies) == 3
    assert all(len(spy.seen) >= 15 for spy in spies)


def test_what_the_user_brings_counts() -> None:
    """After three configs of one option by hand, the others get their three first."""
    search = Search(balanced("random", trials=12))
    for x in (0.1, 0.2, 0.3):
        config = Config({"x": x, "lr": 0.1, "optimizer": "sgd", "optimizer.sgd.momentum": 0.5})
        search.tell(Injected(config))
    run(search)
    dealt = [r.config["optimizer"] for r in search.trials.values()]
    assert dealt[3:9] == ["adam", "lion"] * 3
    assert Counter(dealt) == {"sgd": 4, "adam": 4, "lion": 4}


def test_earlier_studies_begin_each_option() -> None:
    """`warm_start`: the first trial of an option is the best config that the earlier study has of it."""
    told = tuple(
        EarlierTrial(config={"x": x, "lr": 0.1, "optimizer": o, **more}, values=(x,))
        for x in (0.4, 0.2)
        for o, more in (("sgd", {"optimizer.sgd.momentum": 0.5}), ("lion", {}))
    )
    spec = balanced("random").model_copy(update={"earlier": (Earlier(name="a", study="a", step=9, trials=told),)})
    search = Search(spec)
    run(search)
    first = {o: next(r for r in search.trials.values() if r.config["optimizer"] == o) for o in ("sgd", "lion")}
    assert [r.config["x"] for r in first.values()] == [0.2, 0.2]


def test_constants_count_within_an_option() -> None:
    """With `constants: 2` every second trial of each option is constant, not every second of all."""
    space = {**THREE, "x": {"float": [0, 1], "schedule": {"piecewise": [1, 9]}}}
    said = {"scheduler": "fifo", "searcher": "random", "options": {"balanced": "optimizer", "constants": 2}}
    search = Search(study(space=space, search=said, budget={"trials": 12}))
    run(search, report=lambda _, job, __: ({"loss": float(job.config["lr"])}, ()))
    flat = [r.config["x.0"] == r.config["x.1"] for r in search.trials.values()]
    assert flat == [False] * 3 + [True] * 3 + [False] * 3 + [True] * 3


def test_which_choices_can_be_balanced() -> None:
    """Choices of the first level; a space cut to one option has the others' parameters no more."""
    space = study().space
    assert choices(space) == {"optimizer": ("sgd", "adam")}
    assert narrowed(space, "optimizer", "adam").names == ("x", "lr", "optimizer", "optimizer.adam.beta")


@pytest.mark.parametrize(("change", "said"), [
    ({"search": {"options": {"balanced": "optimizr"}}}, "no parameter: did you mean 'optimizer'"),
    ({"search": {"options": {"balanced": "x"}}}, "no choice on the first level: known: optimizer"),
    ({"search": {"options": {"balanced": "optimizer"}}, "constraints": ["optimizer == 'sgd'"]},
     "optimizer = 'adam' has no config"),
    ({"space": {"optimizer": {"choice": ["sgd"]}}, "search": {"options": {"balanced": "optimizer"}}}, "the one option"),
    ({"search": {"scheduler": "pbt", "searcher": "pbt", "options": {"balanced": "optimizer", "explore": ["x"]}}},
     "pbt hands weights on"),
])  # fmt: skip
def test_what_cannot_be_balanced_is_told(change: dict[str, Any], said: str) -> None:
    """At its place in the study file, with the remedy."""
    with pytest.raises(StudyError, match=said):
        study(**change)


def test_it_is_an_option_of_every_pair() -> None:
    """A name; anything else is told by `validate`."""
    check_options(balanced("tpe").search)
    with pytest.raises(SearchdError, match="balanced needs a name, but is 3"):
        check_options(study(search={"options": {"balanced": 3}}).search)


def test_unequal_steps_and_unequal_counts_are_found() -> None:
    """A scheduler that stops trials early gives options unequal steps; a budget that the options do not divide leaves
    some with a trial less."""
    odd = [str(f) for f in lint_study(balanced("random", "asha", trials=10))]
    assert any("search.options.balanced: asha trains" in f for f in odd)
    assert any("budget.trials: 10 trials for 3 options" in f for f in odd)
    assert not [f for f in lint_study(balanced("random")) if "balanced" in f.path or "options of" in f.message]
