"""Looking for sub-networks in a super-network that is trained as far as it is: nothing is trained here.

Every sub-network that is reported was measured: cut out, its batch norms taken anew, its error found on the validation
samples. A search spends `evaluations` of that, and decides which by predictors of what was measured before.

evolution   half of them at random, then under several bounds on the first cost the best that evolution by a predictor
            finds (Once-for-All); where bits are elastic the predictor is APQ's, transferred from full precision
linas       NSGA-II on predictors that are fitted again on all that was measured, round after round (DyNAS-T, SimQ-NAS)
random      random ones
A super-network trained in nested order (SortedNet) has a chain of sub-networks: those are measured, evenly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from spaces.elastic import ElasticSpace, Genome, features, key
from workers.fronts import spread
from workers.supernet.evolution import Bounds, Costs, Score, draw, evolve, nsga2
from workers.supernet.predictors import Ridge, Transferred

Array = NDArray[np.float64]
Measure = Callable[[Genome], float]
RIDGE_BELOW = 24
"""With fewer measured sub-networks a ridge regression takes the perceptron's place."""
ROUNDS = 4
"""Rounds of `linas` after its first population."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a search may do. `names`: the costs that count beside the error, at least one, all known by `costs`."""

    method: str
    evaluations: int
    names: tuple[str, ...]
    bounds: Bounds
    points: int
    population: int = 32
    generations: int = 12


@dataclass(slots=True)
class Archive:
    """Every sub-network that was measured, by its key: it and its error in percent."""

    space: ElasticSpace
    measure: Measure
    found: dict[str, tuple[Genome, float]] = field(default_factory=dict)

    def add(self, genomes: Iterable[Genome], most: int) -> int:
        """Measure those that are new while there are fewer than `most`; how many there were."""
        before = len(self.found)
        for genome in genomes:
            name = key(genome)
            if name not in self.found and len(self.found) < most:
                self.found[name] = (genome, self.measure(genome))
        return len(self.found) - before

    @property
    def genomes(self) -> list[Genome]:
        return [genome for genome, _ in self.found.values()]

    @property
    def errors(self) -> Array:
        return np.array([error for _, error in self.found.values()])

    def score(self, seed: int) -> Score:
        """A predictor fitted on all of it."""
        shape, bits, errors = *encoded(self.space, self.genomes), self.errors
        if len(errors) < RIDGE_BELOW:
            ridge = Ridge().fit(np.hstack([shape, bits]), errors)
            return lambda genomes: ridge.predict(np.hstack(encoded(self.space, genomes)))
        full = ~bits.any(1)
        net = Transferred(shape.shape[1], bits.shape[1], seed=seed)
        if full.sum() >= RIDGE_BELOW // 2:
            net.fit(shape[full], errors[full])
        else:
            net.fit(shape, errors)
        if bits.any():
            net.tune(shape, bits, errors)
        return lambda genomes: net.predict(*encoded(self.space, genomes))


def encoded(space: ElasticSpace, genomes: Sequence[Genome]) -> tuple[Array, Array]:
    """(architecture, quantization) features of genomes, [n, a] and [n, q]."""
    found = [features(space, genome) for genome in genomes]
    return np.array([a for a, _ in found], float), np.array([q for _, q in found], float).reshape(len(found), -1)


