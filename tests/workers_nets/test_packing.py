"""Bits in bytes: what is packed is unpacked, in exactly the bytes that `spaces.nets` says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spaces.nets import network, packed_bytes
from tests.support.nets import trained
from workers.nets.fold import fold
from workers.nets.pack import pack, unpack
from workers.quantizers import packing

WIDTHS = [1, 1.58, 2, 3, 4, 8]


@given(bits=st.sampled_from(WIDTHS), count=st.integers(0, 70), seed=st.integers(0, 2**31))
@settings(max_examples=80, deadline=None)
def test_round_trip(bits: float, count: int, seed: int) -> None:
    """unpack(pack(values)) is values, and the length is packed_bytes, for any width and count."""
    top = 2 if bits == 1.58 else 2 ** int(bits) - 1
    values = np.random.default_rng(seed).integers(0, top + 1, count)
    blob = packing.pack(values, bits)
    assert len(blob) == packed_bytes(count, bits)
    assert packing.unpack(blob, count, bits).tolist() == values.tolist()


def test_layout_is_pinned() -> None:
    """Most significant bit first; ternary with the first value as the smallest digit."""
    assert packing.pack(np.array([3, 0, 1, 2]), 2) == bytes([0b11000110])
    assert packing.pack(np.array([15, 1, 7]), 4) == bytes([0xF1, 0x70])
    assert packing.pack(np.array([2, 1, 0, 0, 0, 1]), 1.58) == bytes([5, 1])


@pytest.mark.parametrize(("values", "bits"), [([4], 2), ([-1], 4), ([3], 1.58)])
def test_values_that_do_not_fit_are_refused(values: list[int], bits: float) -> None:
    """A code outside its width is an error, never a silent wrap."""
    with pytest.raises(ValueError, match="do not fit"):
        packing.pack(np.array(values), bits)


CONFIGS = [
    {"width": 5, "depth": 3, "kernel": 3, "bits": [2, 1.58, 4], "exits": [0, 1]},
    {"width": 3, "depth": 2, "kernel": 5, "bits": [1, 32], "exits": [0]},
    {"width": 4, "depth": 2, "kernel": 1, "bits": [8, 3]},
    {"width": 3, "depth": 3, "kernel": 3, "bits": [4, 32, 2], "exits": [0, 1], "exit_head": 5},
    {"width": 4, "depth": 1, "kernel": 3, "bits": 32},
]


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("shape", [(2, 7, 5), (6,)])
def test_artifact_has_the_described_bytes_and_the_same_weights(config: dict, shape: tuple[int, ...]) -> None:
    """len(pack(net)) is NetSpec.bytes, and every layer comes back with equal codes, scales, weights and biases."""
    net, _ = trained(config, shape)
    folded = fold(net)
    blob = pack(folded)
    spec = network(config, shape, 4)
    assert len(blob) == spec.bytes
    layers = folded.layers()
    assert [layer.layer for layer in layers] == list(spec.layers)
    for stored, layer in zip(unpack(blob, spec), layers, strict=True):
        assert (stored.codes is None) == (layer.codes is None)
        if layer.codes is not None:
            assert np.array_equal(stored.codes, layer.codes)
            assert np.array_equal(stored.scale, layer.scale)
        assert np.array_equal(stored.weight, layer.weight)
        assert np.array_equal(stored.bias, layer.bias)


def test_an_artifact_of_another_network_is_refused() -> None:
    """Bytes too few or too many are an error that says both numbers."""
    net, _ = trained(CONFIGS[2])
    blob = pack(fold(net))
    for wrong in (blob[:-1], blob + b"\0"):
        with pytest.raises(ValueError, match=f"{len(wrong)} bytes"):
            unpack(wrong, net.spec)
