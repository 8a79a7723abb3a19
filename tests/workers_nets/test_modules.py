"""The torch network is the one its spec describes, and folding changes nothing but the form."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from spaces.errors import SpaceError
from spaces.nets import network
from tests.support.nets import trained
from workers.nets.fold import Folded, FoldedNet, Grid, fold
from workers.nets.modules import Net
from workers.quantizers.activations import Activation
from workers.quantizers.weights import levels, unit

CONFIG = {"width": 4, "depth": 3, "kernel": 3, "bits": [4, 32, 8], "exits": [0, 1]}


def grid(x: Tensor, g: Grid | None) -> Tensor:
    """What a runtime does: uint8 codes with a zero point, and back."""
    if g is None:
        return x
    return (torch.clamp(torch.round(x / g.scale) + g.zero_point, 0, 255) - g.zero_point) * g.scale


def deployed(net: FoldedNet, x: Tensor) -> list[Tensor]:
    """The folded network written a second time, with nothing of `modules`."""
    out = []
    for block, spec in zip(net.blocks, net.spec.blocks, strict=True):
        x = _layer(block, grid(x, block.enter))
        x = grid(torch.relu(x), block.leave)
        x = functional.max_pool2d(x, 2) if spec.pool else x
        for exit_ in net.spec.exits:
            if exit_.block == spec.index:
                seen = x if exit_.grid is None else functional.adaptive_avg_pool2d(x, exit_.grid).flatten(1)
                head = net.heads[spec.index]
                out.append(_layer(head, grid(seen, head.enter)))
    return out


def _layer(folded: Folded, x: Tensor) -> Tensor:
    layer = folded.layer
    w, b = torch.from_numpy(folded.weight), torch.from_numpy(folded.bias)
    if layer.op == "linear":
        return functional.linear(x, w, b)
    return functional.conv2d(x, w.view(layer.outputs, layer.inputs, layer.kernel, layer.kernel), b, padding="same")


@pytest.mark.parametrize("bits", [[32, 32, 32], [4, 32, 8], [2, 8, 3], [32, 1, 1.58]])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 9, 6), (5,)])
def test_folded_network_answers_as_the_trained_one(bits: list[float], shape: tuple[int, ...]) -> None:
    """Codes, scales and biases give the logits of the module in eval mode.

    Tolerance: float32 sums in another order move a value across a rounding boundary of its grid once in a while, one
    level of 255; all but 2 % of the logits are equal to 1e-4 of their range.
    """
    net, x = trained({**CONFIG, "bits": bits}, shape)
    with torch.no_grad():
        expected = net(x)
    for a, b in zip(deployed(fold(net), x), expected, strict=True):
        off = ((a - b).abs() > 1e-4 * b.abs().max()).float().mean().item()
        assert off <= (0.0 if min(bits) == 32 else 0.02)


def test_maps_and_heads_have_the_specified_shapes() -> None:
    """Each block puts out the spec's shape, each exit [B, classes]; weights are [outputs, fan-in]."""
    for shape in ((1, 8, 8), (3, 9, 6), (2, 1, 5), (7,)):
        net = Net(network(CONFIG, shape, 5), 0).eval()
        x = torch.rand(2, *shape)
        assert [tuple(o.shape) for o in net(x)] == [(2, 5)] * 3
        for module, block in zip(net.blocks, net.spec.blocks, strict=True):
            x = module(x)
            assert tuple(x.shape[1:]) == block.shape
            assert module.weight.matrix.numel() == block.layer.weights


def test_pool_then_quantize_is_quantize_then_pool() -> None:
    """Max-pooling commutes with quantization, bit for bit: what `Stage` relies on."""
    x = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0)).relu()
    act = Activation().train()
    act(x)
    act.eval()
    assert torch.equal(act(functional.max_pool2d(x, 2)), functional.max_pool2d(act(x), 2))


def test_activation_keeps_a_moving_maximum() -> None:
    """The first batch sets the maximum, later ones move it by a tenth; eval changes nothing."""
    act = Activation().train()
    act(torch.tensor([0.0, 2.0]))
    assert act.maximum.item() == 2.0
    act(torch.tensor([0.0, 3.0]))
    assert act.maximum.item() == pytest.approx(2.1)
    act.eval()
    assert act(torch.tensor([100.0])).item() == pytest.approx(2.1)
    assert act.maximum.item() == pytest.approx(2.1)


@pytest.mark.parametrize("bits", [1, 1.58, 2, 3, 4, 8])
def test_codes_are_small_integers_that_mean_the_weights(bits: float) -> None:
    """codes · unit · scale is what the network computed with; the codes use no more than 2^bits values."""
    net, _ = trained({"width": 6, "depth": 1, "bits": bits})
    weight = net.blocks[0].weight
    codes = weight.codes()
    product = codes * unit(levels(bits)) * weight.scale()[:, None]
    torch.testing.assert_close(product, weight(), rtol=1e-6, atol=0)
    assert len(np.unique(codes.numpy())) <= round(2**bits)
    assert codes.abs().max() <= 127


@pytest.mark.parametrize(("bits", "expected"), [(1, "mean"), (1.58, 1), (2, 1), (3, 3), (4, 7), (8, 127)])
def test_first_scale_is_the_tables(bits: float, expected: str | int) -> None:
    """A new weight's scale is mean |w| for binary, max |w| for the elastic grids, max |w| / Qp for LSQ (ParetoQ)."""
    weight = Net(network({"width": 6, "depth": 1, "bits": bits}, (1, 8, 8), 4), 0).blocks[0].weight
    size = weight.matrix.abs()
    wanted = size.mean(1) if expected == "mean" else size.amax(1) / expected
    torch.testing.assert_close(weight.scale(), wanted)


def test_equal_seeds_give_equal_networks() -> None:
    """First weights depend on the seed alone, not on torch's global generator."""
    torch.manual_seed(1)
    a = Net(network(CONFIG, (1, 8, 8), 4), 3).state_dict()
    torch.manual_seed(2)
    b = Net(network(CONFIG, (1, 8, 8), 4), 3).state_dict()
    assert all(torch.equal(a[k], b[k]) for k in a)
    c = Net(network(CONFIG, (1, 8, 8), 4), 4).state_dict()
    assert not torch.equal(a["blocks.0.weight.matrix"], c["blocks.0.weight.matrix"])


def test_unknown_width_says_which_exist() -> None:
    """A width without a quantizer is the user's to mend."""
    with pytest.raises(SpaceError, match=r"16 bits.*1\.58"):
        levels(16)
