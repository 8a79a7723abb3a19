"""Constrained Bayesian optimisation: bounds one by one, draws of functions, the trust region, and what they are for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import exp, inf, log, nan, sin
from statistics import median
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchd.schedulers.events import Losses
from searchd.search import points
from searchd.search.search import Search
from searchd.searchers import gp
from searchd.searchers.base import History, Record, generator, remark_of
from searchd.searchers.bounds import bounds_of
from searchd.searchers.features import Features
from searchd.searchers.merit import Rung, entries
from searchd.searchers.optimistic import ConfigSearcher
from searchd.searchers.outcomes import Outcomes, bilog, copula
from searchd.searchers.paths import Path
from searchd.searchers.region import FIRST, LEAST, Region, region
from searchd.searchers.scbo import ScboSearcher, candidates
from searchd.simulator import simulate
from spaces.space import Space
from spaces.study import Objective, Study
from tests.support.studies import run

SQUARE = {"x": {"float": [0, 1]}, "y": {"float": [0, 1]}}
LINE = Space.parse({"x": {"float": [0, 1]}})
Function = Callable[[float, float], Mapping[str, float]]

numbers = st.floats(-1e6, 1e6)


def crescent(x: float, y: float) -> Mapping[str, float]:
    """Gramacy and others (2016), Technometrics: the least sum under a wave and in a disc; 0.5998 at (0.195, 0.404)."""
    wave = 1.5 - x - 2 * y - 0.5 * sin(2 * np.pi * (x * x - 2 * y))
    return {"loss": x + y, "wave": wave, "disc": x * x + y * y - 1.5}


def hopeless(x: float, y: float) -> Mapping[str, float]:
    """Nowhere is the wave below 0.1."""
    return {"loss": x + y, "wave": 0.1 + (x - 0.5) ** 2 + (y - 0.5) ** 2, "disc": x - 2.0}


def spec(searcher: str, trials: int, seed: int = 0, **options: Any) -> Study:
    bounded = {"goal": "minimize", "at_most": 0}
    return Study.parse({
        "study": "bounded", "space": SQUARE, "objectives": {"loss": "minimize", "wave": bounded, "disc": bounded},
        "search": {"scheduler": "fifo", "searcher": searcher, "r": 1, "R": 1, "options": options},
        "budget": {"trials": trials}, "task": "m.x:f", "seed": seed,
    })  # fmt: skip


def best(searcher: str, trials: int, seed: int, f: Function = crescent) -> float:
    """The least loss of a trial that keeps every bound, after so many trials with two workers; inf: there is none."""
    search = Search(spec(searcher, trials, seed))
    run(search, 2, report=lambda _, job, __: (dict(f(job.config["x"], job.config["y"])), ()))
    kept = [r.losses[1][0] for r in search.trials.values() if r.losses[1][0].violation == 0]
    return min((p.values[0] for p in kept), default=inf)


# ------------------------------------------------------------ bounds
@given(
    st.sampled_from(["minimize", "maximize"]), st.one_of(st.none(), numbers), st.one_of(st.none(), numbers), numbers
)
def test_a_violation_is_the_sum_of_the_excesses(goal: Any, low: float | None, high: float | None, value: float) -> None:
    """What is above 0 of every bound's excess adds up to what schedulers rank by; exact metrics break the same ones."""
    objectives = (Objective(name="a"), Objective(name="m", goal=goal, at_least=low, at_most=high))
    told = points.losses(objectives, {"a": 1.0, "m": value})
    bounds = bounds_of(objectives)
    assert sum(max(0.0, b.excess(told.values)) for b in bounds) == pytest.approx(told.violation)
    assert any(b.broken({"m": value}) for b in bounds) == (told.violation > 0)
    assert not any(b.broken({"other": value}) for b in bounds)


# ------------------------------------------------------------ what a rung says
def past(found: list[tuple[float, tuple[Losses, ...]]], study: Study | None = None, objectives: int = 2) -> History:
    """Trials at x that brought these points at rung 1, heard in their order."""
    records = tuple(
        Record(i, LINE.complete({"x": x}), "paused", 1, 1, losses={1: brought}, born=i, heard={1: i})
        for i, (x, brought) in enumerate(found)
    )
    bounds = () if study is None else bounds_of(study.objectives)
    return History(LINE, records, objectives, ((1,),), bounds=bounds)


