"""Exit thresholds as arithmetic: laws of the rule, of the sweep, and of costs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.tasks.exits import (
    ALWAYS_LAST,
    QUANTILES,
    expected_cost,
    judge,
    outcomes,
    scores,
    softmax,
    sweep,
    taken,
)


def cached(seed: int, n: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return np.round(rng.random((n, k)), 2), rng.random((n, k)) < 0.8


@given(seed=st.integers(0, 999), n=st.integers(1, 50), k=st.integers(1, 4), t=st.floats(0, 1))
@settings(max_examples=80, deadline=None)
def test_rule_equals_the_loop(seed: int, n: int, k: int, t: float) -> None:
    """The array form gives what walking the exits sample by sample gives; rates sum to 1."""
    confidence, right = cached(seed, n, k)
    counts, wrong = [0] * k, 0
    for i in range(n):
        for e in range(k):
            if e == k - 1 or confidence[i, e] >= t:
                counts[e] += 1
                wrong += not right[i, e]
                break
    got = outcomes(confidence, right, t)
    assert got.rates == pytest.approx([c / n for c in counts])
    assert got.error == pytest.approx(100 * wrong / n)
    assert sum(got.rates) == pytest.approx(1)


@given(seed=st.integers(0, 999), k=st.integers(2, 4))
@settings(max_examples=40, deadline=None)
def test_sweep(seed: int, k: int) -> None:
    """From "the first always" to "the last always", no two points alike; a higher threshold never costs less."""
    points = sweep(*cached(seed, 40, k))
    assert points[0].rates[0] == 1.0
    assert points[-1].rates[-1] == 1.0
    assert len({p.rates for p in points}) == len(points) <= len(QUANTILES) + 2
    costs = [expected_cost(p.rates, range(1, k + 1)) for p in points]
    assert costs == sorted(costs)


def test_sweep_trades_error_for_cost() -> None:
    """Where the late exit knows better and confidence tells, points lie between the two exits on both axes."""
    rng = np.random.default_rng(0)
    early = rng.random(400)
    right = np.stack([rng.random(400) < early, np.ones(400, bool)], axis=1)
    points = sweep(np.stack([early, np.ones(400)], axis=1), right)
    assert points[0].error > 30
    assert points[-1].error == 0
    errors = [p.error for p in points]
    assert errors == sorted(errors, reverse=True)
    assert len(points) == len(QUANTILES) + 2


def test_one_exit_is_one_point() -> None:
    """A network without early exits has one way to be run."""
    points = sweep(np.full((5, 1), 0.4), np.ones((5, 1), bool))
    assert [(p.thresholds, p.error, p.rates) for p in points] == [((), 0.0, (1.0,))]


def test_always_last_is_above_any_probability() -> None:
    """Even a probability of 1 goes on."""
    assert outcomes(np.ones((3, 2)), np.ones((3, 2), bool), ALWAYS_LAST).rates == (0.0, 1.0)


def test_judging_logits() -> None:
    """Confidence is the largest probability; logits that are not finite are sure and wrong."""
    logits = np.array([[2.0, 0.0, 0.0], [np.nan, 0.0, 0.0], [np.inf, 0.0, 0.0]], np.float32)
    confidence, right = judge([logits], np.array([0, 0, 0]))
    assert confidence[0, 0] == pytest.approx(np.exp(2) / (np.exp(2) + 2))
    assert right[:, 0].tolist() == [True, False, False]
    assert softmax(np.array([1000.0, 0.0])).tolist() == [1.0, 0.0]


@given(seed=st.integers(0, 999), k=st.integers(1, 4), rule=st.sampled_from(["probability", "entropy", "margin"]))
@settings(max_examples=40, deadline=None)
def test_scores_lie_between_0_and_1_and_heat_lowers_them(seed: int, k: int, rule: str) -> None:
    """Law: 0 where all classes are alike (1 / C for the probability), and a higher temperature is never surer."""
    logits = list(np.random.default_rng(seed).normal(scale=3, size=(k, 20, 5)))
    cold, warm = scores(rule, logits, [1.0] * k), scores(rule, logits, [2.0] * k)
    assert cold.shape == (20, k)
    assert ((warm >= 0) & (warm <= cold + 1e-12) & (cold <= 1)).all()
    flat = scores(rule, [np.zeros((1, 5))])[0, 0]
    assert flat == pytest.approx(0.2 if rule == "probability" else 0.0)


def test_each_exit_has_its_own_threshold() -> None:
    """Sample by sample: the first exit at or above its own threshold answers."""
    score = np.array([[0.5, 0.9, 0.0], [0.4, 0.9, 0.0], [0.4, 0.89, 0.0]])
    assert taken(score, [0.5, 0.9]).tolist() == [0, 1, 2]
