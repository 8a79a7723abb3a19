"""Fits are due at sizes that follow from the number of rows alone, closer while there are few."""

from __future__ import annotations

from itertools import pairwise
from math import ceil

from hypothesis import given
from hypothesis import strategies as st

from searchd.searchers.refits import FULL_GROWTH, GROWTH, sizes


@given(first=st.integers(1, 30), n=st.integers(0, 3000), most=st.integers(1, 1000))
def test_later_rows_only_add_sizes(first: int, n: int, most: int) -> None:
    """What was due with fewer rows is due with more; each size is the next by the growth of a model not yet full, or of
    a full one, and one more at the least."""
    found = list(sizes(first, n, most))
    assert list(sizes(first, n + 1, most))[: len(found) - (n < first)] == found[: len(found) - (n < first)]
    assert found[0] == min(first, n)
    for last, size in pairwise(found):
        assert size == max(last + 1, ceil((GROWTH if last < most else FULL_GROWTH) * last)) <= n
    assert max(found[-1] + 1, ceil(FULL_GROWTH * found[-1])) > n or found[-1] < most


def test_sizes_by_hand() -> None:
    """Six losses, then one more while 15 % are less than one, then 15 %; half as many again once ten are in."""
    assert sizes(6, 16, 10) == [6, 7, 9, 11]
    assert sizes(6, 17, 10) == [6, 7, 9, 11, 17]
    assert sizes(6, 16) == [6, 7, 9, 11, 13, 15]
    assert sizes(6, 4) == [4]