def outcomes(history: History) -> Outcomes:
    return Outcomes.of(history, Rung(1, 0, entries(history.table, 0)))


BOUNDED = Study.parse({
    "study": "s", "space": {"x": {"float": [0, 1]}}, "task": "m.x:f",
    "objectives": {"loss": "minimize", "speed": {"goal": "maximize", "at_least": 10}},
})  # fmt: skip


def point(loss: float, speed: float) -> Losses:
    return points.losses(BOUNDED.objectives, {"loss": loss, "speed": speed})


def test_a_bounded_objective_is_a_constraint() -> None:
    """The loss without a bound is the goal; the excess is relative to the bound, below 0 where it holds; what
    diverged is the worst, and says nothing of a bound."""
    found = [(0.1, (point(3.0, 20.0),)), (0.2, (point(1.0, 5.0),)), (0.3, (point(nan, 20.0),)), (0.4, ())]
    seen = outcomes(past(found, BOUNDED))
    assert seen.goals[:, 0].tolist() == [3.0, 1.0, inf, inf]
    assert seen.excess[:2, 0].tolist() == [-1.0, 0.5]
    assert np.isnan(seen.excess[2:]).all()
    assert seen.order(np.ones(1)).tolist() == [0, 1, 2, 3]
    at, y, edge = seen.limits(0)
    assert at.tolist() == [0, 1]
    assert y[0] < edge < y[1]


def test_the_best_point_of_a_trial_speaks() -> None:
    """Of several operating points the one of least violation, then of least loss, whatever else is known."""
    several = (point(1.0, 5.0), point(4.0, 20.0), point(3.0, 11.0))
    alone = outcomes(past([(0.1, several)], BOUNDED))
    among = outcomes(past([(0.1, several), (0.5, (point(0.1, 30.0),))], BOUNDED))
    assert alone.goals[0, 0] == among.goals[0, 0] == 3.0
    assert alone.excess[0, 0] == among.excess[0, 0] == pytest.approx(-0.1)


def test_without_bounds_one_by_one_the_violation_is_one() -> None:
    """A history that says nothing of bounds, but has violations: they count as a bound."""
    seen = outcomes(past([(0.1, (Losses((1.0,), 0.0),)), (0.2, (Losses((1.0,), 3.0),))], objectives=1))
    assert seen.excess[:, 0].tolist() == [-1.0, 3.0]
    assert outcomes(past([(0.1, (Losses((1.0,)),))], objectives=1)).excess.shape == (1, 0)


def test_goldens_of_the_transforms() -> None:
    """Quantiles of ranks with equal losses sharing theirs; a bilog keeps signs and zero."""
    assert copula(np.array([5.0, 1.0, inf, 1.0])).round(6).tolist() == [0.318639, -0.67449, 1.150349, -0.67449]
    assert bilog(np.array([0.0, exp(1) - 1, -(exp(2) - 1)])).round(12).tolist() == [0.0, 1.0, -2.0]


def test_the_best_half_and_the_latest_are_kept() -> None:
    """Of too many rows: half by violation and loss, the newest of the others, in their order."""
    n = 300
    losses = np.random.default_rng(0).permutation(n).astype(float)
    broken = np.where(np.arange(n) % 2, 1.0, 0.0)
    kept = Outcomes(np.arange(n), losses[:, None], broken[:, None], broken).capped(100)
    best = set(np.lexsort((losses, broken))[:50].tolist())
    rest = [i for i in range(n) if i not in best][-50:]
    assert kept.rows.tolist() == sorted(best | set(rest))


