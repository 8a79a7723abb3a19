"""The Gaussian process: its gradient is one, it interpolates, and pending rows only take away uncertainty."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from searchd.searchers import gp

GROUPS = np.array([0, 1, 1, 2])
Floats = NDArray[np.float64]


def rows(n: int, seed: int = 0) -> tuple[Floats, Floats, Floats]:
    """Rows [n, 4], targets that read the first column and the group of two, and a known noise each."""
    rng = np.random.default_rng(seed)
    x = rng.random((n, 4))
    return x, np.sin(5 * x[:, 0]) + x[:, 1] - x[:, 2] ** 2, rng.random(n) * 0.01


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("cut", [None, 3])
def test_gradient_is_the_slope_of_the_posterior(biased: bool, cut: int | None) -> None:
    """The analytic gradient equals central differences in every hyperparameter, shared length scales included; of a
    sum of two kernels too."""
    x, y, noise = rows(12)
    hyper = gp.climb(gp.start(3) if cut is None else gp.start(2, cut=cut, more=1), x, y, noise, GROUPS, 3)
    bias = np.linspace(0, 0.5, 12) if biased else None
    found = gp.gradient(hyper, x, y, noise, GROUPS, bias)
    for i in range(len(found)):
        sides = []
        for h in (1e-5, -1e-5):
            theta = hyper.theta.copy()
            theta[i] += h
            sides.append(gp.log_posterior(replace(hyper, theta=theta), x, y, noise, GROUPS, bias))
        assert abs((sides[0] - sides[1]) / 2e-5 - found[i]) < 1e-4 * max(1.0, abs(found[i]))


def test_climb_goes_up_and_starts_where_it_stopped() -> None:
    """25 steps raise the log posterior, and 10 + 15 steps are the same as 25."""
    x, y, noise = rows(30)
    first = gp.start(3)
    once = gp.climb(first, x, y, noise, GROUPS, 25)
    twice = gp.climb(gp.climb(first, x, y, noise, GROUPS, 10), x, y, noise, GROUPS, 15)
    assert gp.log_posterior(once, x, y, noise, GROUPS) > gp.log_posterior(first, x, y, noise, GROUPS)
    assert np.array_equal(once.theta, twice.theta)
    assert once.lengths[2] > once.lengths[0], "a column that the target does not read gets a long scale"


@pytest.mark.parametrize("hyper", [gp.start(3), gp.start(2, cut=3, more=1)])
def test_posterior_is_that_of_the_textbook(hyper: gp.Hyper) -> None:
    """Mean and variance equal the equations 2.25 and 2.26 of Rasmussen and Williams, written down directly."""
    x, y, noise = rows(15)
    hyper = gp.climb(hyper, x, y, noise, GROUPS, 10)
    model = gp.Posterior(hyper, x, y, noise, GROUPS)
    at, _, _ = rows(7, seed=1)
    k = gp.kernel(x, x, hyper, GROUPS) + np.diag(noise + hyper.noise + gp.NUGGET)
    cross = gp.kernel(at, x, hyper, GROUPS)
    covariances = model.covariances(at)
    assert np.allclose(model.mean(covariances), cross @ np.linalg.solve(k, y), atol=1e-9)
    variance = hyper.signal - np.einsum("ij,ij->i", cross, np.linalg.solve(k, cross.T).T)
    assert np.allclose(model.sd(covariances) ** 2, variance, atol=1e-9)


def test_a_row_left_out_is_predicted_as_by_a_process_without_it() -> None:
    """The closed form equals n processes, each without one row; pending rows change nothing of it."""
    x, y, noise = rows(12)
    bias = np.linspace(0, 0.5, 12)
    hyper = gp.climb(gp.start(3), x, y, noise, GROUPS, 10, bias)
    found = gp.Posterior(hyper, x, y, noise, GROUPS, rows(3, seed=2)[0], bias).left_out()
    for i in range(12):
        others = np.arange(12) != i
        full = gp.kernel(x, x, hyper, GROUPS) * (1 + np.minimum.outer(bias, bias) / hyper.signal)
        k = full[np.ix_(others, others)] + np.diag((noise + hyper.noise + gp.NUGGET)[others])
        assert abs(full[i, others] @ np.linalg.solve(k, y[others]) - found[i]) < 1e-8


def test_noise_of_a_row_says_how_much_it_counts() -> None:
    """A row without noise is nearly interpolated; one with great noise is nearly ignored."""
    x, y, _ = rows(20)
    trusted = gp.Posterior(gp.start(3), x, y, np.full(20, 0.0), GROUPS)
    doubted = gp.Posterior(gp.start(3), x, y, np.where(np.arange(20) == 3, 1e3, 0.0), GROUPS)
    away = gp.Posterior(gp.start(3), np.delete(x, 3, 0), np.delete(y, 3), np.zeros(19), GROUPS)
    at = x[3:4]
    assert abs(trusted.mean(trusted.covariances(at))[0] - y[3]) < 0.05
    assert abs(doubted.mean(doubted.covariances(at))[0] - away.mean(away.covariances(at))[0]) < 1e-3


def test_pending_rows_take_away_uncertainty_only() -> None:
    """A pending row lowers the deviation at itself, raises none, and moves no mean."""
    x, y, noise = rows(15)
    at, _, _ = rows(6, seed=2)
    plain = gp.Posterior(gp.start(3), x, y, noise, GROUPS)
    tried = gp.Posterior(gp.start(3), x, y, noise, GROUPS, pending=at[:2])
    assert np.allclose(plain.mean(plain.covariances(at)), tried.mean(tried.covariances(at)))
    before, after = plain.sd(plain.covariances(at)), tried.sd(tried.covariances(at))
    assert (after <= before + 1e-9).all()
    assert (after[:2] < 0.5 * before[:2]).all()


def test_equal_rows_stay_positive_definite() -> None:
    """The same row many times, without any noise, is no error."""
    x = np.zeros((30, 4))
    hyper = gp.climb(gp.start(3), x, np.zeros(30), np.zeros(30), GROUPS, 30)
    model = gp.Posterior(hyper, x, np.zeros(30), np.zeros(30), GROUPS, pending=x)
    assert np.isfinite(model.sd(model.covariances(x))).all()


def test_bias_of_similar_rows_does_not_average_out() -> None:
    """Many biased rows around a place say no more of it than the bias lets them; as much plain noise would average."""
    x = np.tile(rows(1)[0], (30, 1)) + np.linspace(0, 0.01, 30)[:, None]
    y, doubt = np.ones(30), np.full(30, 0.5)
    hyper = gp.start(3)
    noisy = gp.Posterior(hyper, x, y, doubt, GROUPS)
    biased = gp.Posterior(hyper, x, y, np.zeros(30), GROUPS, bias=doubt)
    at = x[:1]
    assert noisy.mean(noisy.covariances(at))[0] > 0.9
    assert abs(biased.mean(biased.covariances(at))[0] - 1 / 1.5) < 0.03
    assert biased.sd(biased.covariances(at))[0] > 3 * noisy.sd(noisy.covariances(at))[0]
