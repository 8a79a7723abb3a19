"""Joint thresholds: exactly the best of the grid, within their budget, honest on the samples they were chosen on."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spaces.exits import geometric
from workers.tasks.exits import ALWAYS_LAST, correct, expected_cost, outcome, scores, softmax, taken
from workers.tasks.threshold_front import evolved, judged
from workers.tasks.thresholds import (
    BUDGETS,
    Candidates,
    allocated,
    candidates,
    descended,
    expected_loss,
    front,
    grids,
    joint,
    operating_points,
    temperatures,
    whole,
)


def cached(seed: int, n: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return np.round(rng.random((n, k)), 2), rng.random((n, k))


def toy(seed: int, n: int = 400, k: int = 3, classes: int = 4) -> tuple[list[np.ndarray], np.ndarray]:
    """Logits [n, classes] of `k` exits that see the class ever better, with hard and easy samples, and the classes.

    Each exit's evidence is the sum of what it and those before it saw, so its softmax is calibrated but for `heat`.
    """
    rng = np.random.default_rng(seed)
    y = rng.integers(classes, size=n)
    clear = rng.choice([0.4, 1.0, 2.0], size=n)[:, None]
    evidence, out = np.zeros((n, classes)), []
    for heat in np.linspace(2.0, 0.7, k):
        seen = np.eye(classes)[y] * clear + rng.normal(size=(n, classes))
        evidence = evidence + seen * clear
        out.append((evidence / heat).astype(np.float32))
    return out, y


@given(seed=st.integers(0, 999), n=st.integers(1, 30), k=st.integers(2, 4))
@settings(max_examples=30, deadline=None)
def test_the_whole_grid_is_what_the_loop_says(seed: int, n: int, k: int) -> None:
    """Loss and cost of every vector from histograms are those of the exit rule applied sample by sample."""
    score, loss = cached(seed, n, k)
    costs = np.cumsum(np.random.default_rng(seed).random(k))
    grid = grids(score, 5)
    found = whole(score, loss, costs, grid)
    assert found.thresholds.tolist() == [list(v) for v in product(*(g.tolist() for g in grid))]
    for vector, worth, cost in zip(found.thresholds, found.loss, found.cost, strict=True):
        at = taken(score, vector)
        assert worth == pytest.approx(loss[np.arange(n), at].mean())
        assert cost == pytest.approx(costs[at].mean())


@given(seed=st.integers(0, 999))
@settings(max_examples=20, deadline=None)
def test_the_choice_is_the_best_within_the_budget(seed: int) -> None:
    """Law: no vector of the grid is within the budget and has less loss; a larger budget never has more."""
    logits, y = toy(seed, n=80)
    score, loss, costs = scores("probability", logits), expected_loss(logits, [1.0] * 3), [1.0, 2.0, 5.0]
    known = candidates(score, loss, costs)
    before = np.inf
    for budget in np.linspace(1, 5, 9):
        at = taken(score, known.within(float(budget)))
        paid, worth = np.array(costs)[at].mean(), loss[np.arange(len(y)), at].mean()
        assert paid <= budget + 1e-9
        assert worth == pytest.approx(known.loss[known.cost <= budget + 1e-9].min())
        assert worth <= before + 1e-12
        before = worth


def test_ties_and_budgets_that_nothing_keeps() -> None:
    """Of equal losses the cheapest; where nothing is cheap enough, the best of the cheapest."""
    known = Candidates(np.array([[0.1], [0.2], [0.3], [0.4]]), np.array([3.0, 2.0, 2.0, 1.0]), np.array([1, 3, 2, 4]))
    assert known.within(3.5) == (0.3,)
    assert known.within(0.5) == (0.1,)
    assert known.within(9) == (0.4,)


def test_descent_ends_at_the_optimum_of_the_grid_for_most_prices() -> None:
    """Over 20 networks of 4 exits, loss + price · cost at the best of its ends is mostly within 1 % of the least."""
    gaps = []
    for seed in range(20):
        logits, _ = toy(seed, k=4)
        score, costs = scores("probability", logits), [1.0, 2.0, 4.0, 8.0]
        loss, grid = expected_loss(logits, [1.0] * 4), grids(score, 12)
        every, ours = whole(score, loss, costs, grid), descended(score, loss, costs, grid)
        for price in (0.003, 0.03, 0.1):
            least = (every.loss + price * every.cost).min()
            got = (ours.loss + price * ours.cost).min()
            assert got >= least - 1e-12
            gaps.append(got / least - 1)
    assert np.mean(np.array(gaps) < 0.01) > 0.9


def test_evolution_finds_the_front_between_the_corners_of_descent() -> None:
    """Over 8 networks with five exits, where the whole grid can still be looked at: within each of ten budgets what
    NSGA-II found is at most 2 % above the least loss of the grid, .3 % on average; descent's is a tenth above."""
    ours, theirs = [], []
    for seed in range(8):
        logits, _ = toy(seed, n=300, k=5)
        score, costs = scores("probability", logits), [1.0, 2.0, 3.5, 5.0, 7.0]
        loss, grid = expected_loss(logits, [1.0] * 5), grids(score, 10)
        ways = [find(score, loss, costs, grid) for find in (whole, front, descended)]
        for budget in np.linspace(1.2, 6.5, 10):
            least, evolution, descent = (known.loss[known.cost <= budget].min() for known in ways)
            assert least - 1e-12 <= evolution <= 1.02 * least
            ours.append(evolution / least)
            theirs.append(descent / least)
    assert np.mean(ours) < 1.003
    assert np.mean(theirs) > 1.1


