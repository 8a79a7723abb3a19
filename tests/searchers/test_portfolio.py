"""The bandit over searchers, and the portfolio that it makes."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from searchd.errors import SearchdError
from searchd.schedulers.events import Losses
from searchd.search.algorithms import make_searcher
from searchd.search.events import Failed, Finished, Injected, Job, Reported
from searchd.search.search import Search
from searchd.searchers.base import History, Record
from searchd.searchers.portfolio import PortfolioSearcher
from searchd.searchers.stabl import Stabl
from spaces.config import Config
from spaces.space import Space
from spaces.study import Study
from tests.support.studies import run, study, toy_loss

LINE = Space.parse({"x": {"float": [0, 1]}})


class Fixed:
    """A searcher that always draws from one part of the line."""

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = low, high

    def suggest(self, trial: int, history: History, rng: np.random.Generator) -> Config:  # noqa: ARG002
        return Config({"x": float(rng.uniform(self.low, self.high))})


def play(bandit: Stabl, losses: list[tuple[float, ...]], seed: int = 0) -> list[int]:
    rng = np.random.default_rng(seed)
    drawn = []
    for loss in losses:
        shares = bandit.shares()
        arm = int(rng.choice(bandit.arms, p=shares))
        bandit.hear(arm, loss[arm], float(shares[arm]))
        drawn.append(arm)
    return drawn


def test_the_best_arm_is_found_and_a_change_too() -> None:
    """The arm that loses less is drawn most; when the arms change places, so do the draws."""
    drawn = play(Stabl(3), [(0.8, 0.2, 0.8)] * 400 + [(0.2, 0.8, 0.8)] * 400)
    assert Counter(drawn[200:400])[1] > 110
    assert Counter(drawn[600:])[0] > 110


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(0, 1), st.floats(0.01, 1)), max_size=200), st.floats(0, 1))
@settings(max_examples=30)
def test_shares_are_probabilities(heard: list[tuple[int, float, float]], explore: float) -> None:
    """Whatever was heard, the shares are positive where they are explored, and add up to 1."""
    bandit = Stabl(4, explore)
    for arm, loss, probability in heard:
        bandit.hear(arm, loss, probability)
    shares = bandit.shares()
    assert np.isfinite(shares).all()
    assert shares.sum() == pytest.approx(1.0)
    assert shares.min() >= explore * 0.5 / 4 - 1e-12


def test_the_better_searcher_gets_the_trials() -> None:
    """Of two searchers the one whose trials are better at their first rung is chosen more and more."""
    portfolio = PortfolioSearcher(0, {"far": Fixed(0.6, 1.0), "near": Fixed(0.0, 0.4)})
    spec = study(budget={"trials": 300}).model_copy(update={"space": LINE})
    search = Search(spec, seed=1, searcher=portfolio)
    run(search, 4, report=lambda _, job, step: ({"loss": job.config["x"] + 1 / step}, ()))
    near = [record.config["x"] < 0.5 for record in search.trials.values()]
    assert sum(near[:50]) < sum(near[-50:])
    assert sum(near[-100:]) > 65
    assert portfolio.shares(search.history)["near"] > 0.6


@pytest.mark.parametrize("objectives", [1, 2])
def test_a_restart_plays_the_same_game(objectives: int) -> None:
    """At every moment of a search with failures, injected configs and four workers a fresh portfolio has the same
    shares and names the same arm; and the arm that is recomputed for an old trial is the one that suggested it."""
    arms = {"far": Fixed(0.6, 1.0), "near": Fixed(0.0, 0.4)}
    warm, chosen = PortfolioSearcher(7, arms), {}
    goals = dict.fromkeys(("a", "b")[:objectives], "minimize")
    spec = study(budget={"trials": 60})
    said = {**spec.dump(), "space": LINE.dump(), "constraints": [], "objectives": goals}
    search = Search(Study.parse(said), 3, searcher=warm)
    running: list[Job] = []
    for turn in range(400):
        if turn in (30, 90):
            search.tell(Injected(Config({"x": 0.5 + turn / 1000})))
        history = search.history
        cold = History(history.space, tuple(history.records), objectives, history.ladders)
        if turn % 7 == 0:
            fresh = PortfolioSearcher(7, arms)
            assert fresh.shares(cold) == warm.shares(history)
        while len(running) < 4 and isinstance(job := search.ask(), Job):
            running.append(job)
            if not job.since:
                chosen[job.trial] = job.config["x"] > 0.45
        if not running:
            break
        job = running.pop(turn % len(running))
        if job.trial % 9 == 4:
            search.tell(Failed(job.trial))
        else:
            step, x = job.until, job.config["x"]
            search.tell(Reported(job.trial, step, {"a": x + 1 / step, "b": 1 - x}))
            search.tell(Finished(job.trial, step))
    game = warm._game(search.history)
    own = [t for t, record in search.trials.items() if record.config["x"] not in (0.53, 0.59)]
    assert len(own) > 50
    assert all((game.drawn[t][0] == 0) == chosen[t] for t in own)


def test_losses_by_hand() -> None:
    """An arm's loss is the share of the trials before it at that rung that are better, equal ones half; failed: 1."""
    values = [0.5, 0.3, 0.5, float("nan"), 0.1]
    records = tuple(
        Record(i, LINE.complete({"x": 0.5}), "paused", 1, 1, losses={1: (Losses((v,)),)}, heard={1: i}, born=i)
        for i, v in enumerate(values)
    )
    heard: list[float] = []

    class Ears(Stabl):
        def hear(self, arm: int, loss: float, probability: float) -> None:
            heard.append(loss)
            super().hear(arm, loss, probability)

    portfolio = PortfolioSearcher(0, {"one": Fixed(0, 1), "two": Fixed(0, 1)})
    history = History(LINE, records, 1, ((1,),))
    game = portfolio._game(History(LINE, (), 1, ((1,),)))
    game.bandit = Ears(2)
    game.catch_up(history)
    assert heard == [0.5, 0.0, 0.75, 1.0, 0.0]


def test_arms_of_a_study() -> None:
    """Arms are named in the options; unknown, single and repeated ones are refused with what is known."""

    def named(**options: Any) -> Any:
        return make_searcher(study(search={"searcher": "portfolio", "options": options}).search, 0)

    assert list(named(arms=["sobol", "tpe"]).shares(History(LINE))) == ["sobol", "tpe"]
    for wrong, said in (
        ({"arms": ["tpe", "tpee"]}, "did you mean 'tpe'"), ({"arms": ["tpe"]}, "two or more"),
        ({"arms": ["tpe", "tpe"]}, "each once"), ({"explore": 1.5}, "from 0 to 1"), ({"arms": "tpe"}, "two or more"),
    ):  # fmt: skip
        with pytest.raises(SearchdError, match=said):
            named(**wrong)


def test_the_default_beats_random() -> None:
    """On a smooth conditional toy the portfolio's best loss is lower than random's."""
    best = {}
    for name in ("random", "portfolio"):
        searches = [Search(study(search={"searcher": name}, budget={"trials": 40}), seed=seed) for seed in range(3)]
        for search in searches:
            run(search, 2)
        best[name] = sorted(min(toy_loss(r.config, 9) for r in s.trials.values()) for s in searches)[1]
    assert best["portfolio"] < best["random"]
