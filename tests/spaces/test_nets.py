"""The built-in network as arithmetic: golden figures worked out by hand, and what signatures tell apart."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spaces.builtin.classify import shape_of
from spaces.data import NAMED
from spaces.describe import describe
from spaces.errors import SpaceError
from spaces.nets import BITS, Layer, NetSpec, network, packed_bytes
from spaces.study import Study
from spaces.task import Task
from tests.support.spaces import STUDY, rng

DIGITS = (1, 8, 8)
configs = st.fixed_dictionaries(
    {"width": st.integers(1, 40), "depth": st.integers(1, 4), "kernel": st.sampled_from([1, 3, 5])},
    optional={"bits": st.lists(st.sampled_from(BITS), min_size=4, max_size=4), "exits": st.lists(st.integers(0, 4))},
)


def net(**config: Any) -> NetSpec:
    return network(config, DIGITS, 10)


def test_golden_figures_of_a_two_block_network() -> None:
    """width 8, kernel 3, bits [4, 32], a head after block 0: every figure by hand."""
    spec = net(width=8, depth=2, kernel=3, bits=[4, 32], exits=[0])
    assert [(x.name, x.op, x.inputs, x.outputs, x.kernel, x.height, x.width, x.bits) for x in spec.layers] == [
        ("blocks.0", "conv", 1, 8, 3, 8, 8, 4),
        ("heads.0", "linear", 32, 10, 1, 1, 1, 8),
        ("blocks.1", "conv", 8, 16, 3, 4, 4, 32),
        ("heads.1", "linear", 64, 10, 1, 1, 1, 32),
    ]
    assert [b.pool for b in spec.blocks] == [True, True]
    assert [e.grid for e in spec.exits] == [(2, 2), (2, 2)]
    assert [b.shape for b in spec.blocks] == [(8, 4, 4), (16, 2, 2)]
    assert spec.params == (72 + 8) + (320 + 10) + (1152 + 16) + (640 + 10)
    assert spec.macs == 72 * 64 + 320 + 1152 * 16 + 640
    assert spec.bops == 72 * 64 * 4 * 8 + 320 * 8 * 8 + (1152 * 16 + 640) * 32 * 32
    assert spec.bytes == (36 + 32 + 32) + (320 + 40 + 40) + (4608 + 64) + (2560 + 40)


def test_golden_bops() -> None:
    """BOPs = MACs x weight bits x activation bits: 3x3 conv 64 to 64 on 56 x 56 (115,605,504 MACs), W8A8."""
    layer = Layer("l", "conv", 64, 64, 3, 56, 56, 8)
    assert layer.macs == 115_605_504
    assert layer.bops == 7_398_752_256


def test_maps_shrink_until_two() -> None:
    """8 x 8 is pooled to 4 x 4 and 2 x 2, then no more; channels double twice and then stay."""
    spec = net(width=4, depth=4, kernel=3)
    assert [b.shape for b in spec.blocks] == [(4, 4, 4), (8, 2, 2), (16, 2, 2), (16, 2, 2)]
    assert [b.pool for b in spec.blocks] == [True, True, False, False]
    assert network({"depth": 1}, (3, 5, 7), 2).blocks[0].shape == (16, 2, 3)


def test_vectors_have_linear_blocks() -> None:
    """Vectors get linear layers of the same widths, no kernel and no pool."""
    spec = network({"width": 8, "depth": 2, "bits": 8}, (13,), 3)
    assert [(x.op, x.inputs, x.outputs, x.kernel) for x in spec.layers] == [
        ("linear", 13, 8, 1), ("linear", 8, 16, 1), ("linear", 16, 3, 1),
    ]  # fmt: skip
    assert not any(b.pool for b in spec.blocks)
    assert [b.shape for b in spec.blocks] == [(8,), (16,)]


def test_defaults_make_any_subset_searchable() -> None:
    """An empty config is width 16, depth 2, kernel 3, float, one exit; one bit-width counts for all blocks."""
    assert net() == net(width=16, depth=2, kernel=3, bits=[32, 32], exits=[])
    assert net(bits=4) == net(bits=[4, 4])
    assert net(depth=1, bits=[4, 8, 8], exits=[0, 1, 2]) == net(depth=1, bits=[4])


@pytest.mark.parametrize(
    ("n", "bits", "size"),
    [(9, 1, 2), (5, 1.58, 1), (6, 1.58, 2), (9, 2, 3), (9, 3, 4), (9, 4, 5), (9, 8, 9), (9, 32, 36), (0, 2, 0)],
)
def test_packed_sizes(n: int, bits: float, size: int) -> None:
    """Packed weights take ceil(n * bits / 8) bytes, five ternary digits one byte."""
    assert packed_bytes(n, bits) == size


@given(configs)
def test_prefixes_grow_to_the_whole(config: dict[str, Any]) -> None:
    """Law: exits rise, each prefix contains the one before with its head, the last is everything."""
    spec = network(config, DIGITS, 10)
    blocks = [e.block for e in spec.exits]
    assert blocks == sorted(set(blocks))
    assert blocks[-1] == config["depth"] - 1
    prefixes = [spec.prefix(k) for k in range(len(spec.exits))]
    for shorter, longer in pairwise(prefixes):
        assert longer[: len(shorter)] == shorter
    assert prefixes[-1] == spec.layers
    assert len({spec.signature(k) for k in range(len(prefixes))}) == len(prefixes)
    assert spec.bytes == sum(x.bytes for x in spec.layers)


def test_a_signature_is_equal_when_the_latency_is() -> None:
    """Bits of 8 or fewer share a signature; width, kernel, exits, float and the input's shape do not."""
    base = net(width=8, bits=[4, 32], exits=[0])
    assert net(width=8, bits=[2, 32], exits=[0]).signature(1) == base.signature(1)
    assert net(width=8, bits=[8, 32], exits=[0]).signature(1) == base.signature(1)
    others = [
        net(width=9, bits=[4, 32], exits=[0]),
        net(width=8, bits=[4, 4], exits=[0]),
        net(width=8, bits=[32, 32], exits=[0]),
        net(width=8, bits=[4, 32]),
        net(width=8, bits=[4, 32], exits=[0], kernel=5),
        network({"width": 8}, (1, 9, 9), 10),
    ]
    seen = {spec.signature(len(spec.exits) - 1) for spec in others} | {base.signature(1), base.signature(0)}
    assert len(seen) == len(others) + 2
    # the first exit of a deeper network with the same first block costs the same
    assert net(width=8, depth=3, bits=[4, 8, 8], exits=[0]).signature(0) == base.signature(0)
    moved = replace(base, blocks=(replace(base.blocks[0], pool=False), base.blocks[1]))
    assert moved.signature(1) != base.signature(1)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"kernel": 2}, "kernel = 2 is even.*use 1 or 3"),
        ({"depth": 0}, r"depth = 0, but the network needs a whole number in \[1, 64\]"),
        ({"width": 2.5}, "width = 2.5"),
        ({"bits": [5, 5]}, "bits = 5 is no width"),
        ({"bits": [True, 2]}, "bits = True"),
        ({"bits": [8]}, "bits has 1 entries for 2 blocks"),
        ({"exits": ["a"]}, "exits holds 'a'"),
        ({"exits": [-1]}, "exits holds -1"),
    ],
)
def test_an_odd_config_is_refused(config: dict[str, Any], said: str) -> None:
    """Values that the network cannot have say value, rule and remedy."""
    with pytest.raises(SpaceError, match=said):
        net(**config)


