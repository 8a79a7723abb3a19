"""Every width and granularity: the file has the described bytes, and the runtime answers what was trained."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from spaces.describe import describe
from spaces.errors import SpaceError
from spaces.morphs import unfit
from spaces.nets import network
from spaces.space import Space
from spaces.task import Task
from tests.support.nets import trained
from workers.measure import kernel_bits, session
from workers.nets.fold import fold
from workers.nets.graph import build
from workers.nets.modules import Net
from workers.nets.morph import config_of, morph
from workers.nets.pack import pack, unpack
from workers.quantizers.activations import Activation
from workers.quantizers.floating import floating
from workers.rehearse import rehearse
from workers.tasks.classify import train

CONFIGS: dict[str, dict[str, Any]] = {
    "tensor": {"bits": [4, 3, 8], "granularity": "tensor"},
    "group": {"bits": [4, 32, 2], "granularity": "group", "group": 16},
    "one scale, few activation bits": {"bits": [4, 3, 8], "activation_bits": [4, 8, 2], "granularity": "tensor"},
    "groups, few activation bits": {"bits": [8, 1.58, 4], "activation_bits": 4, "granularity": "group", "group": 7},
    "weights alone": {"bits": [8, 2, 4], "activation_bits": 32},
    "activations alone": {"bits": 32, "activation_bits": [8, 4, 8]},
    "formats": {"bits": ["fp8", "bf16", "fp16"]},
    "formats of both": {"bits": ["fp8", 16, "fp16"], "activation_bits": ["fp8", "bf16", "fp16"]},
    "all sorts": {"bits": ["fp8", 4, 32], "activation_bits": [8, "fp8", 3]},
}
SHAPES = [(1, 8, 8), (13,)]


@pytest.mark.parametrize("shape", SHAPES, ids=len)
@pytest.mark.parametrize("name", CONFIGS)
def test_the_file_is_the_network(name: str, shape: tuple[int, ...]) -> None:
    """Bytes as described, weights that come back, kernels as described, and the runtime's logits are torch's.

    Both round nearly the same numbers, so a value on a grid may differ by one level: of 2 bits that is a third of the
    range, and it reaches many logits. Half of them are equal to 1e-3 of their range, and the best class nearly always.
    """
    config = {"width": 6, "depth": 3, "kernel": 3, "exits": [0], **CONFIGS[name]}
    net, x = trained(config, shape)
    folded = fold(net)
    blob, spec = pack(folded), network(config, shape, 4)
    assert len(blob) == spec.bytes
    for stored, layer in zip(unpack(blob, spec), folded.layers(), strict=True):
        assert np.array_equal(stored.weight, layer.weight)
        assert np.array_equal(stored.bias, layer.bias)
    model = build(folded)
    assert kernel_bits(model) == {layer.name: layer.kernel_bits for layer in spec.layers}
    runtime = session(model)
    for seen in (x, 2 * x):  # what lies beyond the range of few codes is clipped by both
        with torch.no_grad():
            expected = [e.numpy() for e in net(seen)]
        for got, want in zip(runtime.run(None, {"x": seen.numpy()}), expected, strict=True):
            assert np.median(np.abs(got - want)) <= 1e-3 * np.abs(want).max()
            assert (got.argmax(1) == want.argmax(1)).mean() >= 0.95


@pytest.mark.parametrize("name", ["one scale, few activation bits", "formats of both"])
def test_they_train_and_go_on(name: str) -> None:
    """A network of each kind learns, and goes on from its checkpoint bit for bit."""
    config = {"width": 12, "depth": 3, "optimizer": {"name": "adamw", "lr": 0.01}, **CONFIGS[name]}
    whole = rehearse(train, config, until=3, kind="classify", options={"data": "wine"})
    half = rehearse(train, config, until=2, kind="classify", options={"data": "wine"})
    rest = rehearse(train, config, until=3, kind="classify", options={"data": "wine"}, resume=half)
    assert rest.reports[-1].metrics == whole.reports[-1].metrics
    assert whole.reports[-1].metrics["train_loss"] < whole.reports[0].metrics["train_loss"]


def test_golden_bytes_and_bops() -> None:
    """width 8, kernel 3, 8 x 8: a 4-bit block with groups of 4 weights (3 of 9: a scale each), 3-bit inputs; an fp8
    block that reads bfloat16."""
    config = {"width": 8, "depth": 2, "bits": [4, "fp8"], "activation_bits": [3, 16], "granularity": "group"}
    spec = network({**config, "group": 4}, (1, 8, 8), 10)
    first, second, head = spec.layers
    assert first.bytes == 36 + 4 * 8 * 3 + 4 * 8
    assert first.bops == first.macs * 4 * 3
    assert second.bytes == 1152 + 4 * 16 * 18 + 4 * 16
    assert second.bops == second.macs * 8 * 16
    assert (head.bits, head.form, head.activation_bits) == (8, "fp8", 32)
    assert [layer.kernel_bits for layer in spec.layers] == [32, 32, 32]


def test_old_signatures_stay() -> None:
    """Recorded latencies are found again: signatures as they were before there were more widths; what changes the
    latency changes them, and what does not does not."""
    base = network({"width": 8, "depth": 2, "bits": [4, 32], "exits": [0]}, (1, 8, 8), 10)
    assert [base.signature(k) for k in (0, 1)] == OLD

    def last(**more: Any) -> str:
        return network({"width": 8, "depth": 2, "bits": [4, 32], **more}, (1, 8, 8), 10).signature(0)

    assert last(activation_bits=[8, 32]) == last() == last(granularity="tensor")
    assert last(activation_bits=32) == network({"width": 8, "depth": 2}, (1, 8, 8), 10).signature(0)
    kinds = [last(), last(activation_bits=[4, 32]), last(granularity="group"), last(activation_bits=[8, 8]),
             last(activation_bits=["fp8", 32]), last(activation_bits=32)]  # fmt: skip
    assert len(set(kinds)) == len(kinds)


OLD = ["682012dc5e6cefe9", "7cc55595ee51f3b2"]


def test_few_codes_are_clipped() -> None:
    """Signed activations of 3 bits use −3 to 3 steps around code 128, unsigned ones 0 to 7."""
    x = torch.tensor([-9.0, -1.4, 0.0, 1.4, 9.0])
    for signed, expected in ((True, [-3, -1, 0, 1, 3]), (False, [0, 0, 0, 1, 7])):
        act = Activation(signed, 3)
        act.maximum.fill_(act.grid.high)
        assert act.eval()(x).tolist() == expected


def test_floating_formats_are_torchs() -> None:
    """fp8 is e4m3 after scaling, nearest even, saturating; the gradient goes straight through."""
    x = torch.tensor([[0.0, 1.0, 17.0, -500.0]], requires_grad=True)
    y = floating(x, torch.tensor([1.0]), "fp8")
    assert y.tolist() == [[0.0, 1.0, 16.0, -448.0]]
    (y * torch.tensor([1.0, 2, 3, 4])).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [[1, 2, 3, 4]]
    third = torch.tensor([[1 / 3]])
    assert floating(third, torch.tensor(1.0), "bf16").item() == third.bfloat16().item()
    assert floating(torch.tensor([1e6]), torch.tensor(1.0), "fp16").item() == 65504


@pytest.mark.parametrize(("config", "said"), [
    ({"bits": "fp4"}, r"bits = 'fp4' is no width.*fp8, 16, bf16, fp16, 32"),
    ({"activation_bits": 1}, "activation_bits = 1 is no width"),
    ({"activation_bits": [8], "depth": 2}, "activation_bits has 1 entries for 2 blocks"),
    ({"granularity": "row"}, "granularity = 'row', but weights share a scale by tensor, channel, group"),
    ({"group": 1}, "group = 1, but a group is"),
])  # fmt: skip
def test_odd_widths_are_refused(config: dict[str, Any], said: str) -> None:
    """Value, rule, remedy."""
    with pytest.raises(SpaceError, match=said):
        network(config, (1, 8, 8), 10)


def test_granularity_may_bring_its_group() -> None:
    """As a conditional choice, whose option has the parameter `group`; described as it is built."""
    shares = {"choice": {"channel": {}, "group": {"group": {"choice": [8, 16]}}}}
    space = Space.parse({"granularity": shares, "bits": 4})
    task = Task(kind="classify", name="classify", options={"data": "digits"})
    seen = set()
    for seed in range(12):
        config = space.sample(np.random.default_rng(seed))
        found = describe(task, space, config)
        assert found is not None
        spec = network(space.nested(config), (1, 8, 8), 10)
        assert found.metrics["bytes"] == spec.bytes
        seen.add((spec.layers[0].shared, spec.layers[0].group))
    assert seen == {("channel", 32), ("group", 8), ("group", 16)}


def test_morphs_know_the_new_widths() -> None:
    """A network with one scale a layer and few activation bits is morphed exactly; groups and formats are refused, and
    a change of any of them too."""
    small = {"width": 4, "depth": 1, "kernel": 1, "bits": 4, "activation_bits": 4, "granularity": "tensor"}
    net, x = trained(small, (2, 2, 2))
    grown = network({**small, "width": 8}, (2, 2, 2), 4)
    assert network(config_of(net.spec), (2, 2, 2), 4) == net.spec
    assert unfit(net.spec, grown) is None
    new = morph(net, grown, noise=0.0)
    torch.testing.assert_close(new(x)[-1], net(x)[-1], rtol=1e-4, atol=1e-4)
    for change in ({"activation_bits": 8}, {"granularity": "channel"}, {"bits": "fp8"}):
        assert "differ" in str(unfit(net.spec, network({**small, **change}, (2, 2, 2), 4)))
    for kind in ({"granularity": "group"}, {"bits": "bf16"}):
        spec = network({**small, **kind}, (2, 2, 2), 4)
        assert "rounded anew" in str(unfit(spec, network({**small, **kind, "width": 8}, (2, 2, 2), 4)))
    assert isinstance(new, Net)
