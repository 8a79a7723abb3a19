"""Searches of sub-networks and the predictors behind them, against problems whose answers are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from spaces.elastic import ElasticSpace, Genome, Unit, features, key
from spaces.subnets import subnet
from tests.support.elastic import BOTTLENECK, VECTOR
from workers.fronts import crowding, dominated, ranked, spread
from workers.supernet.evolution import TRIES, Bounds, Infeasible, draw, evolve, nsga2, smallest
from workers.supernet.predictors import Ridge, Transferred
from workers.supernet.search import Plan, encoded, full_precision, search
from workers.supernet.table import SCALE, Table

SPACE = BOTTLENECK


KNOWN: dict[tuple[int, str], Mapping[str, float]] = {}


def costs(genome: Genome, space: ElasticSpace = SPACE) -> Mapping[str, float]:
    at = (id(space), key(genome))
    if at not in KNOWN:
        KNOWN[at] = subnet(space, genome).metrics
    return KNOWN[at]


def error(genome: Genome) -> float:
    """A made-up error: larger sub-networks are better, with diminishing returns; 4 bits cost 3 points."""
    shape, bits = features(SPACE, genome)
    narrow = sum(b == 4 for u in genome["units"] for b in u["bits"])
    return 40.0 / (1 + costs(genome)["macs"] / 20_000) + 3 * narrow + 0.01 * sum(shape) + 0 * len(bits)


def score(genomes: Sequence[Genome]) -> Any:
    return np.array([error(genome) for genome in genomes])


def plan(method: str, **more: Any) -> Plan:
    said: dict[str, Any] = {"bounds": Bounds({}), "names": ("macs",), "evaluations": 40, "points": 6,
                            "population": 16, "generations": 8}
    return Plan(method, **{**said, **more})  # fmt: skip


# ---------------------------------------------------------------- evolution
def test_a_population_is_parents_and_all_their_children() -> None:
    """After any number of generations there are as many as at first: none of the children is lost, mutants or not, and
    every one that was made keeps the bound."""
    seen: list[Genome] = []

    def watched(genomes: Sequence[Genome]) -> Any:
        seen.extend(genomes)
        return score(genomes)

    bounds = Bounds({"macs": 60_000.0})
    alive = evolve(SPACE, watched, costs, bounds, np.random.default_rng(0), population=20, generations=6)
    assert len(alive) == 20
    assert len(seen) == 20 + 6 * 15  # a quarter are parents, 15 of 20 are new each time
    assert all(costs(genome)["macs"] <= 60_000 for genome in seen)
    assert [s for s, _ in alive] == sorted(s for s, _ in alive)


def test_evolution_finds_more_than_chance() -> None:
    """With as many scores, evolution ends below the best of random draws under the same bound."""
    bounds = Bounds({"macs": 60_000.0})
    rng = np.random.default_rng(1)
    best = evolve(SPACE, score, costs, bounds, rng, population=20, generations=10)[0][0]

    def keeps(genome: Genome) -> bool:
        return bounds.hold(costs(genome))

    floor = bounds.floor(SPACE, costs)
    drawn = [draw(SPACE, rng, keeps, lambda: SPACE.sample(rng), floor) for _ in range(170)]
    assert best < min(score(drawn))


def test_rejection_is_capped() -> None:
    """Where hardly anything keeps a bound, drawing gives up and takes the smallest, changed as the bound lets it."""
    tight = Bounds({"params": costs(SPACE.extreme(False))["params"]})
    tried = []

    def make() -> Genome:
        tried.append(1)
        return SPACE.extreme(True)

    rng = np.random.default_rng(0)
    found = draw(SPACE, rng, lambda g: tight.hold(costs(g)), make, tight.floor(SPACE, costs))
    assert len(tried) == TRIES
    assert tight.hold(costs(found))


def test_what_cannot_be_is_told_with_the_least_figure() -> None:
    """A bound below the smallest sub-network is an error that says what the least is; several bounds that hold only one
    by one are told too."""
    least = costs(SPACE.extreme(False))["bytes"]
    with pytest.raises(Infeasible, match=f"bytes at most 10: the least possible of this super-network is {least:.4g}"):
        Bounds({"bytes": 10.0}).check(SPACE, costs)
    Bounds({"bytes": least}).check(SPACE, costs)

    def either(genome: Genome) -> Mapping[str, float]:  # one grows with the resolution, the other falls
        return {"macs": float(genome["resolution"]), "latency_ms": 10.0 - genome["resolution"]}

    with pytest.raises(Infeasible, match="all of at_most at once"):
        Bounds({"macs": 5.0, "latency_ms": 2.0}).check(SPACE, either)
    Bounds({"macs": 6.0, "latency_ms": 4.0}).check(SPACE, either)
    assert [g["resolution"] for g in smallest(SPACE)] == [5, 6, 8]


# ---------------------------------------------------------------- NSGA-II
def test_fronts_and_crowding() -> None:
    """Rows come front by front, ends of a front first; what another row beats is named, equal rows beat nobody."""
    rows = np.array([[1, 5], [2, 3], [2.1, 2.9], [5, 1], [3, 4], [6, 6], [1, 5]], float)
    assert dominated(rows).tolist() == [False, False, False, False, True, True, False]
    order = ranked(rows)
    assert set(order[:5]) == {0, 1, 2, 3, 6}
    assert order[5:] == [4, 5]
    assert crowding(rows[[0, 1, 2, 3]])[[0, 3]].tolist() == [np.inf, np.inf]
    assert spread(rows, 9) == [0, 1, 2, 3]
    assert spread(rows, 3) in ([0, 1, 3], [0, 2, 3])
    assert spread(rows[:1], 1) == [0]


def test_nsga2_finds_the_front_of_a_small_space() -> None:
    """On a space that can be listed the last population has every point of the true front."""
    genomes = {}
    rng = np.random.default_rng(0)
    while len(genomes) < 200:
        genome = VECTOR.sample(rng)
        genomes[key(genome)] = genome
        if len(genomes) >= VECTOR.count:
            break

    def cost(genome: Genome) -> Mapping[str, float]:
        return costs(genome, VECTOR)

    def quality(said: Sequence[Genome]) -> Any:
        return np.array([100.0 - cost(g)["params"] / 10 + 5 * sum(b == 8 for b in g["units"][0]["bits"]) for g in said])

    found = nsga2(VECTOR, quality, cost, ("bytes",), Bounds({}), rng, population=30, generations=25)
    assert len(found) == 30

    def rows(said: Sequence[Genome]) -> Any:
        return np.array([[q, cost(g)["bytes"]] for q, g in zip(quality(said), said, strict=True)])

    known = rows(list(genomes.values()))
    mine = rows(found)
    for row in known[~dominated(known)]:  # nothing among 200 random ones beats what was found
        assert any((m <= row + 1e-9).all() for m in mine)


# ---------------------------------------------------------------- predictors
def test_apq_golden_transfer() -> None:
    """Golden (12.4): with zero quantization features the quantization-aware predictor says what the full-precision one
    says, exactly, before it is tuned; and any bits change nothing until then."""
    rng = np.random.default_rng(0)
    genomes = [SPACE.sample(rng) for _ in range(40)]
    shape, bits = encoded(SPACE, genomes)
    full = Transferred(shape.shape[1], bits.shape[1]).fit(shape, score([full_precision(SPACE, g) for g in genomes]))
    said = full.predict(shape)
    assert np.array_equal(full.predict(shape, np.zeros_like(bits)), said)
    assert np.array_equal(full.predict(shape, bits), said)
    tuned = full.tune(shape, bits, score(genomes))
    assert not np.allclose(tuned.predict(shape, bits), said)
    assert np.corrcoef(tuned.predict(shape, bits), score(genomes))[0, 1] > 0.9


def test_ridge_is_least_squares_with_a_penalty() -> None:
    """Ridge recovers a linear function, meets the normal equations, and says the mean far from any data."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 4))
    y = x @ np.array([1.0, -2.0, 0.0, 0.5]) + 3
    assert np.allclose(Ridge(1e-9).fit(x, y).predict(x), y)
    model = Ridge(5.0).fit(x, y)
    weights = model.predict(np.eye(4)) - model.predict(np.zeros((1, 4)))
    centred = x - x.mean(0)
    assert np.allclose(centred.T @ (y - y.mean()), (centred.T @ centred + 5 * np.eye(4)) @ weights)
    assert np.allclose(Ridge().fit(np.zeros((3, 2)), np.array([1.0, 2.0, 3.0])).predict(np.zeros((1, 2))), 2.0)


