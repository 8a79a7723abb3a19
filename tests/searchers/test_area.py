"""The gain of area is the difference of two hypervolumes, and nodes of a normal keep its mass and mean."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from searchd.schedulers.front import hypervolume
from searchd.searchers.area import Staircase
from searchd.searchers.judges import _nodes

POINT = st.tuples(st.integers(-2, 12), st.integers(-2, 12))


@given(st.lists(POINT, max_size=8), st.lists(POINT, min_size=1, max_size=5))
def test_the_gain_is_a_difference_of_hypervolumes(front: list[tuple[int, int]], asked: list[tuple[int, int]]) -> None:
    """Of any points: ties, points beyond the corner or left of all others, and no front at all."""
    corner = (10.0, 9.0)
    found = Staircase(np.array(front, dtype=float).reshape(-1, 2), np.array(corner)).gain(*np.array(asked, float).T)
    before = hypervolume(front, corner) if front else 0.0
    exact = [hypervolume([*front, point], corner) - before for point in asked]
    assert np.allclose(found, exact, atol=1e-9)


def test_nodes_are_a_normal_in_pieces() -> None:
    """Their weights sum to 1 and their mean is 0; a loss that is known has one node, its mean."""
    for unknown in ((True, True), (True, False), (False, True)):
        nodes, weights = _nodes(unknown)
        assert abs(weights.sum() - 1) < 1e-12
        assert np.allclose(nodes @ weights, 0, atol=1e-12)
        assert [bool(np.ptp(row)) for row in nodes] == list(unknown)
        assert all((row**2) @ weights > 0.85 for row, some in zip(nodes, unknown, strict=True) if some)