@given(seed=st.integers(0, 99), early=st.integers(1, 7), n=st.integers(1, 40))
@settings(max_examples=25, deadline=None)
def test_an_evolved_front_is_a_front_of_the_grid(seed: int, early: int, n: int) -> None:
    """Law: places are in their grids, loss falls as cost rises, no seed is better than all of it, each figure is that
    of the exit rule, and a second run says the same."""
    score, loss = cached(seed, n, early + 1)
    costs, grid = np.cumsum(np.random.default_rng(seed).random(early + 1)), grids(score, 6)
    cells = np.stack([np.searchsorted(g, score[:, k], side="right") for k, g in enumerate(grid)], axis=1)
    seeds = np.random.default_rng(seed).integers(9, size=(3, early))  # some beyond their grid
    sizes = [len(g) for g in grid]
    found = evolved(cells, loss, costs, sizes, seeds)
    assert (found >= 0).all()
    assert (found < np.array(sizes)).all()
    worth = judged(cells, loss, costs, found)
    assert (np.diff(worth[:, 0]) < 0).all()
    assert (np.diff(worth[:, 1]) >= 0).all()
    begun = judged(cells, loss, costs, np.minimum(seeds, np.array(sizes) - 1))
    assert all((worth <= one + 1e-12).all(axis=1).any() for one in begun)
    at = [taken(score, [g[j] for g, j in zip(grid, levels, strict=True)]) for levels in found]
    assert worth == pytest.approx(np.array([[loss[np.arange(n), a].mean(), costs[a].mean()] for a in at]))
    assert np.array_equal(evolved(cells, loss, costs, sizes, seeds), found)


def test_many_exits_are_tuned_too() -> None:
    """With seven exits the points spread over the costs and the error falls."""
    logits, y = toy(0, k=7)
    points = operating_points("probability", logits, y, list(range(1, 8)))
    costs = [expected_cost(p["exit_rates"], range(1, 8)) for p in points]
    assert len(points) >= 6
    assert all(len(p["thresholds"]) == 6 for p in points)
    assert costs == sorted(costs)
    assert points[-1]["val_error"] < points[0]["val_error"] - 5


def test_allocation_follows_the_shares() -> None:
    """Places of a fine grid send shares ∝ q^k to each exit, within one quantile."""
    score = np.random.default_rng(0).random((2000, 4))
    grid = [np.unique([0.0, *np.quantile(c, np.linspace(0, 1, 64)[1:-1]), ALWAYS_LAST]) for c in score[:, :-1].T]
    cells = np.stack([np.searchsorted(g, score[:, k], side="right") for k, g in enumerate(grid)], axis=1)
    for q in (0.5, 2.0):
        levels = allocated(cells, q)
        at = taken(score, [float(g[j]) for g, j in zip(grid, levels, strict=True)])
        assert np.bincount(at, minlength=4) / 2000 == pytest.approx(geometric(q, 4), abs=0.02)


