"""G4 (ALGORITHMS 4.1, 4.2): the decay family and expected improvement, to the digit."""

from __future__ import annotations

import numpy as np
import pytest

from searchd.searchers.curves import exp_decay, kappa
from searchd.searchers.joint_gp import expected_improvement

RUNGS = np.array([1.0, 9.0])


def test_kappa() -> None:
    """alpha = 1, lam = 0.5: what is left of the decay at resources 0, 1, 2, 4, 9."""
    found = kappa(np.array([0.0, 1.0, 2.0, 4.0, 9.0]), 1.0, 1.0 / 0.5)
    assert found.round(6).tolist() == [1.0, 0.666667, 0.5, 0.333333, 0.181818]


def test_additive_covariance_and_mean() -> None:
    """k_x = 1, delta = 0, gamma = 0.5: covariances at (1, 1), (1, 9), (9, 9), and the mean of mu_x = 0.1."""
    tables = exp_decay(RUNGS, alpha=1, lam=0.5, gamma=0.5, delta=0, mu=0.1)
    k = tables.scale + tables.shift
    assert [round(float(v), 7) for v in (k[0, 0], k[0, 1], k[1, 1])] == [1.0138889, 1.0113636, 1.0167355]
    assert k[1, 0] == k[0, 1]
    assert tables.mean.round(7).tolist() == [0.4333333, 0.1909091]


@pytest.mark.parametrize(("delta", "expected"), [(0.5, 0.6266288), (1.0, 0.3254545)])
def test_covariance_with_delta(delta: float, expected: float) -> None:
    """k(1, 9) with mu_x = 0.1, for a decay that is half and wholly the config's own."""
    tables = exp_decay(RUNGS, alpha=1, lam=0.5, gamma=0.5, delta=delta, mu=0.1)
    assert round(float((tables.scale + tables.shift)[0, 1]), 7) == expected


def test_expected_improvement() -> None:
    """b = 0.25, s = 0.1: EI of the means 0.2 and 0.3."""
    found = expected_improvement(np.array([0.2, 0.3]), np.array([0.1, 0.1]), 0.25)
    assert found.round(7).tolist() == [0.0697797, 0.0197797]
