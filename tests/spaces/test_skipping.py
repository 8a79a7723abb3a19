"""Skip schedules: the published examples, and laws."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spaces.errors import SpaceError
from spaces.skipping import active, depths, unified


def test_published_examples() -> None:
    """Unified layer skipping's two examples, and SkipDecode's line from 24 to 8 over 9 positions."""
    assert unified(24, 3) == (0, 3, 7, 10, 13, 16, 20, 23)
    assert unified(12, 1.5) == (0, 2, 3, 5, 6, 8, 9, 11)
    falling = depths(9, 24, 8)
    assert falling == (24, 22, 20, 18, 16, 14, 12, 10, 8)
    assert 24 / (sum(falling) / len(falling)) == 1.5
    assert active(24, 10, 2) == (0, 1, *range(16, 24))


@given(layers=st.integers(1, 64), speedup=st.floats(1, 64))
def test_even_skipping_keeps_both_ends(layers: int, speedup: float) -> None:
    """The kept layers rise, are no more than there are, and the first and the last are among them."""
    kept = unified(layers, speedup)
    assert list(kept) == sorted(set(kept))
    assert kept[0] == 0
    assert kept[-1] == layers - 1
    assert max(2, layers / speedup - 0.5) <= len(kept) <= layers or layers == 1


@given(
    st.integers(1, 40).flatmap(lambda most: st.tuples(st.integers(1, most), st.just(most))), st.integers(1, 100),
    st.floats(0.2, 5),
)  # fmt: skip
def test_a_later_position_needs_no_layer_that_an_earlier_one_skipped(
    ends: tuple[int, int], positions: int, exponent: float
) -> None:
    """Depths never rise, so the active layers of a position are among those of every earlier one: caches hold."""
    least, most = ends
    falling = depths(positions, most, least, exponent)
    assert len(falling) == positions
    assert falling[0] == most
    assert all(least <= depth <= most for depth in falling)
    warm = min(1, least)
    sets = [set(active(most, depth, warm)) for depth in falling]
    assert all(later <= earlier for earlier, later in pairwise(sets))


@pytest.mark.parametrize("call", [
    lambda: unified(4, 0.5), lambda: depths(4, 3, 4), lambda: depths(0, 3, 1), lambda: active(4, 5),
    lambda: active(4, 1, 2),
])  # fmt: skip
def test_what_makes_no_sense_is_told(call: object) -> None:
    """Every rule of the arguments is kept."""
    with pytest.raises(SpaceError, match="but"):
        call()  # type: ignore[operator]