# ---------------------------------------------------------------- whole searches
@pytest.mark.parametrize("method", ["evolution", "linas", "random"])
def test_a_search_measures_what_it_may_and_answers_a_front(method: str) -> None:
    """Every method measures each sub-network once and as many as it was given; the answer keeps the bounds, is on the
    front of what was measured, is found again with the same seed, and is well spread."""
    measured: list[Genome] = []

    def measure(genome: Genome) -> float:
        measured.append(genome)
        return error(genome)

    said = plan(method, bounds=Bounds({"bytes": 2500.0}))
    found = search(SPACE, said, measure, costs, np.random.default_rng(4))
    assert len({key(g) for g in measured}) == len(measured) == 40
    assert all(costs(g)["bytes"] <= 2500 for g in measured)
    assert 2 <= len(found) <= 6
    rows = np.array([[error(g), costs(g)["macs"]] for g in measured])
    best = {key(g) for g, out in zip(measured, dominated(rows), strict=True) if not out}
    assert {key(g) for g in found} <= best
    again = search(SPACE, said, error, costs, np.random.default_rng(4))
    assert [key(g) for g in again] == [key(g) for g in found]


def dominated_share(found: Sequence[Genome]) -> float:
    """The area that (error, MACs) of a front dominates, both as shares of 45 % and of the biggest."""
    most, area, lowest = costs(SPACE.extreme(True))["macs"], 0.0, 1.0
    for macs, wrong in sorted((costs(g)["macs"] / most, error(g) / 45) for g in found):
        area += (1 - macs) * max(0.0, lowest - wrong)
        lowest = min(lowest, wrong)
    return area


