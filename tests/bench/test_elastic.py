"""The bench's space of 10^19 sub-networks: what was recorded, what the predictors say, and the exact front."""

from __future__ import annotations

import json
from itertools import product
from math import prod

import numpy as np
import pytest

from bench.quality import elastic
from bench.quality.elastic import FILE, UNITS, Elastic, digits_of, one_hot, unbeaten
from bench.quality.ours import run_ours, study
from bench.quality.problems import SUBNETS, known, make
from bench.quality.score import hypervolume
from bench.quality.spec import active, sample
from spaces.elastic import ElasticSpace, Unit, features, once_for_all
from spaces.study import Study

COUNT = 21_758_655_492_572_485_851
RECORDED = json.loads(FILE.read_text())


@pytest.fixture(scope="module")
def problem() -> Elastic:
    return Elastic("digits")


def texts(count: int, seed: int) -> list[str]:
    """Random sub-networks."""
    rng = np.random.default_rng(seed)
    return [Elastic.text(sample(Elastic.space, rng)) for _ in range(count)]


def choices() -> list[str]:
    """All that a unit may be, in the order in which the front is made."""
    blocks = [f"{k}{w}" for k, w in product(range(3), repeat=2)]
    return ["".join(said) for depth in (2, 3, 4) for said in product(blocks, repeat=depth)]


def configs(space: tuple[elastic.Param, ...], unit: str) -> int:
    """How many settings the parameters of one unit have."""
    depth = next(p for p in space if p.name == unit)
    return sum(prod(len(p.options) for p in space if p.when == (unit, option)) for option in depth.options)


def test_the_space_is_once_for_alls() -> None:
    """7371^5 configs, all different sub-networks: as many as the paper's space has at one resolution."""
    ways = prod(configs(Elastic.space, f"unit{u}") for u in range(1, UNITS + 1))
    paper = once_for_all()
    assert ways == COUNT == paper.count // len(paper.resolutions)


def test_a_config_names_a_sub_network() -> None:
    """Units, blocks that run, kernel and expansion, in the order of the genome; what does not run is not there."""
    values = {p.name: p.options[0] for p in Elastic.space} | {"unit2": "3", "unit5": "4"}
    values |= {"unit2.3.kernel3": "7", "unit2.3.expand3": "4", "unit2.4.kernel3": "5", "unit5.4.expand1": "6"}
    assert Elastic.text(active(Elastic.space, values)) == "0000 000021 0000 0000 02000000"


def test_the_features_are_those_of_the_product() -> None:
    """One-hot of a text is what `spaces.elastic` makes of the genome, after the resolution."""
    unit = Unit(6, 1, (2, 3, 4), (3, 5, 7), (3, 4, 6))
    space = ElasticSpace((1, 8, 8), 10, "bottleneck", 6, (unit,) * UNITS, (8,))
    rng = np.random.default_rng(2)
    for _ in range(50):
        genome = space.sample(rng)
        assert one_hot(digits_of(genome)).tolist() == features(space, genome)[0][1:]


def test_what_was_recorded_is_small_and_whole() -> None:
    """A few hundred different sub-networks with their errors and latencies, in a file well under 200 kB."""
    assert FILE.stat().st_size < 60_000
    samples = RECORDED["samples"]
    assert 150 <= len(samples) == len({text for text, _, _ in samples})
    assert all(0 < error < 100 and latency > 0 for _, error, latency in samples)
    errors = [error for _, error, _ in samples]
    assert RECORDED["error"]["seen"] == [min(errors), max(errors)]


def test_the_predictors_say_what_was_measured(problem: Elastic) -> None:
    """The sum of blocks is the latency of every sub-network that was recorded; the error is near, for what it was
    fitted on a little nearer than for what it was not."""
    samples = RECORDED["samples"]
    summed = [problem.latency_ms(text) for text, _, _ in samples]
    assert summed == pytest.approx([latency for _, _, latency in samples], abs=1e-4)
    errors = np.array([error for _, error, _ in samples])
    off = np.array([problem.error_pct(text) for text, _, _ in samples]) - errors
    rmse = float(np.sqrt((off**2).mean()))
    assert rmse <= RECORDED["error"]["held_out"]["rmse"] < float(errors.std())


def test_latencies_add_up_over_units(problem: Elastic) -> None:
    """What a unit costs does not depend on the others: changed alone or with another, it adds the same."""
    for one, other in zip(texts(30, 3), texts(30, 4), strict=True):
        a, b = one.split(" "), other.split(" ")
        each = [problem.latency_ms(" ".join([*a[:u], b[u], *a[u + 1 :]])) - problem.latency_ms(one) for u in range(5)]
        assert problem.latency_ms(other) - problem.latency_ms(one) == pytest.approx(sum(each), abs=1e-9)


