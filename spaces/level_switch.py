"""Evolution over a vector of levels by switches that keep the size: for where the errors of layers do not add up.

A child lowers one layer by a level and raises another of the same size, so that a budget is kept by construction; where
sizes differ, it raises some layers and lowers others until it is within the budget again. Elitist (1 + lambda), and the
children are chosen in stages, each with more samples than the one before. Source: EvoPress (Sieberling et al., 2025,
ICML).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from numpy.random import Generator

from spaces.errors import SpaceError

Levels = tuple[int, ...]
MOST_CHANGES = 10
"""A child of layers of different sizes that changes more layers than this is drawn again."""
LEAST_SHARE = 0.8
"""... and one that takes away much more than it gives: given / taken below this."""
TRIES = 50
"""Draws of a child before one that breaks those two rules, or is known, is taken for want of a better one."""


def switch(levels: Levels, groups: Sequence[Sequence[int]], top: int, rng: Generator) -> Levels:
    """A child of `levels` in [0, top]: per flip one layer of a group a level down and another of it a level up. The sum
    of levels over a group stays."""
    child = list(levels)
    flips = min(int(rng.integers(1, 4)), int(rng.integers(1, 4)))
    sizes = [len(g) for g in groups]
    for _ in range(flips):
        group = groups[int(rng.choice(len(groups), p=[s / sum(sizes) for s in sizes]))]
        low = [i for i in group if child[i] > 0]
        if not low:
            continue
        down = low[int(rng.integers(len(low)))]
        high = [i for i in group if child[i] < top and i != down]
        if high:
            child[down] -= 1
            child[high[int(rng.integers(len(high)))]] += 1
    return tuple(child)


def swap(levels: Levels, cost: Sequence[Sequence[float]], budget: float, rng: Generator) -> Levels:
    """A child where layers differ in size: some layers a level up, then others down until it is within `budget`."""
    top = len(cost[0]) - 1
    child = levels
    for _ in range(TRIES):
        child = _swapped(levels, cost, budget, top, rng)
        given = sum(max(0.0, cost[i][b] - cost[i][a]) for i, (a, b) in enumerate(zip(levels, child, strict=True)))
        taken = sum(max(0.0, cost[i][a] - cost[i][b]) for i, (a, b) in enumerate(zip(levels, child, strict=True)))
        changes = sum(abs(a - b) for a, b in zip(levels, child, strict=True))
        if changes <= MOST_CHANGES and given >= LEAST_SHARE * taken:
            return child
    return child


def _swapped(levels: Levels, cost: Sequence[Sequence[float]], budget: float, top: int, rng: Generator) -> Levels:
    child = list(levels)
    for _ in range(min(int(rng.integers(1, 4)), int(rng.integers(1, 4)))):
        high = [i for i, level in enumerate(child) if level < top]
        if high:
            child[high[int(rng.integers(len(high)))]] += 1
    while _sum(cost, child) > budget:
        low = [i for i, level in enumerate(child) if level > 0]
        if not low:
            break
        child[low[int(rng.integers(len(low)))]] -= 1
    return tuple(child)


def start(cost: Sequence[Sequence[float]], budget: float, rng: Generator) -> Levels:
    """Random levels within the budget: all at the top, then random layers down. SpaceError when the least is above."""
    top = len(cost[0]) - 1
    if (least := sum(row[0] for row in cost)) > budget:
        raise SpaceError(f"a budget of {budget:g} cannot be met: the least possible is {least:g}; raise it")
    return _swapped((top,) * len(cost), cost, budget, top, rng)


def evolve(
    parents: Sequence[Levels], mutate: Callable[[Levels], Levels],
    fitness: Callable[[Sequence[Levels], int], Sequence[float]], *, generations: int, children: int,
    survivors: Sequence[int],
) -> tuple[Levels, float]:  # fmt: skip
    """The best levels and their fitness (least is best) at the last stage.

    `fitness(candidates, stage)`: on the samples of that stage, more at each. `survivors`: how many go on from each
    stage; the last is 1, and the parent joins it. `parents`: the first parent is the best of these.
    """
    if not survivors or survivors[-1] != 1:
        raise SpaceError(f"survivors = {list(survivors)}, but the last stage leaves one: end the list with 1")
    last = len(survivors) - 1
    firsts = list(dict.fromkeys(parents))
    best, parent = min(zip(fitness(firsts, last), firsts, strict=True))
    for _ in range(generations):
        brood: dict[Levels, None] = {}
        for _ in range(children * TRIES):
            child = mutate(parent)
            if child != parent:
                brood.setdefault(child)
            if len(brood) == children:
                break
        candidates = list(brood)
        if not candidates:
            break
        for stage, keep in enumerate(survivors[:-1]):
            marks = fitness(candidates, stage)
            candidates = [c for _, c in sorted(zip(marks, candidates, strict=True))[:keep]]
        best, parent = min([(best, parent), *zip(fitness(candidates, last), candidates, strict=True)])
    return parent, best


def groups_of(cost: Sequence[Sequence[float]]) -> list[list[int]]:
    """Layers of equal size (at every level, [layers][levels]) together; those alone in their size left out."""
    by: dict[tuple[float, ...], list[int]] = {}
    for i, row in enumerate(cost):
        by.setdefault(tuple(row), []).append(i)
    return [group for group in by.values() if len(group) > 1]


def _sum(cost: Sequence[Sequence[float]], levels: Sequence[int]) -> float:
    return sum(row[level] for row, level in zip(cost, levels, strict=True))