def test_an_odd_shape_is_refused() -> None:
    """Only vectors and images of channels, height and width are taken."""
    with pytest.raises(SpaceError, match=r"\(8, 8\), but \[C, H, W\] or \[F\]"):
        network({}, (8, 8), 10)


def test_describe_is_the_network_of_the_config() -> None:
    """The description has the network's figures, one prefix an exit, and nothing for a user's task."""
    study = Study.loads(STUDY)
    for seed in range(20):
        config = study.space.sample(rng(seed))
        found = describe(study.task, study.space, config)
        assert found is not None
        spec = network(study.space.nested(config), DIGITS, 10)
        assert found.metrics == {"params": spec.params, "macs": spec.macs, "bops": spec.bops, "bytes": spec.bytes}
        assert found.prefixes == tuple(spec.signature(k) for k in range(len(spec.exits)))
        assert found.signature == found.prefixes[-1]
    assert describe(Task(kind="function", name="a:b"), study.space, config) is None


@pytest.mark.parametrize("name", sorted(NAMED.keys() - {"mnist1d"}))
def test_named_data_has_the_shape_that_is_written_down(name: str) -> None:
    """The shapes in the table are those of scikit-learn's sets."""
    datasets = pytest.importorskip("sklearn.datasets")
    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    known = shape_of({"data": name})
    size = 1
    for n in known.shape:
        size *= n
    assert (x.shape[1], len(set(y.tolist()))) == (size, known.classes)
