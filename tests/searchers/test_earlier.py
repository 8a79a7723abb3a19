"""Earlier studies on a new space: which configs fit, their ranks, and searchers that begin with them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from searchd.schedulers.events import Losses
from searchd.search.algorithms import SEARCHERS, make_searcher
from searchd.search.search import Search
from searchd.searchers.base import History, Record, generator
from searchd.searchers.earlier import FADE, first_configs, foreign, share
from searchd.searchers.tpe import TpeSearcher
from spaces.space import Space
from spaces.study import Earlier
from tests.support.studies import run, study

LINE = Space.parse({"x": {"float": [0, 1]}, "y": {"float": [0, 1]}})


def past(configs: list[dict[str, Any]], values: list[Any], name: str = "old") -> Earlier:
    trials = [
        {"config": c, "values": None if v is None else (v,) if isinstance(v, float) else v}
        for c, v in zip(configs, values, strict=True)
    ]
    return Earlier.model_validate({"name": name, "study": name, "step": 9, "trials": trials})


def line(best: float, n: int = 30, name: str = "old") -> Earlier:
    xs = [float(x) for x in np.random.default_rng(3).random(n)]
    return past([{"x": x, "y": 0.5} for x in xs], [abs(x - best) * 100 for x in xs], name)


def test_ranks_are_within_a_study() -> None:
    """The best has rank 0 whatever the size of its loss; what diverged is last."""
    (one,) = foreign(LINE, [past([{"x": x, "y": 0.0} for x in (0.1, 0.2, 0.3, 0.4)], [7e9, 5.0, None, 6.0])])
    assert [c["x"] for c in one.configs] == [0.2, 0.4, 0.1, 0.3]
    assert one.rank.tolist() == [0.0, 0.25, 0.5, 0.75]


def test_several_objectives_rank_by_layers() -> None:
    """What nothing dominates comes first."""
    (one,) = foreign(LINE, [past([{"x": x} for x in (0.1, 0.2, 0.3)], [(2.0, 2.0), (0.0, 3.0), (1.0, 1.0)])])
    assert {c["x"] for c in one.configs[:2]} == {0.2, 0.3}


def test_parameters_go_by_name() -> None:
    """A missing parameter is drawn, the same each time; one too many is dropped; a value outside excludes a trial."""
    earlier = [past([{"x": 0.5, "z": 3}, {"x": 2.0}, {"other": 1}], [1.0, 0.0, 0.0])]
    (one,) = foreign(LINE, earlier)
    assert len(one.configs) == 1
    assert one.configs[0]["x"] == 0.5
    assert foreign(LINE, earlier)[0].configs == one.configs
    assert foreign(LINE, [past([{"x": 2.0}], [1.0])]) == ()


def test_conditional_parameters() -> None:
    """A value below an option goes along when its option is chosen."""
    space = Space.parse({"k": {"choice": {"a": {"p": {"float": [0, 1]}}, "b": {}}}})
    (one,) = foreign(space, [past([{"k": "a", "k.a.p": 0.25}, {"k": "b", "k.a.p": 0.5}], [1.0, 2.0])])
    assert [dict(c) for c in one.configs] == [{"k": "a", "k.a.p": 0.25}, {"k": "b"}]


def test_first_configs_take_turns() -> None:
    """The best of each study, then the second of each, none twice."""
    found = foreign(LINE, [line(0.2), line(0.2, name="same"), line(0.9, name="other")])
    xs = [c["x"] for c in first_configs(found, 4)]
    assert len(set(xs)) == 4
    assert abs(xs[0] - 0.2) < 0.1
    assert abs(xs[1] - 0.9) < 0.1


def test_tpe_begins_with_what_was_good_and_lets_go_of_it() -> None:
    """Without a trial of its own TPE suggests what was good earlier; many own trials that say otherwise win."""
    earlier = foreign(LINE, [line(0.2)])
    searcher = TpeSearcher()
    empty = History(LINE, (), 1, ((1, 3, 9),), earlier=earlier)
    early = [searcher.suggest(t, empty, generator(0, t))["x"] for t in range(30)]
    assert np.median(np.abs(np.array(early) - 0.2)) < 0.12
    records = []
    for i in range(200):
        config = LINE.sample(generator(1, i))
        records.append(Record(i, config, "paused", 1, 1, losses={1: (Losses((abs(config["x"] - 0.8),)),)}))
    history = History(LINE, tuple(records), 1, ((1, 3, 9),), earlier=earlier)
    late = [searcher.suggest(t, history, generator(0, t))["x"] for t in range(200, 230)]
    assert np.median(np.abs(np.array(late) - 0.8)) < 0.1
    assert (share(0), share(int(FADE))) == (1.0, 0.5)


NAMES = [name for name in SEARCHERS if name not in ("pbt", "optuna-gp")]  # a half of a pair; tenths of a second


@pytest.mark.parametrize("name", NAMES)
def test_a_search_begins_where_another_ended(name: str) -> None:
    """With an earlier study of the same problem the first trials are better than without, over several seeds; a search
    is the same again with the same seed."""
    first = Search(study(search={"searcher": "random", "scheduler": "fifo"}, budget={"trials": 40}))
    run(first, 2)
    trials = [
        {"config": r.config.flat(), "values": r.losses[9][0].values} for r in first.trials.values() if 9 in r.losses
    ]
    earlier = Earlier.model_validate({"name": "first", "study": "first-1", "step": 9, "trials": trials})
    cold = study(search={"searcher": name, "scheduler": "fifo"}, budget={"trials": 6})
    warm = cold.model_copy(update={"earlier": (earlier,)})
    def best(spec: Any) -> float:
        found = []
        for seed in range(5):
            search = Search(spec, seed=seed)
            run(search, 2)
            found.append(min(r.losses[9][0].values[0] for r in search.trials.values()))
        return float(np.median(found))

    assert best(warm) < best(cold)
    assert run(Search(warm, seed=1), 2) == run(Search(warm, seed=1), 2)


def test_the_first_trials_are_the_best_earlier_configs() -> None:
    """In the order of their ranks, then the searcher itself; not for a trial that takes over weights, nor again after a
    rejection, and one that breaks a constraint of the new study is left to the searcher."""
    earlier = foreign(LINE, [line(0.2)])
    best = [dict(c) for c in earlier[0].configs]
    own = make_searcher(study(search={"searcher": "random"}).search, 0)
    searcher = make_searcher(study(search={"searcher": "random"}).search, 0, [line(0.2)])
    empty = History(LINE, earlier=earlier)

    def both(trial: int, history: History) -> tuple[Any, Any]:
        one, other = (s.suggest(trial, history, generator(0, trial)) for s in (searcher, own))
        return one, other

    assert [dict(both(t, empty)[0]) for t in range(4)] == best[:4]
    assert dict(both(9, empty)[0]) not in best
    rejected = replace(empty, rejected=(earlier[0].configs[0],))
    for history in (rejected, replace(empty, parent=3), replace(empty, earlier=())):
        mine, others = both(0, history)
        assert mine == others
    narrow = Space.parse({"x": {"float": [0, 1]}, "y": {"float": [0, 1]}}, ["y < 0.2"])
    narrow_past = History(narrow, earlier=foreign(narrow, [line(0.2)]))
    mine, others = both(0, narrow_past)
    assert mine == others
