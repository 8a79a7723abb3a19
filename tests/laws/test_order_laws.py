"""Laws of fronts, hypervolumes and the order of a rung, against the slowest definition that is plainly right."""

from __future__ import annotations

from itertools import pairwise, product
from math import inf, nan

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from searchd.schedulers.events import Losses
from searchd.schedulers.front import hypervolume, layers, non_dominated
from searchd.schedulers.order import best_points, finite, ranking, standing
from searchd.schedulers.orders import ORDERS, Order, Single
from searchd.schedulers.standings import Standings

ALL: tuple[Order, ...] = (*ORDERS, Single(0))
calm = settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
"""A busy machine is no failure."""

coordinate = st.integers(0, 4).map(float)


def clouds(dimensions: int, most: int = 12) -> st.SearchStrategy[list[tuple[float, ...]]]:
    return st.lists(st.tuples(*[coordinate] * dimensions), min_size=1, max_size=most)


any_cloud = st.integers(1, 4).flatmap(clouds)
value = st.one_of(coordinate, st.sampled_from([nan, inf, -inf]), st.floats(0, 1))


def rungs(objectives: int) -> st.SearchStrategy[list[tuple[Losses, ...]]]:
    point = st.builds(Losses, st.tuples(*[value] * objectives), st.sampled_from([0.0, 0.0, 1.0, 2.0, nan]))
    return st.lists(st.lists(point, max_size=3).map(tuple), min_size=1, max_size=12)


any_rung = st.integers(1, 3).flatmap(rungs)


