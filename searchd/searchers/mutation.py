"""Small changes of a config, by the tree of its space: mutation of one, uniform crossover of two.

Numbers and ordered choices move by a normal step in the unit cube (reflected at its borders), unordered choices
change to another option, subsets take or drop one item. What a changed choice newly activates is drawn at random;
what it switches off is gone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.random import Generator

from spaces.config import Config
from spaces.domains import Choice, Const, Domain, Float, Int, Subset
from spaces.space import Space

TRIES = 16
"""How often a child that breaks a constraint, or is its parent, is made again before it is repaired."""
STEP = 0.15
"""Standard deviation of a step in the unit cube."""


def child(
    space: Space, parents: tuple[Config, ...], rng: Generator, refused: tuple[Config, ...] = (), step: float = STEP
) -> Config:
    """A feasible config by mutation of one parent, or of the crossover of two; not a parent nor `refused`, if there
    is any other.

    Every parameter changes with probability 1 / d (d: how many can), one at least.
    """
    known = {c.digest for c in (*parents, *refused)}
    made = parents[0]
    for _ in range(TRIES):
        mixed = parents[0] if len(parents) == 1 else cross(space, parents[0], parents[1], rng)
        made = mutate(space, mixed, rng, step)
        if space.feasible(made) and made.digest not in known:
            return made
    return space.repair(made, rng)


def mutate(space: Space, parent: Mapping[str, Any], rng: Generator, step: float = STEP) -> Config:
    """The parent with about one parameter changed; constraints are not looked at."""
    able = [name for name in parent if space[name].domain.count() > 1]
    if not able:
        return space.walk(lambda name, _: parent[name])
    picked = {name for name in able if rng.random() < 1 / len(able)} or {able[int(rng.integers(len(able)))]}

    def choose(name: str, domain: Domain) -> Any:
        if name not in parent:
            return domain.sample(rng)
        return _moved(domain, parent[name], rng, step) if name in picked else parent[name]

    return space.walk(choose)


def cross(space: Space, one: Mapping[str, Any], other: Mapping[str, Any], rng: Generator) -> Config:
    """Each parameter from one of the two, at even odds; from the one that has it where the other does not."""

    def choose(name: str, domain: Domain) -> Any:
        holders = [parent for parent in (one, other) if name in parent]
        if not holders:
            return domain.sample(rng)
        return holders[int(rng.random() * len(holders))][name]

    return space.walk(choose)


def _moved(domain: Domain, value: Any, rng: Generator, step: float) -> Any:
    match domain:
        case Choice(options, ordered):
            if ordered:
                return _shifted(domain, value, rng, step)
            k = int(rng.integers(len(options) - 1))
            return options[k + (k >= domain.index(value))]
        case Subset(items):
            flipped = int(rng.integers(len(items)))
            u = [0.5 + 0.1 * rng.random() if inside > 0.5 else 0.5 - 0.1 * rng.random() - 1e-9
                 for inside in domain.encode(value)]  # fmt: skip
            u[flipped] = 0.0 if u[flipped] >= 0.5 else 1.0
            return domain.decode(u)
        case Float() | Int():
            return _shifted(domain, value, rng, step)
        case Const():
            return value


def _shifted(domain: Float | Int | Choice, value: Any, rng: Generator, step: float) -> Any:
    """Another value of the domain near this one: steps grow until they leave a wide cell."""
    here = domain.encode(value)[0]
    for attempt in range(4 * TRIES):
        there = abs(here + step * (1 + attempt / 4) * rng.normal()) % 2.0
        moved = domain.decode((2.0 - there if there > 1.0 else there,))
        if moved != value:
            return moved
    return domain.sample(rng)
