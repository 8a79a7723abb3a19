"""ALGORITHMS 10.1: the cyclic learning rate of time-accuracy curves (Portes et al., 2022)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spaces.errors import SpaceError
from spaces.schedules import cycle_ends, cyclic


@pytest.mark.parametrize(
    ("t", "lr"),
    [(0, 1), (2, 0.5), (3, 0.1464), (4, 1), (8, 0.5), (11, 0.0381), (12, 1), (20, 0.5), (27, 0.0096)],
)
def test_rates_of_the_golden_table(t: int, lr: float) -> None:
    """T0 = 4, m = 2, lr0 = 1: the table's values to four digits."""
    assert round(cyclic(t, 4, 1.0), 4) == lr


def test_cycles_end_where_the_table_says() -> None:
    """T0 = 4, m = 2: cycles end at 4, 12, 28, 60."""
    assert cycle_ends(4, 4) == (4, 12, 28, 60)


@given(st.integers(1, 9), st.integers(1, 4), st.floats(1e-6, 10), st.integers(0, 300))
def test_a_cycle_falls_from_the_top_and_starts_again(first: int, factor: int, top: float, t: int) -> None:
    """Law: the rate lies in (0, top], is `top` exactly where a cycle begins, and falls inside each."""
    rate, ends = cyclic(t, first, top, factor), (0, *cycle_ends(302 if factor == 1 else 10, first, factor))
    assert 0 < rate <= top
    assert (rate == top) == (t in ends)
    if t + 1 not in ends:
        assert cyclic(t + 1, first, top, factor) < rate


@pytest.mark.parametrize(("t", "first", "factor"), [(-1, 4, 2), (0, 0, 2), (0, 4, 0)])
def test_what_is_no_cycle_is_refused(t: int, first: int, factor: int) -> None:
    """A step before the training, a cycle without length, a factor below 1: each says what is needed."""
    with pytest.raises(SpaceError, match=r"give the steps|raise them"):
        cyclic(t, first, 1.0, factor)
