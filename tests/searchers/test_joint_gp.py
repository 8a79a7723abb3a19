"""The joint Gaussian process by its laws: gradients, pending rows, families."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from searchd.searchers.curves import FAMILIES, family
from searchd.searchers.joint_gp import (
    Data,
    Fit,
    JointPosterior,
    climb,
    covariance,
    expected_improvement,
    gradient,
    log_posterior,
    start,
)

GROUPS = np.array([0, 1, 1])
NOBODY = (np.zeros((0, 3)), np.zeros(0, dtype=np.intp))


def data(n: int = 25, seed: int = 0) -> Data:
    rng = np.random.default_rng(seed)
    return Data(rng.random((n, 3)), rng.integers(0, 3, n), rng.normal(size=n))


def moved(fit: Fit, i: int, by: float) -> Fit:
    theta, parameters = fit.base.theta.copy(), fit.family.copy()
    if i < len(theta):
        theta[i] += by
    else:
        parameters[i - len(theta)] += by
    return replace(fit, base=replace(fit.base, theta=theta), family=parameters)


@pytest.mark.parametrize("name", FAMILIES)
def test_gradient_is_the_slope(name: str) -> None:
    """The gradient equals central differences of the log posterior, for every family and parameter."""
    curves = family(name, (1, 3, 9))
    fit = start(curves, 2, 2.0)
    fit = replace(fit, family=fit.family + 0.3)
    found = gradient(fit, data(), curves, GROUPS)
    for i, slope in enumerate(found):
        up, down = (log_posterior(moved(fit, i, h), data(), curves, GROUPS) for h in (1e-5, -1e-5))
        assert slope == pytest.approx((up - down) / 2e-5, rel=1e-4, abs=1e-5)  # differences of 1e-5 keep 5 digits


@pytest.mark.parametrize("name", FAMILIES)
def test_climbing_climbs(name: str) -> None:
    """Thirty steps end higher than they began."""
    curves = family(name, (1, 3, 9))
    first = start(curves, 2, 2.0)
    last = climb(first, data(), curves, GROUPS, 30)
    assert log_posterior(last, data(), curves, GROUPS) > log_posterior(first, data(), curves, GROUPS)


@pytest.mark.parametrize("name", FAMILIES)
def test_covariances_are_covariances(name: str) -> None:
    """Every family's matrix over random rows is symmetric and has no negative eigenvalue."""
    curves = family(name, (1, 3, 9, 27))
    fit = start(curves, 2, 2.0)
    d = data(40)
    k = covariance(fit, curves.tables(fit.family), GROUPS, d.x, d.rung, d.x, d.rung)
    assert np.allclose(k, k.T)
    assert np.linalg.eigvalsh(k).min() > -1e-9


def test_posterior_at_what_was_seen() -> None:
    """With little noise the posterior goes through the targets and knows them; far away it does not."""
    curves = family("product", (1, 3, 9))
    fit = start(curves, 2, 2.0)
    theta = fit.base.theta.copy()
    theta[-1] = np.log(1e-4)
    fit = replace(fit, base=replace(fit.base, theta=theta))
    d = data(8)
    posterior = JointPosterior(fit, d, curves, GROUPS, NOBODY, None)
    for i in range(8):
        mean, sd = posterior.at(d.x[i : i + 1], int(d.rung[i]))
        assert abs(mean[0, 0] - d.y[i]) < 0.05
        assert sd[0] < 0.05
    assert posterior.at(np.full((1, 3), 9.0), 0)[1][0] > 0.9


def test_a_believer_changes_no_mean() -> None:
    """Pending rows at their posterior means leave every mean as it is, and take away uncertainty around them."""
    curves = family("exp-decay", (1, 3, 9))
    fit = start(curves, 2, 2.0)
    d, pending = data(20), (np.random.default_rng(5).random((4, 3)), np.array([0, 1, 2, 0]))
    without, believer = (JointPosterior(fit, d, curves, GROUPS, p, None) for p in (NOBODY, pending))
    probe = np.random.default_rng(6).random((10, 3))
    assert np.allclose(without.at(probe, 2)[0], believer.at(probe, 2)[0])
    assert (believer.at(probe, 2)[1] <= without.at(probe, 2)[1] + 1e-12).all()
    assert believer.at(pending[0][2:3], 2)[1] < without.at(pending[0][2:3], 2)[1]


def test_a_fantasy_is_a_conditioned_draw() -> None:
    """Conditioning on a fantasy equals a posterior that was told that target; their average is the believer's."""
    curves = family("exp-decay", (1, 3, 9))
    fit = start(curves, 2, 2.0)
    d, at = data(20), (np.array([[0.2, 0.4, 0.6]]), np.array([1]))
    normals = np.array([[0.7, -1.3]])
    fantasies = JointPosterior(fit, d, curves, GROUPS, at, normals)
    plain = JointPosterior(fit, d, curves, GROUPS, NOBODY, None)
    mean, sd = plain.at(at[0], 1)
    probe = np.random.default_rng(6).random((10, 3))
    for j in range(2):
        drawn = mean[0, 0] + normals[0, j] * np.sqrt(sd[0] ** 2 + fit.base.noise + 1e-6)
        told = Data(np.vstack([d.x, at[0]]), np.append(d.rung, 1), np.append(d.y, drawn))
        known = JointPosterior(fit, told, curves, GROUPS, NOBODY, None)
        assert np.allclose(fantasies.at(probe, 2)[0][:, j], known.at(probe, 2)[0][:, 0])
        assert np.allclose(fantasies.at(probe, 2)[1], known.at(probe, 2)[1])


def test_expected_improvement_is_the_expectation() -> None:
    """EI equals the mean of max(b − y, 0) over draws, and 0 is its limit far above."""
    draws = np.random.default_rng(0).normal(0.3, 0.2, 200_000)
    found = float(expected_improvement(np.array(0.3), np.array(0.2), 0.25))
    assert found == pytest.approx(np.maximum(0.25 - draws, 0).mean(), rel=0.02)  # 200,000 draws
    assert float(expected_improvement(np.array(9.0), np.array(0.2), 0.25)) < 1e-12


def test_an_unknown_family_is_said() -> None:
    """A family that is none is told with those that are."""
    with pytest.raises(ValueError, match="known are exp-decay"):
        family("cubic", (1, 3))
