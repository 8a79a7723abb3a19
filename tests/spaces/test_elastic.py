"""Elastic spaces: their sub-networks are counted, drawn, changed and described without training anything."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spaces.elastic import PER_BLOCK, ElasticSpace, Unit, features, key, once_for_all
from spaces.errors import SpaceError
from spaces.operators import Operator, signature
from spaces.subnets import subnet
from tests.support.elastic import ALL, BOTTLENECK, elastic_spaces

SEEDS = st.integers(0, 2**32)


def test_g12_count_of_once_for_all() -> None:
    """Golden G12: 7371^5 = 21 758 655 492 572 485 851 sub-networks at each of 25 resolutions."""
    space = once_for_all()
    assert space.count == 25 * 21_758_655_492_572_485_851
    one = ElasticSpace(space.input_shape, space.classes, space.block, space.stem, space.units, (224,))
    assert one.count == 21_758_655_492_572_485_851


def test_count_is_that_of_all_genomes() -> None:
    """The count is the number of genomes that there are, one by one; each is in the space and has a key of its own."""
    made = (Unit(2, 1, (1, 2), (1, 3), (1, 2)), Unit(2, 1, (1,), (1,), (1, 2)))
    space = ElasticSpace((1, 4, 4), 2, "residual", 2, made, (2, 4), (8, 32))
    units = []
    for u in range(2):
        options = space.choices(u)
        found = []
        for depth in options["depth"]:
            each = list(product(*(options[name] for name in PER_BLOCK)))
            found += [
                {"depth": depth, **{n: [b[i] for b in blocks] for i, n in enumerate(PER_BLOCK)}}
                for blocks in product(each, repeat=depth)
            ]
        units.append(found)
    genomes = [{"resolution": r, "units": list(pair)} for r in space.resolutions for pair in product(*units)]
    for genome in genomes:
        space.check(genome)
    assert len({key(g) for g in genomes}) == len(genomes) == space.count
    assert len({str(features(space, g)) for g in genomes}) == space.count


@settings(max_examples=60)
@given(elastic_spaces(), SEEDS)
def test_what_is_drawn_and_changed_is_in_the_space(space: ElasticSpace, seed: int) -> None:
    """Samples, mutants of any strength and children pass the check; their encodings have one length, their description
    has as many layers as their blocks ask for."""
    rng = np.random.default_rng(seed)
    one, other = space.sample(rng), space.sample(rng)
    made = [one, other, space.extreme(True), space.extreme(False)]
    made += [space.mutate(one, rng, rate, rate) for rate in (0.0, 0.3, 1.0)] + [space.crossover(one, other, rng)]
    lengths = set()
    for genome in made:
        space.check(genome)
        lengths.add(tuple(map(len, features(space, genome))))
        blocks = sum(unit["depth"] for unit in genome["units"])
        each = 3 if space.block == "bottleneck" else 2
        assert len(subnet(space, genome).layers) == 2 + len(space.exits) + each * blocks
    assert len(lengths) == 1
    assert made[4] == one


@settings(max_examples=60)
@given(elastic_spaces(), SEEDS)
def test_a_child_has_nothing_that_its_parents_have_not(space: ElasticSpace, seed: int) -> None:
    """Every gene of a child is that of a parent in the same place; a block that only one has comes from that one."""
    rng = np.random.default_rng(seed)
    pair = (space.sample(rng), space.sample(rng))
    child = space.crossover(*pair, rng)
    assert child.get("resolution") in [p.get("resolution") for p in pair]
    for u, unit in enumerate(child["units"]):
        assert unit["depth"] in [p["units"][u]["depth"] for p in pair]
        for name in PER_BLOCK:
            for i, value in enumerate(unit[name]):
                assert value in [p["units"][u][name][i] for p in pair if i < p["units"][u]["depth"]]


def test_depth_that_grows_brings_genes_and_depth_that_shrinks_takes_them() -> None:
    """Mutants of another depth have exactly the genes of the blocks that run, kept ones unchanged where rates are 0."""
    genome = BOTTLENECK.extreme(False)
    deeper = shallower = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        changed = BOTTLENECK.mutate(genome, rng, gene=0.5)
        deeper += changed["units"][0]["depth"] > 1
        for unit in changed["units"]:
            assert {len(unit[name]) for name in PER_BLOCK} == {unit["depth"]}
        shallower += BOTTLENECK.mutate(BOTTLENECK.extreme(True), rng, gene=0.5)["units"][0]["depth"] < 3
    assert deeper > 5
    assert shallower > 5


@settings(max_examples=60)
@given(elastic_spaces(), SEEDS)
def test_costs_lie_between_those_of_the_extremes(space: ElasticSpace, seed: int) -> None:
    """No sub-network costs less than the smallest or more than the biggest, at one resolution."""
    genome = space.sample(np.random.default_rng(seed))
    at = {"resolution": genome["resolution"]} if space.resolutions else {}
    low, mid, high = (subnet(space, {**g, **at}).metrics for g in (space.extreme(False), genome, space.extreme(True)))
    for name in ("params", "macs", "bops"):
        assert low[name] <= mid[name] <= high[name]


@settings(max_examples=40)
@given(elastic_spaces())
def test_the_chain_is_nested(space: ElasticSpace) -> None:
    """From link to link one choice of one unit is raised and nothing lowered: params and MACs never fall; the ends are
    the extremes but for resolution and bits."""
    chain = space.chain()
    for name in ("params", "macs"):
        values = [subnet(space, genome).metrics[name] for genome in chain]
        assert values == sorted(values)
    assert key(chain[-1]) == key(space.extreme(True))
    assert [u["depth"] for u in chain[0]["units"]] == [u.depths[0] for u in space.units]
    levels = sum(len(o) - 1 for u in range(len(space.units)) for n, o in space.choices(u).items() if n != "bits")
    assert len(chain) == levels + 1


def test_a_description_by_hand() -> None:
    """One bottleneck unit on 8 x 8, counted by hand: layers, maps, MACs, and bytes with 4-bit blocks."""
    space = ElasticSpace((1, 8, 8), 10, "bottleneck", 4, (Unit(6, 2, (1,), (3, 5), (2,)),), (6, 8), (4, 32))
    genome = {"resolution": 6, "units": [{"depth": 1, "kernels": [5], "widths": [2], "bits": [4]}]}
    spec = subnet(space, genome)
    assert [(s.name, s.relu) for s in spec.steps] == [
        ("resize", False), ("stem", True), ("units.0.0.widen", True), ("units.0.0.spatial", True),
        ("units.0.0.narrow", False), ("pool", False), ("head", False),
    ]  # fmt: skip
    assert spec.operators[3] == Operator("conv", 8, 8, 5, 2, 8, 6, 6, 4)
    weights = {"stem": 4 * 9, "widen": 8 * 4, "spatial": 8 * 25, "narrow": 6 * 8, "head": 10 * 6 * 4}
    assert spec.metrics["params"] == sum(weights.values()) + 4 + 8 + 8 + 6 + 10
    assert spec.metrics["macs"] == 36 * 36 + 32 * 36 + 200 * 9 + 48 * 9 + 240
    assert spec.metrics["bops"] == 32 * (32 * (36 * 36 + 240) + 4 * (32 * 36 + 200 * 9 + 48 * 9))
    packed = (32 + 200 + 48) // 2
    assert spec.metrics["bytes"] == 4 * (36 + 4 + 240 + 10) + packed + 8 * (8 + 8 + 6)


def test_equal_operators_have_equal_signatures() -> None:
    """What latency depends on is in the signature: another kernel, width or stride changes it; a copy does not."""
    base = Operator("conv", 4, 8, 3, 1, 1, 8, 8, 32)
    assert signature([base]) == signature([Operator("conv", 4, 8, 3, 1, 1, 8, 8, 32)])
    others = [Operator("conv", 4, 8, 5, 1, 1, 8, 8, 32), Operator("conv", 4, 8, 3, 2, 1, 8, 8, 32),
              Operator("conv", 4, 8, 3, 1, 4, 8, 8, 32), Operator("conv", 4, 8, 3, 1, 1, 8, 9, 32)]  # fmt: skip
    assert len({signature([o]) for o in (base, *others)}) == 5


@pytest.mark.parametrize(("changed", "said"), [
    ({"resolution": 7}, r"subnet.resolution = 7 is none of \[5, 6, 8\]"),
    ({"units": []}, "subnet has 0 units, but the super-network 2"),
    ({"units": "none"}, "needs units"),
])  # fmt: skip
def test_a_genome_of_another_space(changed: dict[str, Any], said: str) -> None:
    """What does not belong is told with its place."""
    with pytest.raises(SpaceError, match=said):
        subnet(BOTTLENECK, {**BOTTLENECK.extreme(True), **changed})


@pytest.mark.parametrize(("name", "value", "said"), [
    ("depth", 4, r"units\[1\].depth = 4 is none of \[1, 2\]"),
    ("kernels", [3], r"units\[1\].kernels = \[3\] needs one entry for each of 2 blocks"),
    ("widths", [2, 3], r"units\[1\].widths holds 3, none of \[2, 4\]"),
    ("bits", [4, 5], r"units\[1\].bits holds 5"),
])  # fmt: skip
def test_a_gene_of_another_space(name: str, value: Any, said: str) -> None:
    """A gene that the space does not have is told with its unit."""
    genome = BOTTLENECK.extreme(True)
    genome["units"][1] = {**genome["units"][1], name: value}
    with pytest.raises(SpaceError, match=said):
        BOTTLENECK.check(genome)


@pytest.mark.parametrize("name", ALL)
def test_features_of_the_widest_bits_are_zero(name: str) -> None:
    """Full precision has no quantization features, so that a predictor without them is the full-precision one (APQ)."""
    space = ALL[name]
    assert not any(features(space, space.extreme(True))[1])
    assert any(features(space, space.extreme(False))[1])
