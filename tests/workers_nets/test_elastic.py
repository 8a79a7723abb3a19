"""A super-network and what is cut out of it: one set of weights, the same answers, exactly the bytes that were said."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from spaces.elastic import ElasticSpace, Genome, once_for_all
from spaces.operators import Operator
from spaces.subnets import subnet
from tests.support.elastic import ALL, BOTTLENECK, RESIDUAL, VECTOR
from workers.measure import session
from workers.nets.alone import onnx_of, sample
from workers.nets.elastic import ElasticLayer, Supernet
from workers.nets.subnet import cut, pack, unpack
from workers.nets.subnet_graph import build

NAMES = pytest.mark.parametrize("name", ALL)


def lively(space: ElasticSpace, seed: int = 0) -> Supernet:
    """A super-network whose every parameter is random: gains of all signs, maps that are no identities."""
    net = Supernet(space, seed)
    g = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if ".maps." in name:
                parameter.add_(0.2 * torch.randn(parameter.shape, generator=g))
            elif "weight" not in name:
                parameter.copy_(torch.randn(parameter.shape, generator=g))
    return net


def batch(space: ElasticSpace, n: int = 24, seed: int = 5) -> torch.Tensor:
    return torch.rand(n, *space.input_shape, generator=torch.Generator().manual_seed(seed)) * 2 - 0.5


def some(space: ElasticSpace, count: int = 6) -> list[Genome]:
    rng = np.random.default_rng(3)
    return [space.extreme(True), space.extreme(False), *(space.sample(rng) for _ in range(count))]


def test_706_more_parameters_a_layer() -> None:
    """Golden (Once-for-All): a layer with kernels 3, 5, 7 has 25 x 25 + 9 x 9 = 706 parameters for its kernel maps."""
    largest = Operator("conv", 8, 8, 7, 1, 8, 8, 8, 32)
    layer = ElasticLayer(largest, (3, 5, 7), False, torch.Generator())
    assert sum(p.numel() for p in layer.maps.values()) == 706
    assert set(once_for_all().units[0].kernels) == {3, 5, 7}


def test_kernels_are_centres_at_first() -> None:
    """Before any training a smaller kernel is the centre of the largest; afterwards each is a map of the one above."""
    net = Supernet(BOTTLENECK, 0)
    layer = net.layer("units.0.0.spatial")
    seven = layer.at_kernel(7)
    assert torch.equal(layer.at_kernel(5), seven[:, :, 1:6, 1:6])
    assert torch.equal(layer.at_kernel(3), seven[:, :, 2:5, 2:5])
    lived = lively(BOTTLENECK).layer("units.0.0.spatial")
    five, three = lived.at_kernel(5), lived.at_kernel(3)
    wanted = torch.einsum("cij,ijk->ck", five[:, 0, 1:4, 1:4], lived.maps["3"].view(3, 3, 9)).view(-1, 1, 3, 3)
    assert torch.allclose(three, wanted, atol=1e-6)
    assert not torch.allclose(three, five[:, :, 1:4, 1:4], atol=1e-2)


@NAMES
def test_a_subnet_is_the_biggest_with_all_else_masked(name: str) -> None:
    """A sub-network's answers are those of the biggest whose other weights are 0: channels beyond a width, the rim of a
    kernel, and whole blocks beyond a depth, which then add nothing."""
    space = replace(ALL[name], bits=(32,))  # rounding to the grid of a whole layer is not what is compared here
    x = batch(space)
    for genome in some(space):
        spec = subnet(space, genome)
        net = lively(space)
        for layer in net.layers.values():  # the rim of a kernel is 0 only where maps are identities
            for parameter in layer.maps.values():
                torch.nn.init.eye_(parameter)
        said = net(x, spec)
        whole = lively(space)
        whole.load_state_dict(net.state_dict())
        parts = {s.name: s.operator for s in spec.layers}
        with torch.no_grad():
            for step in whole.biggest.layers:
                layer, part = whole.layer(step.name), parts.get(step.name)
                if part is None:
                    layer.weight.zero_()
                    if layer.gain is not None and step.name.endswith("narrow"):
                        layer.shift.zero_()
                    continue
                size = layer.kernels[-1]
                w = layer.weight.view(layer.outputs, layer.inputs, size, size)
                mask = torch.zeros_like(w)
                rim = (size - part.kernel) // 2
                mask[: part.outputs, : part.inputs // part.groups, rim : size - rim, rim : size - rim] = 1
                w.mul_(mask)
                if step.name.endswith("spatial") or step.name.endswith("widen"):
                    layer.shift[part.outputs :] = 0
        biggest = {**space.extreme(True), **({"resolution": genome["resolution"]} if space.resolutions else {})}
        assert torch.allclose(whole(x, subnet(space, biggest)), said, atol=2e-4)


@NAMES
def test_the_full_genome_is_the_full_network(name: str) -> None:
    """The biggest sub-network has every weight of the super-network but the kernel maps: a cut of it holds them all."""
    space = ALL[name]
    net = Supernet(space, 0)
    maps = sum(p.numel() for n, p in net.named_parameters() if ".maps." in n)
    gains = sum(layer.gain.numel() for s in net.biggest.layers if (layer := net.layer(s.name)).gain is not None)
    assert sum(p.numel() for p in net.parameters()) - maps - gains == net.biggest.metrics["params"]
    found = cut(net, net.biggest, batch(space))
    assert sum(c.weight.numel() + c.bias.numel() for c in found.cuts.values()) == net.biggest.metrics["params"]


@NAMES
def test_what_is_cut_out_answers_as_inside(name: str) -> None:
    """On the samples of its statistics a cut answers what the super-network answers on them as a batch."""
    space = ALL[name]
    net, x = lively(space), batch(space)
    for genome in some(space):
        spec = subnet(space, genome)
        with torch.no_grad():
            inside = net(x, spec)
        found = cut(net, spec, x)
        assert torch.allclose(found(x), inside, atol=2e-4, rtol=1e-3)
        assert torch.allclose(found(x[:3]), inside[:3], atol=2e-4, rtol=1e-3)  # samples do not see one another


@NAMES
def test_described_is_stored_is_run(name: str) -> None:
    """The packed file has exactly the described bytes, holds the weights that run, and the ONNX file answers so."""
    space = ALL[name]
    net, x = lively(space), batch(space)
    for genome in some(space):
        spec = subnet(space, genome)
        found = cut(net, spec, x)
        blob = pack(found)
        assert len(blob) == spec.metrics["bytes"]
        for layer, (weight, bias) in unpack(blob, spec).items():
            np.testing.assert_allclose(weight, found.cuts[layer].weight.numpy().reshape(weight.shape), rtol=1e-6)
            np.testing.assert_array_equal(bias, found.cuts[layer].bias.numpy())
        wanted = [one.numpy() for one in found.exits(x)]
        np.testing.assert_array_equal(wanted[-1], found(x).numpy())
        for last in range(len(space.exits) + 1):
            answers = session(build(found, last)).run(None, {"x": x.numpy()})
            assert len(answers) == last + 1
            for answer, said in zip(answers, wanted, strict=False):
                np.testing.assert_allclose(answer, said, atol=3e-4, rtol=1e-3)
        assert build(found, len(space.exits)) == build(found)
    with pytest.raises(ValueError, match="no weights of this sub-network"):
        unpack(blob + b"0", spec)


@pytest.mark.parametrize("space", [BOTTLENECK, RESIDUAL, VECTOR], ids=list(ALL)[:3])
def test_widths_and_bits_share_integers(space: ElasticSpace) -> None:
    """Codes of fewer bits are the rounded shift of those of 8, and a narrower layer's are a corner of the whole's."""
    net = Supernet(space, 0)
    low, high = (subnet(space, space.extreme(big)) for big in (False, True))
    kernels = [u["kernels"][0] for u in high.genome["units"]]
    bits = [b for b in space.bits if b < 32]
    codes = {}
    for b in bits:
        for spec in (low, high):
            units = [
                {**u, "bits": [b] * u["depth"], "kernels": [k] * u["depth"]}
                for u, k in zip(spec.genome["units"], kernels, strict=True)
            ]
            genome = {**spec.genome, "units": units}
            found = cut(net, subnet(space, genome), batch(space))
            for name in ("widen", "narrow"):  # the first has elastic outputs, the second elastic inputs
                codes[b, spec is high, name] = found.cuts[f"units.0.0.{name}"].codes
    for b, name in product(bits, ("widen", "narrow")):
        small, large = codes[b, False, name], codes[b, True, name]
        assert small is not None
        assert large is not None
        assert small.shape != large.shape
        assert torch.equal(small, large[: small.shape[0], : small.shape[1]])
        top = codes[bits[-1], True, name]
        shift = bits[-1] - b
        rounded = torch.floor(top.double() / 2**shift + 0.5).clamp(-(2 ** (b - 1)), 2 ** (b - 1) - 1)
        assert torch.equal(large.double(), rounded)


@NAMES
def test_sorting_channels_changes_no_answer(name: str) -> None:
    """The biggest sub-network answers as before, and the columns that read each block's inside fall in L1 norm."""
    space = ALL[name]
    net, x = lively(space), batch(space)
    full = {**space.extreme(True)}
    spec = subnet(space, full)
    with torch.no_grad():
        before = net(x, spec)
        net.sort_channels()
        assert torch.allclose(net(x, spec), before, atol=1e-3)
    for step in spec.layers:
        if step.name.endswith("narrow"):
            layer = net.layer(step.name)
            norms = layer.weight.detach().view(layer.outputs, layer.inputs, -1).abs().sum((0, 2))
            assert torch.equal(norms, norms.sort(descending=True).values)