def test_both_objectives_are_in_the_unit_square(problem: Elastic) -> None:
    """From 0 to 1, the ends of the latency reached by the fastest and the slowest sub-network."""
    both = np.array([problem.both(text) for text in texts(500, 5)])
    assert both.min() >= 0
    assert both.max() <= 1
    front = problem.front()
    assert front[0, 1] == pytest.approx(0, abs=1e-9)


def test_equal_configs_have_equal_curves() -> None:
    """A problem is a function, of both families the same one; the latency that is described is the one reported."""
    plain, described = (make(name) for name in SUBNETS)
    assert isinstance(described, Elastic)
    assert (plain.name, described.name) == SUBNETS
    for seed in range(20):
        values = sample(plain.space, np.random.default_rng(seed))
        first, again = plain.curve(values), described.curve(dict(reversed(values.items())))
        np.testing.assert_array_equal(first.losses, again.losses)
        assert first.losses.shape == (1, 2)
        assert first.seconds[0] > 0
        assert first.losses[0, 1] == described.latency(values)


def test_a_problem_is_a_study() -> None:
    """The space is one of ours, with the same flat names and conditions."""
    problem = make("elastic:digits")
    space = Study.parse(study(problem, "auto+auto")).space
    rng = np.random.default_rng(0)
    for _ in range(20):
        config = space.sample(rng)
        assert active(problem.space, {**config}) == {**config}


# ---------------------------------------------------------------- the front
def test_the_front_of_a_unit_by_brute_force(problem: Elastic) -> None:
    """What a unit adds, by its 7371 choices, is what whole sub-networks differ by."""
    every = choices()
    weights, level = np.array(RECORDED["error"]["weights"]), RECORDED["error"]["level"]
    for u in (0, 4):
        rest = ["0000"] * UNITS
        some = [every[int(i)] for i in np.random.default_rng(u).integers(len(every), size=200)]
        wholes = [" ".join([*rest[:u], said, *rest[u + 1 :]]) for said in some]
        seen = np.array([(one_hot(t) @ weights + level, problem.latency_ms(t)) for t in wholes])
        adds = problem._unit(u)
        assert len(adds) == len(every) == 7371
        moved = seen - seen[0] + adds[every.index(some[0])]
        assert moved == pytest.approx(adds[[every.index(said) for said in some]], abs=1e-9)


def test_no_sub_network_beats_the_front(problem: Elastic) -> None:
    """known.json has the front's hypervolume, and random sub-networks add nothing to it."""
    front = problem.front()
    best = known("elastic:digits").best
    assert hypervolume(front) == pytest.approx(best, abs=1e-9)
    assert known("elasticd:digits").best == best
    assert len(unbeaten(np.concatenate([front, [problem.both(t) for t in texts(1000, 6)]]))) == len(front)


@pytest.mark.parametrize("weight", [0.02, 0.2, 0.5, 0.8, 0.98])
def test_sub_networks_reach_the_front(problem: Elastic, weight: float) -> None:
    """The best of a weighted sum, found unit by unit and judged as a whole, is the front's."""
    scale = (weight / np.diff(problem.seen)[0], (1 - weight) / np.diff(problem.between)[0])
    every = choices()
    whole = " ".join(every[int((problem._unit(u) @ scale).argmin())] for u in range(UNITS))
    least = float((problem.front() @ (weight, 1 - weight)).min())
    assert np.dot(problem.both(whole), (weight, 1 - weight)) == pytest.approx(least, abs=1e-9)


def test_unbeaten_by_hand() -> None:
    """Worse and equal ones go."""
    points = np.array([[3.0, 1.0], [1.0, 3.0], [2.0, 2.0], [2.0, 2.0], [2.5, 2.0], [3.0, 4.0]])
    assert unbeaten(points).tolist() == [[3, 1], [2, 2], [1, 3]]


# ---------------------------------------------------------------- runs
def test_auto_searches_what_cannot_be_listed() -> None:
    """A tenth of the budget: some twenty sub-networks, all different, and better than nothing; twice the same."""
    problem = make("elasticd:digits")
    budget = known(problem.name).full_s * 5
    one, two = (run_ours(problem, "auto+auto", 3, budget, 4) for _ in range(2))
    assert (one.path, one.trials) == (two.path, two.trials)
    assert 15 <= one.full <= 30
    assert 0 < one.path[-1][1] < known(problem.name).best