def test_predictors_help() -> None:
    """At equal evaluations the searches with predictors dominate more than random draws do, on average over seeds."""
    share = {
        method: np.mean([
            dominated_share(search(SPACE, plan(method, evaluations=32), error, costs, np.random.default_rng(seed)))
            for seed in range(3)
        ])
        for method in ("random", "evolution", "linas")
    }  # fmt: skip
    assert share["evolution"] > share["random"]
    assert share["linas"] > share["random"]


def test_seeds_are_measured_first() -> None:
    """What an earlier search found is measured again before anything else, and nothing twice."""
    measured: list[str] = []
    seeds = [SPACE.sample(np.random.default_rng(s)) for s in range(5)]

    def measure(genome: Genome) -> float:
        measured.append(key(genome))
        return error(genome)

    search(SPACE, plan("random"), measure, costs, np.random.default_rng(0), seeds)
    assert measured[:5] == [key(g) for g in seeds]
    assert len(set(measured)) == len(measured)


def test_a_nested_network_has_its_chain_searched() -> None:
    """Of a super-network trained in nested order only links of its chain are measured, evenly, under the bounds."""
    measured: list[str] = []

    def measure(genome: Genome) -> float:
        measured.append(key(genome))
        return error(genome)

    rng = np.random.default_rng(0)
    search(SPACE, plan("evolution", evaluations=5), measure, costs, rng, chain=True)
    links = [key(g) for g in SPACE.chain()]
    assert len(measured) == 5
    assert measured[0] == links[0]
    assert measured[-1] == links[-1]
    assert set(measured) <= set(links)


def test_a_space_smaller_than_the_evaluations_ends() -> None:
    """A search that may measure more than there is measures what there is."""
    small = ElasticSpace((4,), 2, "residual", 2, (Unit(2, 1, (1, 2), (1,), (1.0,)),))
    assert small.count == 2
    found = search(small, plan("linas"), lambda g: float(g["units"][0]["depth"]), lambda g: costs(g, small),
                   np.random.default_rng(0))  # fmt: skip
    assert 1 <= len(found) <= 2


# ---------------------------------------------------------------- the table
def test_latencies_are_sums_that_are_remembered() -> None:
    """A sub-network costs the empty call and what each operator adds, times the scale of whole ones; bits change
    nothing, and what is known already is not timed again."""
    spec = subnet(SPACE, SPACE.extreme(True))
    floats = dict.fromkeys((float_key(o) for o in spec.operators), 3.0)
    table = Table({**floats, "empty": 1.0, SCALE: 0.5})
    assert table.latency(spec.operators) == pytest.approx(0.5 * (1.0 + 2.0 * len(spec.operators)))
    quantized = subnet(SPACE, {**spec.genome, "units": [{**u, "bits": [4] * u["depth"]} for u in spec.genome["units"]]})
    assert table.latency(quantized.operators) == table.latency(spec.operators)
    fresh = Table()
    assert fresh.latency(spec.operators[:1]) > 0
    assert Table(fresh.ms).latency(spec.operators[:1]) == fresh.latency(spec.operators[:1])
    assert set(fresh.ms) == {"empty", float_key(spec.operators[0])}


def float_key(operator: Any) -> str:
    return replace(operator, bits=32).key