def test_blocks_with_a_shortcut_begin_as_identities() -> None:
    """A fresh network answers the same at any depth: what a later block adds is 0 at first (BigNAS)."""
    net = Supernet(VECTOR, 1)
    x = batch(VECTOR)
    with torch.no_grad():
        answers = [net(x, subnet(VECTOR, g)) for g in some(VECTOR)]
    assert all(torch.equal(a, answers[0]) for a in answers)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 3), st.integers(1, 9), st.integers(1, 2), st.sampled_from([1, 3, 5]), st.booleans())
def test_an_operator_alone_has_the_shape_that_it_says(c: int, side: int, stride: int, kernel: int, apart: bool) -> None:
    """The model of a single operator for the latency table runs, and answers a map of the described size."""
    operator = Operator("conv", c, c if apart else 2 * c, kernel, stride, c if apart else 1, side, side, 32)
    (y,) = session(onnx_of(operator)).run(None, {"x": sample(operator)})
    assert y.shape == (1, operator.outputs, operator.out_height, operator.out_width)
    assert operator.macs == operator.weights * y.shape[2] * y.shape[3]


def test_resizing_is_bilinear() -> None:
    """The two matrices of a resize give what torch's bilinear interpolation gives."""
    from workers.nets.elastic import resizers

    operator = Operator("resize", 1, 1, 5, 1, 1, 8, 8, 32)
    x = batch(ElasticSpace((1, 8, 8), 2, "residual", 1, ()), 3)
    rows, columns = resizers(operator)
    wanted = functional.interpolate(x, size=(5, 5), mode="bilinear", align_corners=False)
    assert torch.allclose(rows @ x @ columns.T, wanted, atol=1e-6)
