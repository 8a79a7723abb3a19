"""Domains, one by one: rules with their messages, the unit cube, priors."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from spaces.domains import Choice, Const, Domain, Float, Int, Normal, Subset
from spaces.errors import SpaceError
from tests.support.spaces import rng


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Float(3, 1), r"\[3, 1\] is empty.*did you mean \[1, 3\]"),
        (lambda: Float(0, 1, log=True), r"log scale needs low > 0, but low = 0: raise it above 0, say to 1e-6"),
        (lambda: Int(0, 8, log=True), r"log scale needs low > 0, but low = 0: raise it to 1"),
        (lambda: Float(0, math.inf), r"two finite numbers below 1e300, but one is inf"),
        (lambda: Float(math.nan, 1), r"two finite numbers.*nan"),
        (lambda: Float(0, 10**400), r"two finite numbers"),
        (lambda: Float(0, 1, step=0), r"step = 0 must be above 0"),
        (lambda: Float(0, 1, step=2), r"step = 2 is larger than the range"),
        (lambda: Float(0, 1e9, step=1e-9), r"more than 2\*\*53"),
        (lambda: Float(1, 2, log=True, step=0.5), r"log and step do not go together"),
        (lambda: Float(0, 1, prior=Normal(2, 0.1)), r"mean 2 is outside \[0, 1\]"),
        (lambda: Float(0, 1, prior=Normal(0.5, 0)), r"sd > 0, but sd = 0"),
        (lambda: Int(0, 2**60), r"beyond 2\*\*53"),
        (lambda: Int(True, 3), r"whole numbers, but one is True"),
        (lambda: Int(0, 1.5), r"whole numbers, but one is 1.5: use float"),  # type: ignore[arg-type]
        (lambda: Choice(()), r"at least one of its options"),
        (lambda: Choice((1, 2, 1.0)), r"1 and 1.0 are equal: options must differ"),
        (lambda: Choice((math.nan, 1)), r"nan is not finite"),
        (lambda: Choice(((1, 2),)), r"not a number, string, boolean or null"),  # type: ignore[arg-type]
        (lambda: Choice((1, 2), weights=(1.0,)), r"1 weights for 2 options"),
        (lambda: Choice((1, 2), weights=(0.0, 0.0)), r"not all 0"),
        (lambda: Subset((0, 1), min=2, max=1), r"0 <= min <= max <= 2 \(its items\), but min = 2 and max = 1"),
        (lambda: Subset((0, 1), max=3), r"max = 3"),
        (lambda: Const(math.nan), r"not finite"),
        (lambda: Const({"a": 1}), r"is no plain value: use numbers"),
    ],
)
def test_a_domain_that_breaks_its_rule_says_value_and_rule(make: Callable[[], Domain], said: str) -> None:
    """Each rule of a domain has a message with the value and the rule."""
    with pytest.raises(SpaceError, match=said):
        make()


@pytest.mark.parametrize(
    ("domain", "value", "canonical"),
    [
        (Float(0, 1), 1, "1.0"),
        (Float(-1, 1), -0.0, "0.0"),
        (Float(0, 1, step=0.1), 0.30000000000000004, "0.3"),
        (Float(0, 1), np.float32(0.5), "0.5"),
        (Int(0, 5), 3.0, "3"),
        (Int(0, 5), np.int64(3), "3"),
        (Choice((1, 2)), 2.0, "2"),
        (Choice((True, 2)), True, "True"),
        (Subset(("a", "b", "c")), ["c", "a"], "('a', 'c')"),
        (Const([1, [2]]), [1, [2]], "(1, (2,))"),
    ],
)
def test_equal_values_have_one_form(domain: Domain, value: Any, canonical: str) -> None:
    """`canonical` gives one way to write a value, so that equal configs have equal digests."""
    assert repr(domain.canonical(value)) == canonical
    assert domain.contains(value)


@pytest.mark.parametrize(
    ("domain", "value"),
    [
        (Float(0, 1), True),
        (Float(0, 1), "0.5"),
        (Float(0, 1), math.nan),
        (Float(0, 1), 10**400),
        (Float(0, 1), 1.1),
        (Float(0, 1, step=0.1), 0.25),
        (Int(0, 5), 2.5),
        (Int(0, 6, step=2), 3),
        (Int(0, 5), True),
        (Int(0, 5), math.inf),
        (Choice((1, 2)), True),
        (Choice(("1", "2")), 1),
        (Choice((1, 2)), [1]),
        (Subset((1, 2)), 1),
        (Subset((1, 2)), [1, 1]),
        (Subset((1, 2), min=1), []),
        (Subset((1, 2)), [3]),
        (Const(1), True),
        (Const(1), math.nan),
        (Const(1), {1}),
    ],
)
def test_what_is_outside_is_refused(domain: Domain, value: Any) -> None:
    """A value of the wrong type, off the grid or out of the range is not in the domain."""
    assert not domain.contains(value)


def test_a_grid_has_no_rounding_dust() -> None:
    """A stepped float gives the decimal numbers that a person would write."""
    domain = Float(0, 1, step=0.1)
    assert [domain.decode(((k + 0.5) / 11,)) for k in range(11)] == [
        0,
        0.1,
        0.2,
        0.3,
        0.4,
        0.5,
        0.6,
        0.7,
        0.8,
        0.9,
        1.0,
    ]
    assert Float(0, 1, step=0.3).decode((1.0,)) == 0.9


@pytest.mark.parametrize("domain", [Int(3, 9), Int(1, 7, log=True), Int(-4, 8, step=3), Choice(("a", None, True, 2))])
def test_a_discrete_domain_reaches_all_of_its_values(domain: Domain) -> None:
    """Each value is drawn, each one comes back from the unit interval, and both ends are values."""
    draw = rng()
    seen = {domain.sample(draw) for _ in range(300)}
    assert len(seen) == domain.count()
    assert all(domain.decode(domain.encode(v)) == v for v in seen)
    assert {domain.decode((0.0,)), domain.decode((1.0,))} <= seen


def test_log_spreads_evenly_over_orders() -> None:
    """Half of the draws of a log scale over 1e-4..1 are below 1e-2; without log almost none are."""
    draw = rng()
    log = np.array([Float(1e-4, 1, log=True).sample(draw) for _ in range(2000)])
    flat = np.array([Float(1e-4, 1).sample(draw) for _ in range(2000)])
    assert 0.45 < (log < 1e-2).mean() < 0.55  # 4.5 standard errors of a half over 2,000 draws
    assert (flat < 1e-2).mean() < 0.03


def test_a_log_range_of_neighbours_can_be_encoded() -> None:
    """Two floats whose logs are equal are the middle of their range: no division by zero."""
    assert Float(17.0, 17.000000000000004, log=True).encode(17.0) == (0.5,)


def test_subsets_are_drawn_evenly() -> None:
    """Each subset of an allowed size is as likely as any other."""
    domain = Subset((0, 1, 2, 3), min=1, max=2)
    draw = rng()
    counts = Counter(domain.sample(draw) for _ in range(5000))
    assert len(counts) == domain.count() == 10
    assert all(400 < n < 600 for n in counts.values())  # 500 expected, standard deviation 21


def test_a_subset_of_a_wrong_size_is_mended_by_the_largest_columns() -> None:
    """Too few members take the largest of the rest, too many keep the largest."""
    domain = Subset(("a", "b", "c"), min=1, max=2)
    assert domain.decode((0.1, 0.3, 0.2)) == ("b",)
    assert domain.decode((0.9, 0.6, 0.8)) == ("a", "c")


def test_priors_pull_the_draws() -> None:
    """A normal prior centres the draws (in decades on a log scale), weights share them out; 0 is never drawn."""
    draw = rng()
    near = [Float(0, 1, prior=Normal(0.1, 0.05)).sample(draw) for _ in range(500)]
    assert 0.09 < float(np.mean(near)) < 0.125  # truncation at 0 shifts the mean of 0.1 up by about 0.003
    decades = [math.log10(Float(1e-6, 1, log=True, prior=Normal(1e-3, 0.5)).sample(draw)) for _ in range(500)]
    assert abs(float(np.mean(decades)) + 3) < 0.1
    assert abs(float(np.std(decades)) - 0.5) < 0.08
    whole = [Int(0, 100, prior=Normal(50, 5)).sample(draw) for _ in range(500)]
    assert abs(float(np.mean(whole)) - 50) < 1
    counts = Counter(Choice(("a", "b", "c"), weights=(3, 0, 1)).sample(draw) for _ in range(1000))
    assert counts["b"] == 0
    assert 690 < counts["a"] < 810  # 750 expected, standard deviation 14


def test_the_unit_interval_is_checked() -> None:
    """A coordinate outside [0, 1] and NaN are refused with the value."""
    for u in (-0.1, 1.1, math.nan):
        with pytest.raises(SpaceError, match="unit interval"):
            Float(0, 1).decode((u,))
