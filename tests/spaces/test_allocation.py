"""The integer program against all allocations, what cannot be met, and switches that keep the size."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spaces.allocation import Limit, allocate, least, most
from spaces.errors import SpaceError
from spaces.level_switch import evolve, groups_of, start, swap, switch


@given(st.integers(0, 2**31), st.integers(1, 5), st.booleans())
@settings(max_examples=25, deadline=None)
def test_the_best_allocations_are_those_of_a_full_search(seed: int, n: int, tied: bool) -> None:
    """Two limits, a tie and a fixed layer: the first five are the five best of all, or all that there are."""
    rng = np.random.default_rng(seed)
    loss, a, b = (rng.random((n, 3)).tolist() for _ in range(3))
    ties = [(0, n - 1)] if tied else []
    fixed = {0: int(rng.integers(3))} if n > 2 else {}
    limits = {"a": Limit(a, 0.6 * n), "b": Limit(b, 0.7 * n)}

    def total(table: list[list[float]], c: tuple[int, ...]) -> float:
        return sum(row[i] for row, i in zip(table, c, strict=True))

    every = [c for c in product(range(3), repeat=n) if all(c[i] == c[t[0]] for t in ties for i in t)]
    every = [c for c in every if all(c[i] == v for i, v in fixed.items())]
    assert least(a, ties=ties, fixed=fixed) == pytest.approx(min(total(a, c) for c in every))
    assert most(a, ties=ties, fixed=fixed) == pytest.approx(max(total(a, c) for c in every))
    kept = [c for c in every if all(total(limit.cost, c) <= limit.at_most for limit in limits.values())]  # type: ignore[arg-type]
    if not kept:
        with pytest.raises(SpaceError, match="raise"):
            allocate(loss, limits, ties=ties, fixed=fixed)
        return
    found = allocate(loss, limits, ties=ties, fixed=fixed, count=5)
    expected = sorted(kept, key=lambda c: total(loss, c))[:5]
    assert [f.loss for f in found] == pytest.approx([total(loss, c) for c in expected])
    assert len({f.choice for f in found}) == len(found) == min(5, len(kept))
    assert {f.choice for f in found} <= set(kept)


def test_what_cannot_be_met_says_the_least() -> None:
    """A limit below the least is named with that figure; limits that exclude each other are named together."""
    loss = [[1.0, 0.0], [1.0, 0.0]]
    with pytest.raises(SpaceError, match=r"bytes at most 5 cannot be met: the least possible is 6; raise it"):
        allocate(loss, {"bytes": Limit([[2, 4], [4, 8]], 5)})
    limits = {"bytes": Limit([[1, 2], [1, 2]], 2), "ms": Limit([[2, 1], [2, 1]], 2)}
    with pytest.raises(SpaceError, match=r"no allocation keeps bytes <= 2, ms <= 2 together"):
        allocate(loss, limits)
    with pytest.raises(SpaceError, match=r"\[0, 1\] are tied, but fixed to different"):
        allocate(loss, {}, ties=[(0, 1)], fixed={0: 0, 1: 1})


def test_large_limits_are_kept_to_the_byte() -> None:
    """The solver's tolerance (1e-6, relative) would let 100 MB be exceeded by a byte: it is not."""
    limit = Limit([[50_000_000, 50_000_001], [50_000_000, 50_000_001]], 100_000_001)
    (found,) = allocate([[1.0, 0.0], [1.0, 0.1]], {"bytes": limit})
    assert found.choice == (1, 0)


@given(st.integers(0, 2**31), st.lists(st.sampled_from([8, 16, 32]), min_size=2, max_size=9))
@settings(max_examples=60)
def test_a_switch_keeps_the_size_of_each_group(seed: int, sizes: list[int]) -> None:
    """Law: Σ levels × parameters of every group of equal layers is what it was, and levels stay in their range."""
    groups = groups_of([[size] for size in sizes])
    if not groups:
        return
    rng = np.random.default_rng(seed)
    parent = tuple(int(v) for v in rng.integers(0, 4, len(sizes)))
    child = switch(parent, groups, 3, rng)
    for group in groups:
        assert sum(child[i] * sizes[i] for i in group) == sum(parent[i] * sizes[i] for i in group)
    assert all(0 <= level <= 3 for level in child)
    assert all(child[i] == parent[i] for i in set(range(len(sizes))) - {i for g in groups for i in g})


@given(st.integers(0, 2**31), st.integers(1, 6))
@settings(max_examples=60)
def test_a_swap_is_within_the_budget(seed: int, n: int) -> None:
    """Law: where sizes differ a child costs no more than the budget."""
    rng = np.random.default_rng(seed)
    cost = np.cumsum(rng.random((n, 3)) + 0.1, axis=1).tolist()
    low, high = (sum(row[j] for row in cost) for j in (0, -1))
    budget = low + float(rng.random()) * (high - low)
    levels = start(cost, budget, rng)
    for _ in range(5):
        levels = swap(levels, cost, budget, rng)
        assert sum(row[i] for row, i in zip(cost, levels, strict=True)) <= budget


def test_evolution_finds_what_does_not_add_up() -> None:
    """Eight equal layers where only a pair that is raised together helps: found, and the parent is never lost."""
    groups = [list(range(8))]
    rng = np.random.default_rng(0)
    seen: list[tuple[int, int]] = []

    def fitness(candidates: list[tuple[int, ...]], stage: int) -> list[float]:  # type: ignore[type-arg]
        seen.append((len(candidates), stage))
        return [-(c[2] == 3 and c[5] == 3) * 10.0 + sum(abs(v - 2) for v in c) / 10 for c in candidates]

    first = (2,) * 8
    found, mark = evolve(
        [first], lambda p: switch(p, groups, 3, rng), fitness, generations=20, children=12, survivors=[4, 1]
    )
    assert (found[2], found[5]) == (3, 3)
    assert sum(found) == 16
    assert mark < 0
    assert {(12, 0), (4, 1)} <= set(seen)
    kept = evolve([first], lambda p: switch(p, groups, 3, rng), lambda cs, _: [sum(v != 2 for v in c) for c in cs],
                  generations=5, children=4, survivors=[1])  # fmt: skip
    assert kept == (first, 0)
    with pytest.raises(SpaceError, match="end the list with 1"):
        evolve([first], lambda p: p, fitness, generations=1, children=1, survivors=[4])


def test_a_budget_below_the_least_says_so() -> None:
    """Evolution has the same words for it as the program."""
    with pytest.raises(SpaceError, match=r"the least possible is 3"):
        start([[1, 2], [2, 3]], 2.5, np.random.default_rng(0))
