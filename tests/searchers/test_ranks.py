"""Losses as normal scores: in order, there and back, and further than the best."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from searchd.searchers.ranks import Ranks


@given(st.lists(st.integers(-20, 20), min_size=1, max_size=30), st.lists(st.floats(-30, 30), min_size=2))
def test_scores_keep_the_order_and_lead_back(losses: list[int], asked: list[float]) -> None:
    """Better losses have lower scores, never the other way round; a loss between best and worst comes back."""
    ranks = Ranks(np.array(losses, dtype=float))
    at = np.sort(np.array(asked))
    scores = ranks.scores(at)
    assert (np.diff(scores) >= -1e-9).all()  # 1e-45 below the best is as good as the best
    inside = at <= max(losses)
    assert np.allclose(ranks.losses(scores)[inside], at[inside], atol=1e-6)


def test_scores_are_those_of_a_normal() -> None:
    """Of 100 losses, whatever their scale, the scores are standard normal quantiles; equal losses share the mean."""
    scores = Ranks(np.exp(np.arange(100.0))).scores(np.exp(np.arange(100.0)))
    assert abs(scores.mean()) < 1e-3
    assert abs(scores.std() - 1) < 0.02
    assert np.isclose(scores[84], 1.0, atol=0.03)
    tied = Ranks(np.array([1.0, 2.0, 2.0, 3.0]))
    assert np.isclose(tied.scores(np.array([2.0]))[0], 0.0)
    assert tied.losses(np.array([-3.0]))[0] < 0, "below the best it goes on"
