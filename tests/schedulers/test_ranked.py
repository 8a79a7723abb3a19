"""A sorted list in blocks says what a sorted list says."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from searchd.schedulers import ranked
from searchd.schedulers.ranked import Key, Ranked


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 10**9), most=st.sampled_from([2, 5, 1000]))
def test_ranks_are_places_in_a_sorted_list(seed: int, most: int) -> None:
    """After every key that comes and goes, blocks of any size: each key's rank, and each rank's key."""
    rng = Random(seed)
    keys: list[Key] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranked, "MOST", most)
        kept = Ranked()
        for trial in range(60):
            key = (rng.choice([0, 0, 1, 2]), rng.choice([0.0, 0.5]), rng.randint(0, 9) / 10, trial)
            keys.append(key)
            kept.add(key)
            if rng.random() < 0.3:
                kept.remove(keys.pop(rng.randrange(len(keys))))
            keys.sort()
            assert [kept.rank(key) for key in keys] == list(range(len(keys)))
            assert [kept[i] for i in range(len(keys))] == keys
            absent = (1, 0.25, rng.random(), -1)
            assert kept.rank(absent) == sum(key < absent for key in keys)
    with pytest.raises(ValueError, match="is not ranked"):
        kept.remove((9, 0.0, 0.0, 0))
    with pytest.raises(IndexError):
        kept[len(keys)]