@given(seed=st.integers(0, 99), heat=st.floats(0.2, 4))
@settings(max_examples=20, deadline=None)
def test_temperatures_are_the_likeliest(seed: int, heat: float) -> None:
    """Law: a little warmer or colder makes the labels, and one sample of all classes, less likely; logits divided by h
    need a temperature h times lower."""
    logits, y = toy(seed, n=150)

    def likelihood(warm: np.ndarray) -> np.ndarray:
        p = softmax(np.stack(logits) / warm[:, None, None])
        return np.log(p[:, np.arange(len(y)), y]).sum(axis=1) + np.log(p).mean(axis=(1, 2))

    best = np.array(temperatures(logits, y))
    for factor in (0.97, 1.03):
        assert (likelihood(best) > likelihood(best * factor)).all()
    assert temperatures([z / heat for z in logits], y) == pytest.approx(np.clip(best / heat, 0.05, 20), rel=1e-3)


def test_logits_that_all_are_right_or_diverged_have_temperatures_too() -> None:
    """Separable logits stay a little in doubt (6 right of 7, so p = 19/21 by hand), useless ones end at the warmest,
    NaN at 1."""
    y = np.arange(6) % 3
    right = np.eye(3)[y] * 4
    cold, warm = temperatures([right, right[::-1].copy()], y)
    assert softmax(right / cold).max(axis=1) == pytest.approx([19 / 21] * 6, abs=1e-5)
    assert warm == pytest.approx(20.0)
    assert temperatures([right, np.full((6, 3), np.nan)], y) == (1.0, 1.0)
    points = operating_points("probability", [right, np.full((6, 3), np.nan)], y, [1, 2])
    assert points[-1]["val_error"] == 100.0


@pytest.mark.parametrize("rule", ["probability", "entropy", "margin", "patience"])
def test_a_point_says_all_that_it_needs(rule: str) -> None:
    """Rule, thresholds and temperatures of each point give its error and rates again; the ends are the two exits."""
    logits, y = toy(3)
    points = operating_points(rule, logits, y, [1, 3, 4])
    right = correct(logits, y)
    for point in points:
        warm = point.get("temperatures", [])
        assert len(warm) == (0 if rule == "patience" else 3)
        again = outcome(scores(rule, logits, warm), right, point["thresholds"])
        assert (again.error, list(again.rates)) == (point["val_error"], point["exit_rates"])
    assert points[0]["exit_rates"] == [1, 0, 0]
    assert points[-1]["exit_rates"] == [0, 0, 1]
    assert points[-1]["val_error"] == pytest.approx(100 * (1 - right[:, -1].mean()))
    assert (3 if rule == "patience" else 8) <= len(points) <= BUDGETS + 2


def test_one_exit_needs_no_threshold() -> None:
    """A network without early exits has one point, without rule or temperature."""
    logits, y = toy(0, k=1)
    point, = operating_points("entropy", logits, y, [1.0])
    assert point == {"thresholds": [], "val_error": point["val_error"], "exit_rates": [1.0]}
    assert point["val_error"] == pytest.approx(100 * (logits[0].argmax(axis=1) != y).mean())


def test_the_error_of_a_point_is_honest() -> None:
    """Over 40 networks the error on the 300 samples that thresholds were chosen on is that on 4,000 new ones, within
    two standard errors; thresholds chosen by the errors themselves look better than they are by more than that."""
    ours, theirs = [], []
    costs = [1.0, 2.0, 4.0]
    for seed in range(40):
        logits, y = toy(seed, n=4300)
        old, new, right_new = [z[:300] for z in logits], [z[300:] for z in logits], correct(logits, y)[300:]
        points = operating_points("probability", old, y[:300], costs)[1:-1]
        score = scores("probability", new, points[0]["temperatures"])
        after = [outcome(score, right_new, p["thresholds"]).error for p in points]
        ours.append(np.mean(after) - np.mean([p["val_error"] for p in points]))
        there, right = scores("probability", old, points[0]["temperatures"]), correct(old, y[:300])
        chosen = joint(there, 1.0 - right, costs)[1:-1]
        after = [outcome(score, right_new, v).error for v in chosen]
        theirs.append(np.mean(after) - np.mean([outcome(there, right, v).error for v in chosen]))
    error = np.std(ours) / np.sqrt(len(ours))
    assert abs(np.mean(ours)) < 2 * error
    assert np.mean(theirs) > np.mean(ours) + 2 * error
