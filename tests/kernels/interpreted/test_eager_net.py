"""A network whose linear layers run by the interpreted kernels of `lowbit_linear`: the same answers, and what ran."""

from __future__ import annotations

import pytest
import torch

from spaces.kernels import gathered
from spaces.nets import network
from workers.measure import as_float, untrained
from workers.nets.eager import EagerNet, Planes, entering, kernel_bits, ran
from workers.nets.fold import fold
from workers.nets.modules import Net

CPU = torch.device("cpu")


@pytest.mark.parametrize("bits", [[1, 4], [8, 32], [1.58, 2]], ids=str)
def test_a_network_by_kernels(bits: list[float]) -> None:
    """Layers of few bits lie in planes, the others do not; with inputs in floats answers are those of float32, to
    roundings of sums of some ten terms of about 1; the record says the kernel, the bits and the reason."""
    net = untrained(network({"width": 9, "depth": 2, "exits": [0], "bits": bits, "activation_bits": 32}, (11,), 3))
    x = torch.randn(1, 11, generator=torch.Generator().manual_seed(0))
    small = EagerNet(net, low_bit=CPU)
    assert [isinstance(block, Planes) for block in small.blocks] == [b < 32 for b in bits]
    with torch.inference_mode():
        for found, wanted in zip(small(x), EagerNet(as_float(net))(x), strict=True):
            torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
    used = [kernel_bits(block, CPU, low_bit=True) for block in net.blocks]
    assert used == [2 if b == 1.58 else int(b) for b in bits]
    lines = gathered(ran(layer, CPU, low_bit=True) for layer in net.blocks)
    assert len(lines) == len([b for b in bits if b < 32])
    for n, line in zip(used, lines, strict=False):
        assert f"runs at {n} by lowbit_linear, triton: interpreted" in line


def test_a_network_by_kernels_of_int8_inputs() -> None:
    """Inputs of few bits are rounded as in training: answers are the fake-quantized network's."""
    net = Net(network({"width": 9, "depth": 2, "exits": [0], "bits": [1, 4]}, (11,), 3), seed=0)
    x = torch.randn(8, 11, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        net.train()(x)
    folded = fold(net.eval())
    with torch.inference_mode():
        for found, wanted in zip(EagerNet(folded, low_bit=CPU)(x[:1]), net(x[:1]), strict=True):
            torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
    lines = gathered(ran(layer, CPU, low_bit=True, reads=entering(folded)[layer.layer.name]) for layer in folded.blocks)
    assert [f"runs at {n} by lowbit_linear of int8 inputs, triton: interpreted" in line
            for n, line in zip((1, 4), lines, strict=True)] == [True, True]  # fmt: skip