def dominates(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return all(x <= y for x, y in zip(a, b, strict=True)) and a != b


@calm
@given(any_cloud)
def test_non_dominated_is_its_definition(points: list[tuple[float, ...]]) -> None:
    """A row is kept exactly when no row dominates it."""
    assert non_dominated(points).tolist() == [not any(dominates(q, p) for q in points) for p in points]


@calm
@given(any_cloud)
def test_layers_peel(points: list[tuple[float, ...]]) -> None:
    """Layers part the rows; each member of a layer but the first is dominated by one of the layer before."""
    found = layers(points)
    assert sorted(i for layer in found for i in layer.tolist()) == list(range(len(points)))
    for before, layer in pairwise(found):
        assert all(any(dominates(points[j], points[i]) for j in before) for i in layer)


@calm
@given(any_cloud)
def test_hypervolume_counts_cells(points: list[tuple[float, ...]]) -> None:
    """On a grid the volume is the number of unit cells that some point dominates."""
    m = len(points[0])
    covered = {c for q in points for c in product(*(range(int(x), 5) for x in q))}
    assert hypervolume(points, (5,) * m) == len(covered)


@calm
@given(clouds(3), st.tuples(*[st.floats(0, 5)] * 3))
def test_hypervolume_grows(points: list[tuple[float, ...]], extra: tuple[float, ...]) -> None:
    """Another point never lessens the volume, and adds nothing when it is dominated or equal."""
    before = hypervolume(points, (5.0,) * 3)
    after = hypervolume([*points, extra], (5.0,) * 3)
    assert after >= before - 1e-9
    if any(dominates(p, extra) or p == extra for p in points):
        assert after == pytest.approx(before)


@pytest.mark.parametrize("by", ALL, ids=str)
@calm
@given(any_rung)
def test_the_order_of_a_rung(by: Order, rung: list[tuple[Losses, ...]]) -> None:
    """All trials once; feasible before violating before diverged; less violation first; no one before its better."""
    entries = {trial: standing(points) for trial, points in enumerate(rung)}
    order = list(ranking(entries, by))
    assert sorted(order) == list(range(len(rung)))
    keys = [entries[t][:2] for t in order]
    assert keys == sorted(keys)
    for trial, points in enumerate(rung):
        able = [p for p in points if finite(p)]
        assert (entries[trial][0] == 2) == (not able)
        if able:
            assert entries[trial][1] == min(p.violation for p in able)
    place = {t: i for i, t in enumerate(order)}
    for a, b in product(entries, repeat=2):
        if entries[a][:2] == entries[b][:2] and entries[a][2] and entries[b][2]:
            beaten = all(any(dominates(p, q) for p in entries[a][2]) for q in entries[b][2])
            assert not beaten or place[a] < place[b], "who is dominated in all its points comes later"


@pytest.mark.parametrize("by", ALL, ids=str)
@calm
@given(rungs(1))
def test_one_objective_sorts(by: Order, rung: list[tuple[Losses, ...]]) -> None:
    """With one objective the order is by (class, violation, best loss, id)."""
    entries = {trial: standing(points) for trial, points in enumerate(rung)}
    expected = sorted(entries, key=lambda t: (*entries[t][:2], entries[t][2], t))
    assert list(ranking(entries, by)) == expected


@pytest.mark.parametrize("by", ALL, ids=str)
@calm
@given(any_rung, st.sampled_from([2.0**-20, 0.5, 2.0, 2.0**20]))
def test_scales_do_not_matter(by: Order, rung: list[tuple[Losses, ...]], scale: float) -> None:
    """Scaling one objective by a power of two (exact in floats) changes no order: distances are normalised."""
    assume(not any(0 < abs(v) < 1e-300 for points in rung for p in points for v in p.values))
    scaled = [tuple(Losses((p.values[0] * scale, *p.values[1:]), p.violation) for p in points) for points in rung]
    a, b = ({t: standing(points) for t, points in enumerate(r)} for r in (rung, scaled))
    assert list(ranking(a, by)) == list(ranking(b, by))


@pytest.mark.parametrize("by", ALL, ids=str)
@calm
@given(any_rung, st.randoms(use_true_random=False))
def test_standings_agree_with_the_ranking(by: Order, rung: list[tuple[Losses, ...]], random: object) -> None:
    """Whatever is asked in between: ranks are those of the whole ranking, `best` is the best of those offered."""
    from random import Random

    assert isinstance(random, Random)
    standings = Standings(1, by)
    offered: set[int] = set()
    out: set[int] = set()
    for trial, points in enumerate(rung):
        assert standings.enter(trial, points)
        assert not standings.enter(trial, ())
        if random.random() < 0.6:
            standings.offer(trial)
            if not standings.diverged(trial):
                offered.add(trial)
        if offered and random.random() < 0.2:
            gone = random.choice(sorted(offered))
            offered.discard(gone)
            if random.random() < 0.5:
                standings.take(gone)
            else:
                standings.sink(gone)
                out.add(gone)
        entries = {t: (3, 0.0, ()) if t in out else standing(p) for t, p in enumerate(rung[: trial + 1])}
        place = {t: i for i, t in enumerate(ranking(entries, by))}
        best = standings.best()
        assert best == (min(((t, place[t]) for t in offered), key=lambda e: e[1]) if offered else None)
        asked = random.choice(sorted(place))
        assert standings.rank(asked) == place[asked]


@calm
@given(st.one_of(rungs(3), st.lists(clouds(3, 2).map(lambda c: tuple(map(Losses, c))), min_size=2)), st.integers(0, 2))
def test_one_of_several_ranks_alone(rung: list[tuple[Losses, ...]], k: int) -> None:
    """Among equals in class and violation the least value of the one objective, over a trial's points, comes first; by
    the other objectives only the places of those are told apart that are equal in it."""
    entries = {trial: standing(points) for trial, points in enumerate(rung)}
    order = list(ranking(entries, Single(k)))
    assert sorted(order) == list(range(len(rung)))
    keys = [(*entries[t][:2], min((p[k] for p in entries[t][2]), default=0.0)) for t in order]
    assert keys == sorted(keys)
    for (a, x), (b, y) in pairwise(zip(order, keys, strict=True)):
        if x == y:
            best = [min(((p[k], p) for p in entries[t][2]), default=(0.0, ())) for t in (a, b)]
            assert best[0] < best[1] or (best[0] == best[1] and a < b)
    moved = {t: (c, v, tuple((p[k], *p[:k], *p[k + 1 :]) for p in points)) for t, (c, v, points) in entries.items()}
    assert list(ranking(moved, Single(0))) == order, "which number the objective has does not matter"


@calm
@given(any_rung)
def test_the_best_point_speaks_for_a_trial(rung: list[tuple[Losses, ...]]) -> None:
    """It is one of the trial's own finite points, of least violation; None exactly for the diverged."""
    found = best_points(dict(enumerate(rung)))
    for trial, points in enumerate(rung):
        able = [p for p in points if finite(p)]
        best = found[trial]
        assert (best is None) == (not able)
        if best is not None:
            assert best in able
            assert best.violation == min(p.violation for p in able)