# ------------------------------------------------------------ draws of functions
def test_paths_have_the_moments_of_the_posterior() -> None:
    """Over many draws, means and spreads are those of the process after the data: at data, near and far away."""
    groups = np.array([0, 1, 1])
    hyper = gp.start(2)
    hyper.theta[:] = [log(0.4), log(0.8), log(1.3), log(0.01)]
    rng = np.random.default_rng(0)
    x, y = rng.random((8, 3)), rng.standard_normal(8)
    at = np.vstack([x[:2], rng.random((2, 3)), [[4.0, 4.0, 4.0]]])
    draws = np.array([Path(hyper, x, y, groups, rng)(at) for _ in range(2000)])
    exact = gp.Posterior(hyper, x, y, np.zeros(8), groups)
    cross = exact.covariances(at)
    assert np.abs(draws.mean(axis=0) - exact.mean(cross)).max() < 0.1  # 4 standard errors of 1.14
    assert np.abs(draws.std(axis=0) - exact.sd(cross)).max() < 0.08  # the same of a spread
    assert np.corrcoef(draws[:, 0], draws[:, 4])[0, 1] < 0.1


# ------------------------------------------------------------ the trust region
def played(losses: list[float], violation: list[float] | None = None, startup: int = 2) -> Region:
    n = len(losses)
    v = np.array(violation or [0.0] * n)
    seen = Outcomes(np.arange(n), np.array(losses)[:, None], v[:, None], v)
    return region(seen, np.arange(n), np.arange(n), 1, startup)


def test_the_region_widens_narrows_and_is_given_up() -> None:
    """3 improvements in a row double its side, 4 misses halve it; from 0.8, the seventh halving gives it up, and who
    was born before counts no more."""
    start = [9.0, 8.0]
    assert played(start).side == FIRST
    assert played([*start, 7.0, 6.0]).side == FIRST
    assert played([*start, 7.0, 6.0, 5.0]).side == 2 * FIRST
    assert played([*start, 7.0, 6.0, 9.0, 5.0, 4.0]).side == FIRST, "a miss between them"
    assert played([*start, *[9.0] * 4]).side == FIRST / 2
    assert played([*start, *[9.0] * 27]).restarts == 0
    over = played([*start, *[9.0] * 28])
    assert (over.restarts, over.side, over.since, len(over.members)) == (1, FIRST, 30, 0)
    assert FIRST / 2**6 > LEAST > FIRST / 2**7
    anew = played([*start, *[9.0] * 28, 20.0, 19.0, 18.0, 17.0, 16.0])
    assert (anew.side, anew.members.tolist()) == (2 * FIRST, [30, 31, 32, 33, 34])


def test_success_is_less_violation_while_nothing_keeps_the_bounds() -> None:
    """A worse loss is a success if bounds are broken less, and a better one is none if they are broken more."""
    assert played([9.0, 8.0, 1, 2, 3], [5.0, 5.0, 4.0, 3.0, 0.0]).side == 2 * FIRST
    assert played([9.0, 8.0, 7.0, 6.0, 5.0, 4.0], [0.0, 0.0, 1.0, 1.0, 1.0, 1.0]).side == FIRST / 2


def test_candidates_stay_in_the_box() -> None:
    """Numbers are within half a side of the centre; options change the less often the smaller the box."""
    space = Space.parse({"x": {"float": [0, 1]}, "k": {"choice": ["a", "b", "c"]}, "n": {"int": [1, 50]}})
    features = Features(space)
    centre = space.encode(space.complete({"x": 0.5, "k": "a", "n": 25}))
    for side in (0.4, 0.1):
        found = candidates(features, np.array(centre), Region(np.arange(1), side, 0, 0), generator(0, 1))
        assert np.abs(found[:, 0] - 0.5).max() <= side / 2
        assert np.abs(found[:, 2] - centre[2]).max() <= side / 2 + 0.01  # half a cell of n
        assert 0.4 * side < (found[:, 1] != centre[1]).mean() < 0.9 * side  # two of three options are other ones


# ------------------------------------------------------------ what they are for
@pytest.mark.parametrize(("name", "trials", "seeds"), [("config", 40, 5), ("scbo", 30, 3)])
def test_the_feasible_optimum_is_found(name: str, trials: int, seeds: int) -> None:
    """Under two bounds, medians of some seeds: within 0.01 of the optimum 0.5998; random is six times as far away."""
    ours = median(best(name, trials, seed) for seed in range(seeds))
    theirs = median(best("random", trials, seed) for seed in range(seeds))
    assert 0.5998 <= ours < 0.61
    assert theirs > 0.66


