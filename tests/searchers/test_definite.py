"""Inverses of covariance matrices: those of NumPy, and an error where there is none."""

from __future__ import annotations

import numpy as np
import pytest

from searchd.searchers import definite


def covariance(n: int) -> np.ndarray:
    rows = np.random.default_rng(n).random((n, 4))
    return np.exp(-np.square(rows[:, None] - rows[None]).sum(axis=2)) + 1e-3 * np.eye(n)


@pytest.mark.parametrize("n", [1, 2, 17, 100])
def test_inverse_and_whitening(n: int) -> None:
    """The inverse is symmetric and NumPy's; W is an upper triangle with W Wᵀ the same; lengths are those of rows W."""
    k = covariance(n)
    wanted = np.linalg.inv(k)
    found = definite.inverse(k.copy())
    assert found == pytest.approx(wanted, rel=1e-7, abs=1e-7)
    assert (found == found.T).all()
    w = definite.whitening(k.copy())
    assert (np.tril(w, -1) == 0).all()
    assert w @ w.T == pytest.approx(wanted, rel=1e-7, abs=1e-7)
    rows = np.random.default_rng(1).random((9, n))
    assert definite.lengths(rows, w) == pytest.approx(np.square(rows @ w).sum(axis=1))


@pytest.mark.parametrize("ask", [definite.inverse, definite.whitening])
def test_what_is_not_definite_is_an_error(ask: object) -> None:
    """As NumPy's Cholesky: LinAlgError."""
    assert callable(ask)
    with pytest.raises(np.linalg.LinAlgError, match="positive definite"):
        ask(np.array([[1.0, 2.0], [2.0, 1.0]]))
