"""G11 and G17: the values of MnasNet's reward, FBNet's and ProxylessNAS' losses, Zeus' cost, to the digit."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spaces.errors import SpaceError
from spaces.formulas import formula
from spaces.scalarizers import SCALARIZERS, fbnet, mnas, proxyless_add, proxyless_mul, zeus


@pytest.mark.parametrize(("latency", "reward"), [(80, 0.75), (100, 0.738376), (160, 0.714478), (40, 0.787288)])
def test_mnas_soft(latency: float, reward: float) -> None:
    """11.1, T = 80, ACC = .75: alpha = beta = -.07 by default, and said."""
    assert round(mnas(0.75, latency, 80), 6) == reward
    assert mnas(0.75, latency, 80, -0.07, -0.07) == mnas(0.75, latency, 80)


@pytest.mark.parametrize(("latency", "reward"), [(100, 0.6), (60, 0.75), (80, 0.75)])
def test_mnas_hard(latency: float, reward: float) -> None:
    """11.1, alpha = 0, beta = -1: at and below the target nothing is lost."""
    assert mnas(0.75, latency, 80, 0, -1) == pytest.approx(reward, abs=1e-12)


def test_fbnet_and_proxyless() -> None:
    """11.2, CE = 1.5, LAT = 23.1; 11.3, CE = 1.5, LAT = 100 and 60, T = 80."""
    assert round(fbnet(1.5, 23.1), 6) == 0.596026
    assert round(proxyless_mul(1.5, 100, 80), 6) == 0.304504
    assert proxyless_add(1.5, 100, 80) == pytest.approx(1.525, abs=1e-12)
    assert proxyless_add(1.5, 60, 80) == pytest.approx(1.475, abs=1e-12)


def test_zeus() -> None:
    """17.1, eta = .5, 250 W: the slower training that saves energy costs more all the same."""
    assert zeus(1.2e6, 6000, 0.5, 250) == 1.35e6
    assert zeus(0.9e6, 7500, 0.5, 250) == 1.3875e6
    assert zeus(1.2e6, 6000, 1, 250) == 1.2e6
    assert zeus(1.2e6, 6000, 0, 250) == 1.5e6


@pytest.mark.parametrize(
    "call",
    [
        lambda: mnas(0.5, 0.0, 80), lambda: mnas(0.5, -1.0, 80), lambda: mnas(75.0, 60, 80), lambda: mnas(-0.1, 60, 80),
        lambda: mnas(math.nan, 60, 80), lambda: mnas(0.5, math.nan, 80), lambda: mnas(0.5, 60, 0),
        lambda: fbnet(1.5, 1.0), lambda: proxyless_mul(1.5, 0.5, 80), lambda: proxyless_mul(1.5, 60, 1.0),
        lambda: proxyless_add(1.5, 0.0, 80), lambda: zeus(1, 1, 1.1, 250), lambda: zeus(-1, 1, 0.5, 250),
        lambda: zeus(1, 1, 0.5, 0),
    ],
)  # fmt: skip
def test_what_is_refused(call: object) -> None:
    """LAT <= 0, an accuracy outside [0, 1], a logarithm that is not above 0, eta outside [0, 1]."""
    with pytest.raises(SpaceError, match="needs"):
        call()  # type: ignore[operator]


@given(st.floats(0.01, 1), st.floats(1e-3, 1e3), st.floats(1e-3, 1e3))
def test_mnas_falls_with_latency_and_is_the_accuracy_at_the_target(a: float, latency: float, target: float) -> None:
    """Law: m(T) = ACC; more latency is never better, soft or hard; a change of unit changes nothing."""
    assert mnas(a, target, target) == pytest.approx(a)
    assert mnas(a, latency * 2, target) < mnas(a, latency, target)
    assert mnas(a, latency * 2, target, 0, -1) <= mnas(a, latency, target, 0, -1) <= a
    assert mnas(a, latency * 1000, target * 1000) == pytest.approx(mnas(a, latency, target))


def test_formulas_call_them() -> None:
    """As an objective's formula, over metrics and constants; out of range is no value."""
    found = formula("mnas(1 - val_error / 100, latency_ms, 0.05)")
    assert found.reads == {"val_error", "latency_ms"}
    assert found.value({"val_error": 25.0, "latency_ms": 0.1}) == pytest.approx(0.75 * 2**-0.07)
    assert math.isnan(found.value({"val_error": 25.0, "latency_ms": 0.0}) or 0.0)
    assert formula("zeus(energy_j, train_s, 0.5, 250)").value({"energy_j": 1.2e6, "train_s": 6000.0}) == 1.35e6
    assert formula("mnas + 1").value({"mnas": 2.0}) == 3.0  # a metric of that name


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("mnas(acc, lat)", r"mnas\(accuracy, latency, target, \[alpha\], \[beta\]\)"),
        ("fbnet(ce, lat, 1, 2, 3)", "fbnet takes 2 to 4 arguments"),
        ("mnas(val_error, latency_ms, 80)", "write 1 - val_error / 100"),
        ("mnas(acc, lat, 0)", "mnas needs a target above 0, but it is 0"),
        ("mnas(75, lat, 80)", "accuracy in .0, 1., but it is 75"),
        ("proxyless_mul(ce, lat, 0.8)", "smaller unit"),
        ("zeus(e, t, -1, 250)", "eta in .0, 1."),
        ("mnaz(a, b, 3)", "did you mean 'mnas'"),
    ],
)
def test_slips_are_told_when_the_file_is_read(text: str, said: str) -> None:
    """The number of arguments, constants out of range, percent for a share, a misspelt name."""
    with pytest.raises(SpaceError, match=said):
        formula(text)


def test_the_language_of_constraints_has_them_not() -> None:
    """They are for metrics: a constraint over parameters may not call one."""
    from spaces.constraints import Constraint

    for name in SCALARIZERS:
        with pytest.raises(SpaceError, match="is no function here"):
            Constraint.parse(f"{name}(a, b, 3) < 1", ["a", "b"])
