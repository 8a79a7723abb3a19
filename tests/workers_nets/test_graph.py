"""The exported ONNX file: it says what torch says, and its quantized layers run on integer kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.support.nets import trained
from workers.measure import kernel_bits, session
from workers.nets.fold import FoldedNet, fold
from workers.nets.graph import BIAS_LIMIT, build, positive
from workers.nets.modules import Net

CONFIG: dict[str, Any] = {"width": 6, "depth": 3, "kernel": 3, "exits": [0, 1]}


def run(model: bytes, x: torch.Tensor) -> list[np.ndarray]:
    return session(model).run(None, {"x": x.numpy()})


def bounds(net: FoldedNet) -> list[float]:
    """How far each exit's logits may be from torch's, at the worst.

    Both sides round nearly the same number, so a value on a grid differs by one level where that number is near a
    boundary (at most `scale`), and an integer bias by half of scale_in · scale_w. Errors grow by Σ|w| of a channel.
    1e-5 of a layer's reach covers float32 sums in another order.
    """
    out, error, step = [], 0.0, 0.0
    for block, spec in zip(net.blocks, net.spec.blocks, strict=True):
        if block.enter is not None:
            error, step = error + block.enter.scale, block.enter.scale
        gain = float(np.abs(block.weight).sum(1).max())
        own = 0.0 if block.scale is None else 0.5 * step * float(np.abs(block.scale).max())
        error = gain * error + own + 1e-5 * gain
        if block.leave is not None:
            error, step = error + block.leave.scale, block.leave.scale
        if spec.index in net.heads:
            head = net.heads[spec.index]
            first = net.hidden.get(spec.index, head)
            there, level = (error, step) if first.enter is None else (error + first.enter.scale, first.enter.scale)
            if first is not head:
                inner = float(np.abs(first.weight).sum(1).max())
                rounding = 0.0 if first.scale is None else 0.5 * level * float(np.abs(first.scale).max())
                there = inner * there + rounding + 1e-5 * inner
                if first.leave is not None:
                    there, level = there + first.leave.scale, first.leave.scale
            bias = 0.0 if head.scale is None else 0.5 * level * float(np.abs(head.scale).max())
            reach = float(np.abs(head.weight).sum(1).max())
            out.append(reach * there + bias + 1e-5 * reach)
    return out


@pytest.mark.parametrize("exits", [{"exits": []}, {"exits": [0, 1]}, {"exits": [0, 1], "exit_head": 5}])
@pytest.mark.parametrize("bits", [[32] * 3, [8] * 3, [2, 32, 4], [32, 1, 1.58], [3, 4, 32]])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 9, 6), (13,)])
def test_runtime_agrees_with_torch(bits: list[float], shape: tuple[int, ...], exits: dict[str, Any]) -> None:
    """Logits of the file are within the worst case of rounding, and on average within a tenth of it."""
    net, x = trained({**CONFIG, "bits": bits, **exits}, shape)
    folded = fold(net)
    with torch.no_grad():
        expected = [e.numpy() for e in net(x)]
    for got, want, bound in zip(run(build(folded), x), expected, bounds(folded), strict=True):
        off = np.abs(got - want)
        assert off.max() <= bound
        assert off.mean() <= bound / 10


def test_prefix_is_the_beginning_of_the_whole() -> None:
    """The model up to an exit answers that exit and all before it, with the whole model's logits."""
    net, x = trained({**CONFIG, "bits": [8, 32, 4]})
    folded = fold(net)
    whole = run(build(folded), x)
    for k in range(3):
        prefix = run(build(folded, k), x)
        assert len(prefix) == k + 1
        for a, b in zip(prefix, whole, strict=False):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)  # float32 layers may be fused in another way


@pytest.mark.parametrize("shape", [(1, 8, 8), (2, 12, 12), (13,)])
def test_eight_bits_and_fewer_run_on_integer_kernels(shape: tuple[int, ...]) -> None:
    """In the runtime's own graph each layer of 8 bits or fewer is an integer kernel, and each float layer is not."""
    net, _ = trained({**CONFIG, "bits": [2, 32, 8]}, shape)
    found = kernel_bits(build(fold(net)))
    assert found == {layer.name: layer.kernel_bits for layer in net.spec.layers}
    assert found == {"blocks.0": 8, "heads.0": 8, "blocks.1": 32, "heads.1": 32, "blocks.2": 8, "heads.2": 8}


@pytest.mark.parametrize("exits", [[], [0], [0, 1]])
@pytest.mark.parametrize("shape", [(1, 8, 8), (2, 5, 5), (13,)])
@pytest.mark.parametrize("bits", [[8, 32, 8], [32, 32, 8], [8, 32, 32], [32, 8, 32]])
def test_a_float_layer_stays_float_between_quantized_ones(
    bits: list[int], shape: tuple[int, ...], exits: list[int]
) -> None:
    """The runtime may not quantize by itself what the config left at 32 bits (it would, between Q and DQ)."""
    net, _ = trained({**CONFIG, "bits": bits, "exits": exits}, shape, steps=1)
    folded = fold(net)
    for k in range(len(net.spec.exits)):
        found = kernel_bits(build(folded, k))
        assert found == {layer.name: layer.kernel_bits for layer in net.spec.prefix(k)}


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_channels_that_batch_norm_turns_or_switches_off(bits: int) -> None:
    """A negative factor turns codes around; a factor of 0 leaves the bias, whatever its size."""
    net, x = trained({**CONFIG, "depth": 2, "bits": bits})
    for block in net.blocks:
        with torch.no_grad():
            norm = block.norm
            assert isinstance(norm, nn.BatchNorm2d)
            norm.weight[0] *= -1
            norm.weight[1] = 0.0
            norm.weight[2] = 1e-12
            norm.bias[1:3] = torch.tensor([0.7, 0.3])
    refresh(net, x)
    folded = fold(net)
    with torch.no_grad():
        expected = [e.numpy() for e in net(x)]
    for got, want, bound in zip(run(build(folded), x), expected, bounds(folded), strict=True):
        assert np.abs(got - want).max() <= bound


def refresh(net: Net, x: torch.Tensor) -> None:
    """Let the activation scales see the changed network."""
    for module in net.modules():
        if hasattr(module, "maximum"):
            module.maximum.zero_()
            module.train()
    with torch.no_grad():
        net(x)
    net.eval()


def test_scales_become_positive_and_biases_fit() -> None:
    """After `positive`, codes times scale is the weight where the bias allows it, and no bias overflows int32."""
    codes = np.array([[-8, 7], [3, -1], [127, -127]], np.int8)
    scale = np.array([-0.5, 0.25, 1e-20], np.float32)
    bias = np.array([1, -2, 3], np.float32)
    turned, wide = positive(codes, scale, bias, 0.01)
    assert turned.tolist() == [[8, -7], [3, -1], [0, 0]]
    assert (wide > 0).all()
    assert (np.abs(bias) / (0.01 * wide.astype(np.float64)) <= BIAS_LIMIT * (1 + 1e-6)).all()
    np.testing.assert_array_equal(turned[:2] * wide[:2, None], codes[:2] * scale[:2, None])
