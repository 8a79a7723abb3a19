"""Evolution of sub-networks under bounds, by a predictor: Once-for-All's search (Cai et al., 2020), and NSGA-II."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from searchd.errors import SearchdError
from spaces.elastic import ElasticSpace, Genome, key
from workers.fronts import ranked

Array = NDArray[np.float64]
Score = Callable[[Sequence[Genome]], Array]
"""Sub-networks → predicted errors [n]."""
Costs = Callable[[Genome], Mapping[str, float]]
TRIES = 32
"""Draws of one individual before the nearest that keeps the bounds is taken instead."""


class Infeasible(SearchdError):
    """Bounds that no sub-network keeps."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Upper bounds by the name of a cost."""

    at_most: Mapping[str, float]

    def hold(self, costs: Mapping[str, float]) -> bool:
        return all(costs[name] <= bound for name, bound in self.at_most.items())

    def excess(self, costs: Mapping[str, float]) -> float:
        """How far they are broken: Σ share above."""
        return sum(max(0.0, costs[name] / bound - 1.0) for name, bound in self.at_most.items())

    def floor(self, space: ElasticSpace, costs: Costs) -> Genome:
        """The sub-network that is nearest to keeping them: the smallest, at the resolution that suits them best (a
        smaller one sometimes saves less than resizing costs)."""
        return min(smallest(space), key=lambda genome: self.excess(costs(genome)))

    def check(self, space: ElasticSpace, costs: Costs) -> None:
        """Infeasible, with the least figure that there is, when no sub-network keeps one of them, or all at once."""
        least = [costs(genome) for genome in smallest(space)]
        for name, bound in self.at_most.items():
            figure = min(found[name] for found in least)
            if figure > bound:
                raise Infeasible(
                    f"no sub-network has {name} at most {bound:g}: the least possible of this super-network is"
                    f" {figure:.4g}; raise at_most, or let width, units and expand be smaller"
                )
        if not self.hold(found := costs(self.floor(space, costs))):
            said = ", ".join(f"{name} = {found[name]:.4g}" for name in self.at_most)
            raise Infeasible(f"no sub-network keeps all of at_most at once: the nearest has {said}; raise them")


def smallest(space: ElasticSpace) -> list[Genome]:
    """The smallest sub-network at every resolution: no other has fewer parameters, MACs, BOPs or bytes."""
    genome = space.extreme(False)
    return [{**genome, "resolution": r} for r in space.resolutions] if space.resolutions else [genome]


def draw(
    space: ElasticSpace, rng: Generator, keeps: Callable[[Genome], bool], make: Callable[[], Genome], floor: Genome
) -> Genome:
    """What `make` makes, made again until it keeps the bounds; after TRIES `floor`, mutated as far as it keeps them."""
    for _ in range(TRIES):
        found = make()
        if keeps(found):
            return found
    found = floor
    for _ in range(TRIES // 4):
        changed = space.mutate(found, rng)
        if keeps(changed):
            found = changed
    return found


def evolve(
    space: ElasticSpace, score: Score, costs: Costs, bounds: Bounds, rng: Generator, *, population: int = 100,
    generations: int = 500, parents: float = 0.25, mutated: float = 0.5, seeds: Sequence[Genome] = (),
) -> list[tuple[float, Genome]]:  # fmt: skip
    """The last population, best predicted error first: the best `parents` (a share), and all their children, of which
    the share `mutated` by mutation and the rest by uniform crossover. Every individual keeps the bounds."""

    floor = bounds.floor(space, costs)

    def keeps(genome: Genome) -> bool:
        return bounds.hold(costs(genome))

    def scored(genomes: Sequence[Genome]) -> list[tuple[float, Genome]]:
        return list(zip((float(s) for s in score(genomes)), genomes, strict=True))

    begin = [g for g in seeds if keeps(g)][:population]
    begin += [draw(space, rng, keeps, lambda: space.sample(rng), floor) for _ in range(population - len(begin))]
    alive = scored(begin)
    elite = max(1, round(parents * population))
    children = population - elite
    mutants = round(mutated * children)
    for _ in range(generations):
        best = sorted(alive, key=lambda one: one[0])[:elite]

        def any_parent(best: list[tuple[float, Genome]] = best) -> Genome:
            return best[int(rng.integers(len(best)))][1]

        def mutant() -> Genome:
            return space.mutate(any_parent(), rng)

        def child() -> Genome:
            return space.crossover(any_parent(), any_parent(), rng)

        fresh = [draw(space, rng, keeps, mutant if i < mutants else child, floor) for i in range(children)]
        alive = best + scored(fresh)
    return sorted(alive, key=lambda one: one[0])


def nsga2(
    space: ElasticSpace, score: Score, costs: Costs, names: Sequence[str], bounds: Bounds, rng: Generator, *,
    population: int = 50, generations: int = 20, seeds: Sequence[Genome] = (),
) -> list[Genome]:  # fmt: skip
    """NSGA-II (Deb et al., 2002) on the predicted error and the costs `names`: the last population, front by front, the
    lonelier first inside a front."""

    floor = bounds.floor(space, costs)

    def keeps(genome: Genome) -> bool:
        return bounds.hold(costs(genome))

    def values(genomes: Sequence[Genome]) -> Array:
        errors = score(genomes)
        return np.array([[e, *(costs(g)[n] for n in names)] for e, g in zip(errors, genomes, strict=True)])

    alive: list[Genome] = [g for g in seeds if keeps(g)][:population]
    alive += [draw(space, rng, keeps, lambda: space.sample(rng), floor) for _ in range(population - len(alive))]
    order = ranked(values(alive))
    for _ in range(generations):
        alive = [alive[i] for i in order]

        def parent(alive: list[Genome] = alive) -> Genome:  # they are in order: the smaller of two places wins
            return alive[int(rng.integers(len(alive), size=2).min())]

        def child() -> Genome:
            mixed: Genome = space.crossover(parent(), parent(), rng) if rng.random() < 0.9 else parent()
            return space.mutate(mixed, rng, gene=0.05, resolution=0.1)

        pool = {key(g): g for g in (*alive, *(draw(space, rng, keeps, child, floor) for _ in range(population)))}
        alive = list(pool.values())
        order = ranked(values(alive))[:population]
    return [alive[i] for i in order]
