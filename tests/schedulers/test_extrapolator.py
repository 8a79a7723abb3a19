"""The extrapolator: what it says of short runs follows from what became of others."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from searchd.schedulers.extrapolator import Merit, extrapolate
from searchd.schedulers.improvement import improvement, log_h, log_improvement, tabled

NAN, INF = float("nan"), float("inf")


def curves(n: int, useful: bool, seed: int = 0) -> np.ndarray:
    """Losses [n, 3] of trials that all went to the top; the first rung tells the end, or nothing."""
    rng = np.random.default_rng(seed)
    end = rng.random(n)
    first = end + 1 if useful else rng.random(n) + 1
    return np.stack([first, end + 0.3, end], axis=1)


def test_a_rung_is_trusted_as_far_as_it_proved_to_be_worth() -> None:
    """By a rung that tells the end trials are told apart, with little doubt; by one that tells nothing they are not."""
    shares = []
    for useful in (True, False):
        values = curves(60, useful)
        chain = extrapolate(values)
        short, doubt = chain.finals(np.where(np.arange(3) == 0, values, NAN))
        end, _ = chain.finals(values)
        shares.append(short.std() / end.std())
        assert chain.variance[2] == 0
        assert (doubt[0] < 0.2 * end.var()) == useful
    assert shares[0] > 0.7
    assert shares[1] < 0.3


def test_a_finished_trial_is_what_it_is() -> None:
    """At the top mean and variance are the trial's own loss and 0, whatever its course; unreached is NaN."""
    values = np.vstack([curves(20, useful=True), [[NAN] * 3]])
    chain = extrapolate(values)
    mean, variance = chain.finals(values)
    assert np.allclose(chain.unwarp(mean[:20]), values[:20, 2])
    assert (variance[:20] == 0).all()
    assert np.isnan(mean[20])
    assert np.isnan(variance[20])
    assert chain.best == mean[:20].min()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(*[st.one_of(st.floats(-1e9, 1e9), st.just(INF), st.just(NAN))] * 3), max_size=6))
def test_it_stands_anything(rows: list[tuple[float, float, float]]) -> None:
    """Any losses, diverged and missing ones too: the chain is finite, slopes are not negative, doubt shrinks upwards,
    and the warp keeps the order of losses and comes back."""
    values = np.array(rows).reshape(len(rows), 3)
    chain = extrapolate(values)
    assert np.isfinite([*chain.offset, *chain.slope, *chain.variance, chain.best]).all()
    assert min(chain.slope) >= 0
    assert min(chain.variance) >= 0
    mean, _ = chain.finals(values)
    assert (np.isfinite(mean) == ~np.isnan(values).all(axis=1)).all()
    known = np.sort(values[np.isfinite(values)])
    assert (np.diff(chain.warp(known)) >= 0).all()


def test_one_trial_is_told_as_all_are() -> None:
    """`final` of one trial equals `finals` of all."""
    values = curves(9, useful=True)
    values[:4, 2], values[:2, 1], values[5, 2] = NAN, NAN, INF
    chain = extrapolate(values)
    mean, _ = chain.finals(values)
    deepest = [0, 0, 1, 1, 2, 2, 2, 2, 2]
    assert np.allclose([chain.final(values[i, k], k) for i, k in enumerate(deepest)], mean)


def test_broken_bounds_come_after_all_that_holds() -> None:
    """Merits sort feasible losses first, then by violation, then what diverged; without any bound they are the losses;
    where nothing holds yet, the violation decides."""
    loss = np.array([5.0, 1.0, 3.0, 0.0, INF])
    violation = np.array([0.0, 0.0, 0.2, 0.1, INF])
    assert np.argsort(Merit.of(loss, violation)(loss, violation)).tolist() == [1, 0, 3, 2, 4]
    free = np.where(np.isfinite(loss), 0.0, INF)
    assert Merit.of(loss, free)(loss, free).tolist() == loss.tolist()
    broken = np.array([0.3, 0.2, 0.4, 0.1, INF])
    assert np.argsort(Merit.of(loss, broken)(loss, broken)).tolist() == [3, 1, 0, 2, 4]


@settings(max_examples=200, deadline=None)
@given(st.floats(-100, 100), st.floats(1e-3, 10), st.floats(-100, 100))
def test_one_from_the_table_is_one_of_many(mean: float, sd: float, target: float) -> None:
    """Below the table, in it and above; at its ends and cells too."""
    for z in (None, -30.0, 10.0, -0.01, 0.0):
        at = mean if z is None else target - z * sd
        many = float(np.exp(log_improvement(np.array([at]), np.array([sd]), target))[0])
        assert tabled(at, sd, target) == pytest.approx(many, rel=1e-10, abs=1e-300)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(-1e9, 1e9) | st.just(INF), st.floats(0, 1e9)), min_size=1, max_size=8))
def test_the_merit_of_one_trial_is_that_of_many(reports: list[tuple[float, float]]) -> None:
    """Bit for bit, with bounds that nobody, somebody or everybody keeps; a diverged trial breaks them infinitely."""
    loss = np.array([loss for loss, _ in reports])
    violation = np.array([INF if loss == INF else far for loss, far in reports])
    for broken in (np.where(loss == INF, INF, 0.0), violation, violation + 1):
        merit = Merit.of(loss, broken)
        singly = [merit.one(*each) for each in zip(loss.tolist(), broken.tolist(), strict=True)]
        assert singly == merit(loss, broken).tolist()


def test_improvement_far_from_the_target() -> None:
    """The logarithm of expected improvement agrees with the number itself, and still falls where that is 0."""
    mean, sd = np.array([-1.0, 0.0, 0.5, 3.0, 30.0, 60.0]), np.ones(6)
    logs = log_improvement(mean, sd, 0.0)
    assert np.allclose(logs[:4], np.log([improvement(float(m), 1.0, 0.0) for m in mean[:4]]), atol=1e-4)
    assert (np.diff(logs) < 0).all()
    assert np.isfinite(logs).all()
    assert abs(improvement(0.0, 2.0, 0.0) - 2 / np.sqrt(2 * np.pi)) < 1e-12


def test_many_are_read_as_few_are() -> None:
    """A table read for thousands at once says what it says of each alone, to rounding: at the ends of its cells and
    between them, beyond the table on both sides, and of NaN."""
    z = np.concatenate([np.linspace(-32.0, 12.0, 7001), np.arange(-3000, 1001) / 100, [np.nan, -np.inf, np.inf]])
    with np.errstate(all="ignore"):
        alone = np.concatenate([log_h(part) for part in np.split(z, np.arange(100, len(z), 100))])
        np.testing.assert_allclose(log_h(z), alone, rtol=1e-14, atol=1e-15)
