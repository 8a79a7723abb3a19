"""The network in torch: bit-planes answer what floats answer, a layer's kernel is the chooser's, heads with a hidden
layer run."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from searchd.wire import JobSpec
from spaces.nets import network
from workers.measure import as_float, measure, session, untrained
from workers.nets.eager import EagerNet, Plain, Planes, entering, format_of, kernel_bits, kernel_on, ran
from workers.nets.fold import FoldedNet, _grid, fold
from workers.nets.graph import build
from workers.nets.modules import Net
from workers.quantizers.activations import Activation

CPU = torch.device("cpu")
HERE = kernel_on(CPU)
THERE = HERE.provider not in ("torch", "reference")
"""Whether this machine has a kernel of few bits."""


def vectors(bits: Any, **more: Any) -> FoldedNet:
    return untrained(network({"width": 24, "depth": 2, "exits": [0], "bits": bits, **more}, (19,), 5))


@pytest.mark.parametrize("more", [{}, {"granularity": "tensor"}, {"granularity": "group", "group": 7}], ids=str)
@pytest.mark.parametrize("bits", [1, 1.58, 2, 3, 4, 8])
def test_planes_are_the_same_layer(bits: float, more: dict[str, Any]) -> None:
    """Every width, however weights share scales: a layer in planes answers what its float weights do, with and without
    its ReLU, to float32's roundings of sums of up to 48 terms."""
    x = torch.randn(3, 48, generator=torch.Generator().manual_seed(0))
    for layer in vectors(bits, **more).layers():
        inputs = x[:, : layer.layer.inputs]
        for relu in (True, False):
            wanted, found = Plain(layer)(inputs, relu=relu), Planes(layer)(inputs, relu=relu)
            assert float((found - wanted).abs().max()) <= 1e-5 * float(wanted.abs().max() + 1)
        assert Planes(layer).planes.shape[0] == (2 if layer.layer.bits == 1.58 else int(layer.layer.bits))


