"""Gaussian process from Optuna: the searchers' contract in small, and what its model holds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from searchd.errors import Missing
from searchd.schedulers.events import Losses
from searchd.searchers import optuna_gp
from searchd.searchers.base import History, Record, generator
from searchd.searchers.merit import deepest
from searchd.searchers.optuna_gp import OptunaGp, _chosen
from spaces.space import Space
from tests.contracts.test_searchers import SPACES
from tests.contracts.test_searchers import history as troubled

LINE = Space.parse({"x": {"float": [0, 1]}})


def past(losses: list[tuple[float, float]], running: list[float] = []) -> History:  # noqa: B006
    configs = [LINE.complete({"x": x}) for x, _ in losses]
    told = [{1: (Losses((v,)),)} for _, v in losses]
    records = [Record(i, config, "paused", 1, 1, losses=told[i]) for i, config in enumerate(configs)]
    records += [Record(len(records) + i, LINE.complete({"x": x}), "running", 0, 1) for i, x in enumerate(running)]
    return History(LINE, tuple(records))


def test_it_goes_to_the_optimum_and_not_where_somebody_is() -> None:
    """Suggestions are near the least of a parabola; with a running trial there, not on top of it."""
    parabola = [(x, (x - 0.3) ** 2) for x in np.linspace(0, 1, 11).tolist()]
    found = OptunaGp().suggest(20, past(parabola), generator(0, 20))["x"]
    assert abs(found - 0.3) < 0.1
    beside = OptunaGp().suggest(20, past(parabola, [0.3]), generator(0, 20))["x"]
    assert abs(beside - 0.3) > 1e-4


def test_the_contract_in_small() -> None:
    """With failures, diverged trials and broken bounds: a feasible config, the same from a warm and a fresh searcher,
    another one after a rejection."""
    history = troubled(SPACES["conditional"], 12)
    warm = OptunaGp(startup=4)
    found = warm.suggest(13, history, generator(0, 13))
    history.space.check(found)
    assert OptunaGp(startup=4).suggest(13, history, generator(0, 13)) == found
    refused = History(history.space, history.records, 1, history.ladders, rejected=(found,))
    assert warm.suggest(13, refused, generator(0, 13)) != found


def test_two_objectives() -> None:
    """A suggestion lies between the optima of two parabolas, where the front is."""
    history = past([(x, (x - 0.3) ** 2) for x in np.linspace(0, 1, 11).tolist()])
    records = tuple(
        replace(r, losses={1: (Losses((float(r.losses[1][0].values[0]), (r.config["x"] - 0.6) ** 2)),)})
        for r in history.records
    )
    assert 0.25 < OptunaGp().suggest(20, History(LINE, records, 2), generator(0, 20))["x"] < 0.65


def test_the_model_holds_the_best_and_the_latest() -> None:
    """Of more trials than `rows`, half are the best and half the latest."""
    history = past([(0.5, float(i)) for i in range(40)])
    rung = deepest(history, 10)
    assert rung is not None
    assert _chosen(history, 0, rung.rows, 10).tolist() == [0, 1, 2, 3, 4, 35, 36, 37, 38, 39]
    assert _chosen(history, 0, rung.rows, 40).tolist() == list(range(40))


def test_random_before_it_knows_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nine trials give the space's own sample; without torch it is said what to install or use instead."""
    history = past([(0.1 * i, 0.0) for i in range(9)])
    assert OptunaGp().suggest(9, history, generator(0, 9)) == LINE.sample(generator(0, 9))
    monkeypatch.setattr(optuna_gp, "find_spec", lambda _: None)
    with pytest.raises(Missing, match="needs torch: pip install torch, or use searcher: gp"):
        OptunaGp()