def search(
    space: ElasticSpace, plan: Plan, measure: Measure, costs: Costs, rng: Generator,
    seeds: Sequence[Genome] = (), chain: bool = False,
) -> list[Genome]:  # fmt: skip
    """The best of what was measured: sub-networks that keep the bounds and that no other beats in error and costs, at
    most `plan.points`. `seeds`: those of an earlier search, measured first. Infeasible where nothing keeps bounds."""
    plan.bounds.check(space, costs)
    archive = Archive(space, measure)
    most = plan.evaluations
    if chain:
        nested = [genome for genome in space.chain() if plan.bounds.hold(costs(genome))]
        places = np.unique(np.linspace(0, len(nested) - 1, min(most, len(nested))).round().astype(int))
        archive.add((nested[int(i)] for i in places), most)
        return chosen(archive, plan, costs)

    def keeps(genome: Genome) -> bool:
        return plan.bounds.hold(costs(genome))

    archive.add([g for g in (*seeds, space.extreme(True), space.extreme(False)) if keeps(g)], most)
    share = {"random": 1.0, "evolution": 0.5, "linas": 0.4}[plan.method]
    floor = plan.bounds.floor(space, costs)
    _random(space, archive, plan, keeps, rng, max(4, round(share * most)), floor)
    if plan.method == "evolution":
        _evolution(space, archive, plan, costs, rng)
    elif plan.method == "linas":
        for _ in range(ROUNDS):
            room = -(-(most - len(archive.found)) // ROUNDS)
            score = ridge_score(archive)
            front = nsga2(space, score, costs, plan.names, plan.bounds, rng, population=plan.population,
                          generations=plan.generations, seeds=archive.genomes)  # fmt: skip
            new = [genome for genome in front if key(genome) not in archive.found]
            archive.add(new[: max(1, room)], most)
    _random(space, archive, plan, keeps, rng, most, floor)  # where a search found nothing new
    return chosen(archive, plan, costs)


def ridge_score(archive: Archive) -> Score:
    """The light predictor of LINAS."""
    ridge = Ridge().fit(np.hstack(encoded(archive.space, archive.genomes)), archive.errors)
    return lambda genomes: ridge.predict(np.hstack(encoded(archive.space, genomes)))


def _random(
    space: ElasticSpace, archive: Archive, plan: Plan, keeps: Callable[[Genome], bool], rng: Generator, until: int,
    floor: Genome,
) -> None:  # fmt: skip
    """Random sub-networks, and as many of full precision as quantized ones where bits are elastic."""
    until = min(until, plan.evaluations, space.count)
    for i in range(4 * plan.evaluations):
        if len(archive.found) >= until:
            return

        def make(i: int = i) -> Genome:
            genome = space.sample(rng)
            return full_precision(space, genome) if len(space.bits) > 1 and i % 2 else genome

        archive.add([draw(space, rng, keeps, make, floor)], until)


def full_precision(space: ElasticSpace, genome: Genome) -> dict[str, Any]:
    """The same sub-network with the most bits everywhere."""
    units = [{**said, "bits": [space.bits[-1]] * said["depth"]} for said in genome["units"]]
    return {**genome, "units": units}


def _evolution(space: ElasticSpace, archive: Archive, plan: Plan, costs: Costs, rng: Generator) -> None:
    first = plan.names[0]
    score = archive.score(int(rng.integers(2**31)))
    least, largest = costs(plan.bounds.floor(space, costs))[first], costs(space.extreme(True))[first]
    bound = min(largest, plan.bounds.at_most.get(first, largest))
    steps = np.geomspace(max(least, 1e-12), max(bound, least, 1e-12), max(2, plan.points))
    room = plan.evaluations - len(archive.found)
    for done, at in enumerate(steps[::-1]):
        bounds = Bounds({**plan.bounds.at_most, first: float(max(at, least))})
        alive = evolve(space, score, costs, bounds, rng, population=plan.population, generations=plan.generations,
                       seeds=archive.genomes)  # fmt: skip
        new = [genome for _, genome in alive if key(genome) not in archive.found]
        share = -(-room * (done + 1) // len(steps)) - room * done // len(steps)
        archive.add(new[: max(1, share)], plan.evaluations)


def chosen(archive: Archive, plan: Plan, costs: Costs) -> list[Genome]:
    """The well spread best of an archive, by error and costs."""
    fit = [(g, e) for g, e in archive.found.values() if plan.bounds.hold(costs(g))]
    rows = np.array([[e, *(costs(g)[n] for n in plan.names)] for g, e in fit])
    return [fit[i][0] for i in spread(rows, plan.points)]


def front(points: Sequence[Mapping[str, Any]], plan: Plan) -> list[int]:
    """Indices of the points, of `val_error` and costs, that no other beats, well spread."""
    return spread(np.array([[p["val_error"], *(p[n] for n in plan.names)] for p in points]), plan.points)

