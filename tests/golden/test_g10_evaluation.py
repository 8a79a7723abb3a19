"""ALGORITHMS 10.2 and 10.4: RI, and AlgoPerf's performance profiles and scores. (The cyclic rates: test_cyclic.py.)"""

from __future__ import annotations

from math import inf, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchd.errors import SearchdError
from searchd.profiles import profile, ratios, relative_improvement, scores, workload_time

TIMES = [[100, 200, 300, inf], [150, 100, 600, 50], [400, 390, 290, 100]]


def test_scores_of_algoperf() -> None:
    """Three submissions on four workloads: .6638, .8693, .4250 to the printed digits."""
    assert [round(float(s), 4) for s in scores(TIMES)] == pytest.approx([0.6638, 0.8693, 0.4250], abs=5e-5)


def test_the_score_is_the_area_under_the_profile() -> None:
    """The mean of max(0, 4 − r) / 3 is the integral of the profile from 1 to 4, over 3."""
    taus = np.linspace(1, 4, 30_001)
    area = (profile(TIMES, taus)[:, :-1]).mean(axis=1)
    assert area == pytest.approx(scores(TIMES), abs=1e-4)
    assert profile(TIMES, [1, 2, 4]).tolist() == [[0.25, 0.75, 0.75], [0.5, 0.75, 1.0], [0.25, 0.5, 1.0]]


@given(st.lists(st.lists(st.floats(1, 1e6) | st.just(inf), min_size=3, max_size=3), min_size=1, max_size=4))
def test_laws_of_scores(times: list[list[float]]) -> None:
    """Scores lie in [0, 1], do not depend on the unit of a workload's time, and a workload that all miss counts 0."""
    found = scores(times)
    assert ((found >= 0) & (found <= 1 + 1e-12)).all()
    assert scores((np.array(times) * [1, 60, 0.5]).tolist()) == pytest.approx(found)
    lost = scores([[*row, inf] for row in times])
    assert lost == pytest.approx(found * 3 / 4)


def test_a_workloads_time_is_the_median_of_the_fastest() -> None:
    """Three studies of two trials: the fastest of each, then their median; a study that missed is inf."""
    assert workload_time([[120, 100], [90, inf], [300, 200]]) == 100
    assert workload_time([[100], [inf], [inf, inf]]) == inf
    with pytest.raises(SearchdError, match="one is empty"):
        workload_time([[1.0], []])


def test_ri() -> None:
    """97.4 against a mean of 97.0 of random architectures: .4124 %."""
    assert round(relative_improvement(97.4, [97.2, 96.8]), 4) == 0.4124
    with pytest.raises(SearchdError, match="random architectures"):
        relative_improvement(97.4, [])


@pytest.mark.parametrize("times", [[1, 2], [[0.0, 1]], [[nan, 1]], [[]]])
def test_odd_times(times: list[object]) -> None:
    """A table of numbers above 0, else the message says what is needed."""
    with pytest.raises(SearchdError, match="rows for submissions"):
        ratios(times)
    with pytest.raises(SearchdError, match="above 1"):
        scores([[1.0]], r_max=1)
