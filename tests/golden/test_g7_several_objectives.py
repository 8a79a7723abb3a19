"""G7 (ALGORITHMS 7.2, 7.3): the ε-net order (second example!), hypervolumes."""

from __future__ import annotations

import pytest

from searchd.schedulers.front import hypervolume, layers, non_dominated, reference_point
from searchd.schedulers.order import epsilon_net

FIRST = [(0, 10), (1, 6), (2, 5.5), (6, 1), (10, 0), (7, 7), (11, 11)]


def net_order(points: list[tuple[float, float]]) -> list[int]:
    """Layer by layer, an ε-net inside each, distances as they are."""
    return [int(layer[i]) for layer in layers(points) for i in epsilon_net([points[j] for j in layer])]


def test_first_example() -> None:
    """Front {0,1,2,3,4}, then 5, then 6; order 0,4,2,3,1,5,6."""
    assert [sorted(layer.tolist()) for layer in layers(FIRST)] == [[0, 1, 2, 3, 4], [5], [6]]
    assert net_order([(float(a), float(b)) for a, b in FIRST]) == [0, 4, 2, 3, 1, 5, 6]


def test_second_example() -> None:
    """Order, not rank: 4,2,0,3,1 is no permutation that undoes itself."""
    assert net_order([(10, 6), (15, 4), (19, 2), (9, 16), (0, 18)]) == [4, 2, 0, 3, 1]


@pytest.mark.parametrize(
    ("points", "reference", "volume"),
    [
        ([(1, 4), (2, 2), (4, 1)], (5, 5), 11),
        ([(1, 4), (2, 2), (4, 1), (3, 3)], (5, 5), 11),
        ([(1, 4), (2, 2), (4, 1), (6, 0)], (5, 5), 11),
        ([(1, 4), (2, 2), (4, 1), (1.5, 1.5)], (5, 5), 13.25),
        ([], (5, 5), 0),
        ([(5, 1)], (5, 5), 0),
        ([(1, 1, 4), (2, 2, 2), (4, 1, 1)], (5, 5, 5), 40),
        ([(2,), (3,)], (5,), 3),
        ([(1, 1, 1, 1), (0, 2, 2, 2)], (3, 3, 3, 3), 17),
    ],
)
def test_hypervolume(points: list[tuple[float, ...]], reference: tuple[float, ...], volume: float) -> None:
    """The numbers of ALGORITHMS 7.3, one dimension, and two boxes of four (16 + 3 - 2)."""
    assert hypervolume(points, reference) == pytest.approx(volume, abs=1e-12)


def test_non_dominated_keeps_equals() -> None:
    """Equal rows dominate nobody: both stay."""
    assert non_dominated([(1, 2), (1, 2), (2, 2), (0, 3)]).tolist() == [True, True, False, True]


def test_reference_point() -> None:
    """Worst plus 10 % of the range; without a range 10 % of the size, and 0.1 at 0."""
    assert reference_point([(0, 10), (1, 30)]) == pytest.approx((1.1, 32))
    assert reference_point([(5, 0)]) == pytest.approx((5.5, 0.1))
