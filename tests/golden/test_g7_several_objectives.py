"""G7 (ALGORITHMS 7.2, 7.3): the ε-net order (second example!), hypervolumes."""

from __future__ import annotations

import pytest

from searchd.schedulers.front import hypervolume, layers, non_dominated, reference_point
from searchd.schedulers.orders import (
    BEYOND,
    DRAWS,
    by_crowding,
    by_volume,
    chebyshev,
    directions,
    epsilon_net,
    volume_scalars,
    weights,
)

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


def test_scalarisations() -> None:
    """f = (.3, .8), w = (.5, .5): .4, augmented .4275; by hypervolume with z = (1, 1): .16."""
    f, w = [(0.3, 0.8)], (0.5, 0.5)
    assert chebyshev(f, w, 0.0) == pytest.approx([0.4], abs=1e-12)
    assert chebyshev(f, w) == pytest.approx([0.4275], abs=1e-12)
    assert volume_scalars(f, w, (1, 1)) == pytest.approx([0.16], abs=1e-12)


@pytest.mark.parametrize("m", [2, 3, 5])
def test_fixed_weights(m: int) -> None:
    """Evenly spread: each weight is 1/m on average, none is 0; directions have length 1 and equal shares."""
    assert len(weights(m)) == len(directions(m)) == DRAWS
    assert all(min(w) > 0 and sum(w) == pytest.approx(1) for w in weights(m))
    assert all(min(d) > 0 and sum(x * x for x in d) == pytest.approx(1) for d in directions(m))
    for i in range(m):
        assert sum(w[i] for w in weights(m)) / DRAWS == pytest.approx(1 / m, abs=0.02)
        assert sum(d[i] ** 2 for d in directions(m)) / DRAWS == pytest.approx(1 / m, abs=0.03)


def test_volume_by_directions() -> None:
    """The first pick dominates the most; the mean over directions is the hypervolume to a few per cent."""
    points = [(0.0, 0.9), (0.3, 0.3), (0.9, 0.0), (0.32, 0.29)]
    assert next(by_volume(points)) == 1
    assert list(by_volume(points))[-1] == 3  # beside the one chosen first: it adds the least

    def seen(chosen: list[tuple[float, float]]) -> float:
        best = [max(volume_scalars(chosen, d, (BEYOND, BEYOND))) for d in directions(2)]
        return sum(best) / DRAWS * 3.14159 / 4  # the quarter of a unit circle

    assert seen(points) == pytest.approx(hypervolume(points, (BEYOND, BEYOND)), rel=0.05)


def test_crowding_by_hand() -> None:
    """Ends first, then by room: (.5, .4) has neighbours .1 and .9 apart, (.1, .9) and (.9, .2) less room."""
    points = [(0.1, 0.9), (0.0, 1.0), (0.5, 0.4), (0.9, 0.2), (1.0, 0.0)]
    assert list(by_crowding(points)) == [1, 4, 2, 0, 3]


def test_non_dominated_keeps_equals() -> None:
    """Equal rows dominate nobody: both stay."""
    assert non_dominated([(1, 2), (1, 2), (2, 2), (0, 3)]).tolist() == [True, True, False, True]


def test_reference_point() -> None:
    """Worst plus 10 % of the range; without a range 10 % of the size, and 0.1 at 0."""
    assert reference_point([(0, 10), (1, 30)]) == pytest.approx((1.1, 32))
    assert reference_point([(5, 0)]) == pytest.approx((5.5, 0.1))