def trained(config: dict[str, Any], shape: tuple[int, ...]) -> tuple[Net, FoldedNet]:
    """A network that has seen one batch, as it is trained, and folded."""
    net = Net(network({"width": 24, "depth": 2, "exits": [0], **config}, shape, 5), seed=3)
    x = torch.randn(64, *shape, generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        net.train()(x if len(shape) == 1 else x.abs().clamp_max(1))
    return net.eval(), fold(net)


@pytest.mark.skipif(not THERE, reason=HERE.why)
@pytest.mark.parametrize("more", [
    {"bits": 1}, {"bits": [2, 8]}, {"bits": 1.58, "activation_bits": 4}, {"bits": [4, 3], "activation_bits": [8, 4]},
    {"bits": 4, "granularity": "group", "group": 7}, {"bits": 8, "exit_head": 9}, {"bits": 3, "activation_bits": 32},
    {"bits": [8, 4], "activation_bits": 2},
], ids=str)  # fmt: skip
def test_integers_in_are_the_trained_network(more: dict[str, Any]) -> None:
    """Inputs rounded to the grids that training left, signed ones and those of a ReLU: all exits answer what the
    fake-quantized network does, to roundings of sums of some terms of about 1 (no value lies that near a border)."""
    net, folded = trained(more, (19,))
    x = 1.5 * torch.randn(5, 19, generator=torch.Generator().manual_seed(5))
    with torch.inference_mode():
        for found, wanted in zip(EagerNet(folded, low_bit=CPU)(x), net(x), strict=True):
            torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
    floats = more.get("activation_bits") == 32
    for layer in folded.layers():
        reads = entering(folded).get(layer.layer.name)
        assert (reads is None) == floats
        said = ran(layer, CPU, low_bit=True, reads=reads)[1]
        assert said.endswith("by lowbit_linear" if floats else "by lowbit_linear of int8 inputs")


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("signed", [False, True])
def test_a_layer_rounds_its_inputs_as_training_does(bits: int, signed: bool) -> None:
    """Every level, borders and what is cut off at both ends: the answer, to float32's roundings of 19 terms."""
    (layer, *_) = vectors(4).layers()
    act = Activation(signed, bits)
    act.maximum.fill_(0.7)
    grid = _grid(act)
    assert grid is not None
    planes = Planes(layer, grid)
    x = torch.linspace(-300.0, 300.0, 1201).mul(act.scale())[: 1201 // 19 * 19].view(-1, 19)
    exact = Plain(layer)(act.eval()(x), relu=False)
    assert float((planes(x, relu=False) - exact).detach().abs().max()) <= 1e-5 * float(exact.abs().max() + 1)


def test_what_a_pool_leaves_is_on_no_grid() -> None:
    """A head behind a pool reads floats where nothing rounds them again; one that pools nothing reads its
    block's grid; a convolution stays float32."""
    _, folded = trained({"width": 4, "depth": 2, "bits": 4}, (1, 9, 9))
    assert entering(folded)["blocks.0"].high == 255
    assert entering(folded)["heads.0"] is folded.heads[0].enter is not None
    _, wide = trained({"width": 4, "depth": 2, "bits": 32, "activation_bits": 8}, (1, 9, 9))
    assert wide.blocks[0].leave is not None
    assert wide.heads[0].enter is None
    assert "heads.0" not in entering(wide)
    _, flat = trained({"width": 4, "depth": 1, "exits": [], "bits": 4}, (1, 4, 4))
    assert entering(flat)["heads.0"] is flat.blocks[0].leave
    assert entering(as_float(folded)) == {}


def test_what_runs_is_what_the_chooser_says() -> None:
    """A linear layer of integers at its own bits where there is a kernel, with the chooser's reason; else float32, with
    that; a convolution and a float layer never; and only when asked for."""
    first, _, second, last = vectors([4, 32]).layers()
    layer, what, why = ran(first, CPU, low_bit=True)
    assert layer is first.layer
    assert HERE.why in why
    assert what == ("runs at 4 by lowbit_linear" if THERE else "computed as float32")
    assert kernel_bits(first, CPU, low_bit=True) == (4 if THERE else 32)
    assert ran(first, CPU, low_bit=False)[1:] == ("computed as float32", "kernels of few bits were not asked for")
    assert ran(second, CPU, low_bit=True)[1] == ran(last, CPU, low_bit=True)[1] == "computed as float32"
    image = untrained(network({"width": 4, "depth": 1, "bits": 4}, (1, 6, 6), 3))
    assert "convolutions" in ran(image.blocks[0], CPU, low_bit=True)[2]
    bare = as_float(vectors(4))
    assert ran(bare.blocks[0], CPU, low_bit=True)[1] == "computed as float32"


def test_the_format_of_a_width() -> None:
    """Odd integers for binary and two bits; three levels in two bits; two's complement above."""
    formats = [format_of(vectors(bits).blocks[0]) for bits in (1, 1.58, 2, 3, 8)]
    assert [(f.bits, f.bipolar) for f in formats] == [(1, True), (2, False), (2, True), (3, False), (8, False)]


@pytest.mark.parametrize("shape", [(19,), (1, 9, 9)], ids=str)
def test_heads_with_a_hidden_layer(shape: tuple[int, ...]) -> None:
    """Exits whose head has a hidden layer answer what the exported float network answers."""
    config = {"width": 6, "depth": 3, "exits": [0, 1], "exit_head": 7, "bits": [8, 32, 4]}
    net = as_float(untrained(network(config, shape, 5)))
    x = np.random.default_rng(1).random((3, *shape), dtype=np.float32)
    wanted = session(build(net)).run(None, {"x": x})
    found = EagerNet(net, low_bit=CPU)(torch.from_numpy(x))
    assert len(found) == len(wanted) == 3
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a.numpy(), b, rtol=1e-4, atol=1e-4)


def test_a_measure_job_says_what_ran() -> None:
    """With kernels of few bits asked for: the bits that each block ran with and a line with the chooser's reason, and
    what float32 costs where one ran; without, float32 all over."""
    job = JobSpec(
        id="j", study="s", trial=0, attempt=1, kind="measure", config={}, artifacts=".", signature="x",
        nested={"width": 16, "depth": 2, "bits": [1, 4]}, runtime="torch", low_bit=True,
        task={"kind": "classify", "name": "classify", "options": {"data": "iris"}},
    )  # fmt: skip
    found = measure(job)
    assert found["kernel_bits"] == ([1, 4] if THERE else [32, 32])
    assert ("float32_ms" in found) == THERE
    one, four, head = found["kernels"]
    assert one.startswith("1 bit, linear: " + ("runs at 1 by lowbit_linear" if THERE else "computed as float32"))
    assert one.endswith(f"{HERE.why} (blocks.0)")
    assert four.startswith("4 bits, linear: ")
    assert head.endswith("(heads.1)")
    plain = measure(job.model_copy(update={"low_bit": False}))
    assert plain["kernel_bits"] == [32, 32]
    assert all("were not asked for" in line for line in plain["kernels"])


def test_a_measure_job_by_onnx_runtime_says_what_ran() -> None:
    """The bits of the kernels that the runtime's optimised graph has, and why they are not the weights'."""
    job = JobSpec(
        id="j", study="s", trial=0, attempt=1, kind="measure", config={}, artifacts=".", signature="x",
        nested={"width": 8, "depth": 2, "bits": [3, 32]},
        task={"kind": "classify", "name": "classify", "options": {"data": "iris"}},
    )  # fmt: skip
    found = measure(job)
    assert found["kernel_bits"] == [8, 32]
    assert found["kernels"] == ["3 bits, linear: runs at 8, no kernel of 3 bits in onnxruntime (blocks.0)"]


def test_a_float_layer_has_no_planes() -> None:
    """A bug says so."""
    with pytest.raises(RuntimeError, match="this is a bug"):
        Planes(dataclasses.replace(vectors(4).blocks[0], codes=None))