class World:
    """A world of one step: a function of the config, in a second."""

    def __init__(self, f: Function) -> None:
        self.f = f

    def train(self, trial: int, config: Mapping[str, Any], since: int, until: int) -> Any:  # noqa: ARG002
        from searchd.simulator.world import Step

        yield Step(1, 1.0, self.f(config["x"], config["y"]))


def test_an_infeasible_study_is_declared_so() -> None:
    """Where no config keeps the bounds, `config` says so, by the names of the bounds; where some do, it never does."""
    said = simulate(spec("config", 25), World(hopeless), workers=2).note
    assert said.startswith("probably no config of this space keeps the bounds on wave and disc")
    for seed in range(3):
        search = Search(spec("config", 40, seed))
        remarks = set()

        def report(_: Search, job: Any, __: int, search: Search = search, remarks: Any = remarks) -> Any:
            remarks.add(remark_of(search.searcher))
            return dict(crescent(job.config["x"], job.config["y"])), ()

        run(search, 2, report=report)
        assert remarks == {""}


def test_one_that_keeps_the_bounds_is_proof() -> None:
    """Among many trials that break a bound evenly a model takes one that keeps it for noise; it counts all the same."""
    far = [(i / 40, (point(1.0, 5.0 + 0.1 * (i % 3)),)) for i in range(41)] + [(0.5, (point(1.0, 5.0),))] * 40
    searcher = ConfigSearcher()
    searcher.suggest(90, past(far, BOUNDED), generator(0, 90))
    assert searcher.remark
    searcher.suggest(90, past([*far, (0.5, (point(1.0, 10.0),))], BOUNDED), generator(0, 90))
    assert searcher.remark == ""


def test_a_small_corner_is_not_denied() -> None:
    """A disc of radius 0.05 keeps the bound: nothing is declared before it is found."""

    def disc(x: float, y: float) -> Mapping[str, float]:
        return {"loss": x + y, "wave": ((x - 0.7) ** 2 + (y - 0.7) ** 2) ** 0.5 - 0.05, "disc": x - 2.0}

    for seed in range(3):
        assert simulate(spec("config", 12, seed), World(disc), workers=2).note == ""
        assert simulate(spec("config", 14, seed), World(disc), workers=2).note == ""


def test_who_says_nothing_has_no_remark() -> None:
    """No remark before the first suggestion; an arm's remark is that of its portfolio."""
    assert remark_of(ConfigSearcher()) is None
    assert remark_of(ScboSearcher()) is None
    search = Search(spec("portfolio", 60, arms=["config", "random"]))
    said = []

    def report(search: Search, job: Any, _: int) -> Any:
        said.append(remark_of(search.searcher))
        return dict(hopeless(job.config["x"], job.config["y"])), ()

    run(search, report=report)
    assert "" in said
    assert any(said)


def test_exact_metrics_are_looked_at_before_a_suggestion() -> None:
    """A config whose exact metrics break a bound is passed over in favour of the next candidate."""
    study = Study.parse({
        "study": "nets", "space": {"width": {"int": [4, 400]}, "depth": {"int": [1, 3]}},
        "objectives": {"val_error": "minimize", "params": {"goal": "minimize", "at_most": 400000}},
        "search": {"scheduler": "fifo", "searcher": "config", "r": 1, "R": 1}, "budget": {"trials": 40},
        "task": {"classify": {"data": "digits"}},
    })  # fmt: skip
    search = Search(study)
    refused: list[int] = []
    inner = search.searcher.suggest

    def counted(trial: int, history: History, rng: Any) -> Any:
        refused.append(len(history.rejected))
        return inner(trial, history, rng)

    search.searcher.suggest = counted  # type: ignore[method-assign]
    run(search, report=lambda _, job, __: ({"val_error": 100 / job.config["width"]}, ()))
    late = refused[refused.index(0) :]
    model = late[-20:]
    assert max(model) <= 1, "candidates that break the bound are left out before they are suggested"
