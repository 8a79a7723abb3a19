"""Network morphism: a wider or deeper network that answers what the trained one answers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from spaces.errors import SpaceError
from spaces.morphs import unfit
from spaces.nets import network
from tests.support.nets import trained
from workers.nets.modules import Net
from workers.nets.morph import config_of, copies, morph, net2deeper, net2wider, shares
from workers.tasks.classify import mean_loss

IMAGE: dict[str, Any] = {"width": 4, "depth": 3, "kernel": 3, "bits": 32, "exits": [0]}
VECTOR: dict[str, Any] = {"width": 5, "depth": 2, "bits": 32}
FLIPS = 4
"""Samples of 64 that may differ in a quantized network: one of 1,400 networks has an activation so near the middle of
two codes that float32 rounds it the other way; a wrong morph changes nearly all of them."""
few = settings(max_examples=15, deadline=None)


def near(ours: list[Tensor], theirs: list[Tensor]) -> None:
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


@few
@given(st.integers(1, 40), st.integers(0, 90), st.integers(0, 2**31))
def test_copies_are_spread_evenly(old: int, more: int, seed: int) -> None:
    """Law: old units stay in place, each is copied as often as any other (to one), and shares of a unit sum to 1."""
    source = copies(old, old + more, torch.Generator().manual_seed(seed))
    counts = torch.bincount(source, minlength=old)
    assert source[:old].tolist() == list(range(old))
    assert int(counts.max() - counts.min()) <= 1
    sums = torch.zeros(old).index_add(0, source, shares(source))
    torch.testing.assert_close(sums, torch.ones(old))


@pytest.mark.parametrize(("config", "shape"), [(IMAGE, (1, 8, 8)), (VECTOR, (6,))])
@pytest.mark.parametrize("width", [5, 7, 16])
def test_a_wider_network_answers_the_same(config: dict[str, Any], shape: tuple[int, ...], width: int) -> None:
    """Every exit's logits agree to 1e-5 in float32, by running statistics and by those of the batch."""
    net, x = trained(config, shape)
    wide = net2wider(net, width, seed=3)
    assert wide.spec == network(config | {"width": width}, shape, 4)
    near(wide(x), net(x))
    near(wide.train()(x), net.train()(x))


@pytest.mark.parametrize(("config", "shape"), [(IMAGE, (1, 8, 8)), (VECTOR, (6,)), (VECTOR | {"bits": 8}, (6,))])
@pytest.mark.parametrize("more", [1, 3])
def test_a_deeper_network_answers_the_same(config: dict[str, Any], shape: tuple[int, ...], more: int) -> None:
    """The last exit's logits agree to 1e-5; with statistics of a sample also in training, on that sample."""
    net, x = trained(config, shape)
    deep = net2deeper(net, int(config["depth"]) + more, sample=x)
    near(deep(x), net(x))
    near(net2deeper(net, int(config["depth"]) + more)(x), net(x))
    if config["bits"] == 32:  # in training, quantizers move their ranges
        net.train()
        deep.train()
        for frozen in list(net.blocks) + list(deep.blocks)[: len(net.blocks)]:
            frozen.eval()
        torch.testing.assert_close(deep(x)[-1], net(x)[-1], rtol=1e-3, atol=1e-3)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any], tuple[int, ...]]:
    """A config, another one that differs in width, depth and perhaps bits, and the shape of the data."""
    depth, more = draw(st.sampled_from([1, 1, 2, 3, 4])), draw(st.sampled_from([-1, 0, 1, 1, 2]))
    known = st.sampled_from([32.0, 8.0, 4.0, 3.0, 1.58, 2.0, 1.0])
    bits = draw(st.lists(known, min_size=depth, max_size=depth))
    deeper = max(depth + more, 1)
    grown = (bits + [draw(st.sampled_from([bits[-1]] * 4 + [8.0]))] * 2)[:deeper]
    exits = draw(st.lists(st.integers(0, 3), unique=True))
    width = draw(st.integers(2, 4))
    wider = width + draw(st.integers(-1, 6))
    image = draw(st.booleans())
    before = {"width": width, "depth": depth, "kernel": 3, "bits": bits, "exits": exits}
    before["exit_head"], other = draw(st.sampled_from([(0, 0), (0, 0), (3, 3), (3, 3), (3, 0), (3, 4)]))
    after = before | {"width": wider, "depth": deeper, "bits": grown, "exit_head": other}
    return before, after, (1, 8, 8) if image else (6,)


@settings(max_examples=100, deadline=None)
@given(pairs())
def test_what_fits_is_what_can_be_morphed(found: tuple[dict[str, Any], dict[str, Any], tuple[int, ...]]) -> None:
    """Law: `unfit`, which knows no weights, says None exactly where `morph` succeeds; then each exit that there was,
    and each one after a new block, answers as its parent did, but for heads with a hidden layer that theirs lacked."""
    before, after, shape = found
    net, x = trained(before, shape, steps=4)
    spec = network(after, shape, 4)
    if unfit(net.spec, spec) is not None:
        with pytest.raises(SpaceError):
            morph(net, spec, noise=0.0)
        return
    grown = morph(net, spec, noise=0.0, sample=x)
    answers = dict(zip([e.block for e in net.spec.exits], net(x), strict=True))
    for exit_, logits in zip(spec.exits, grown(x), strict=True):
        theirs = answers[min(exit_.block, len(net.spec.blocks) - 1)]
        if exit_.hidden is not None and exit_.block >= len(net.spec.blocks) - 1:
            continue
        alike = torch.isclose(logits, theirs, rtol=1e-5, atol=1e-5).all(dim=1)
        quantized = any(b < 32 for b in before["bits"])
        assert int((~alike).sum()) <= (FLIPS if quantized else 0)


@pytest.mark.parametrize("bits", [1.58, 3, 4, 8])
@pytest.mark.parametrize("width", [5, 7])
def test_a_quantized_network_of_any_width_answers_the_same(bits: float, width: int) -> None:
    """Where units are copied unequally often, the first of each is read alone: every code stays, the others are 0."""
    net, x = trained(IMAGE | {"bits": bits}, (1, 8, 8))
    near(net2wider(net, width)(x), net(x))


def test_copies_of_new_blocks_are_told_apart() -> None:
    """A new block that is wider than what it reads has copies too: with noise they get gradients of their own."""
    net, x = trained(IMAGE | {"depth": 2, "exits": []}, (1, 8, 8))
    y = torch.arange(len(x)) % 4
    apart = []
    for noise in (0.0, 1e-3):
        deep = net2deeper(net, 3, noise=noise)
        torch.autograd.backward(mean_loss(deep(x), y))
        gradient = deep.get_parameter("heads.2.weight.matrix").grad
        assert gradient is not None
        by_unit = gradient.view(4, 16, -1)
        into = copies(8, 16, torch.Generator().manual_seed(0))
        apart.append(float((by_unit[:, 8:] - by_unit[:, into[8:]]).abs().max()))
    assert apart[0] < 1e-7 < apart[1]


@pytest.mark.parametrize("bits", [1.58, 4, 8])
def test_a_quantized_network_twice_as_wide_answers_the_same(bits: float) -> None:
    """Where every unit is copied equally often, scales shrink with the weights and all codes stay."""
    net, x = trained(IMAGE | {"bits": bits}, (1, 8, 8))
    near(net2wider(net, 8)(x), net(x))


def test_noise_tells_copies_apart() -> None:
    """Without noise copies get equal gradients and stay equal; with it the answer moves a little, gradients differ."""
    net, x = trained(VECTOR, (6,))
    y = torch.arange(len(x)) % 4
    apart = []
    for noise in (0.0, 1e-3):
        wide = net2wider(net, 10, noise=noise)
        gap = max(float((a - b).detach().abs().max()) for a, b in zip(wide(x), net(x), strict=True))
        assert gap < 0.1
        torch.autograd.backward(mean_loss(wide(x), y))
        gradient = wide.get_parameter("blocks.0.weight.matrix").grad
        assert gradient is not None
        source = copies(5, 10, torch.Generator().manual_seed(0))
        apart.append(float((gradient[5:] - gradient[source[5:]]).abs().max()))
    assert apart[0] < 1e-7 < apart[1]


def test_a_network_grows_into_a_spec() -> None:
    """Wider, deeper and with another exit at once: the last exit answers the same; the spec is the one asked for."""
    net, x = trained(IMAGE, (1, 8, 8))
    spec = network(IMAGE | {"width": 6, "depth": 4, "exits": [1]}, (1, 8, 8), 4)
    grown = morph(net, spec, noise=0.0)
    assert isinstance(grown, Net)
    assert grown.spec == spec
    assert not grown.training
    near(grown(x)[-1:], net(x)[-1:])
    assert config_of(spec)["exits"] == [1]


def test_what_cannot_keep_the_function_is_refused() -> None:
    """Narrower, shallower, a pool in a new block, one-bit weights in it, another kernel: each with its remedy."""
    net, _ = trained(IMAGE, (1, 8, 8), steps=1)
    with pytest.raises(SpaceError, match="only ever made wider"):
        net2wider(net, 3)
    with pytest.raises(SpaceError, match="only ever made deeper"):
        net2deeper(net, 2)
    with pytest.raises(SpaceError, match="block 1 pools"):
        net2deeper(trained(IMAGE | {"depth": 1, "exits": []}, (1, 8, 8), steps=1)[0], 2)
    with pytest.raises(SpaceError, match="cannot say 1 and 0"):
        net2deeper(trained(IMAGE | {"bits": 1}, (1, 8, 8), steps=1)[0], 4)
    with pytest.raises(SpaceError, match="cannot say 0"):
        net2wider(trained(IMAGE | {"bits": 2}, (1, 8, 8), steps=1)[0], 5)
    with pytest.raises(SpaceError, match="only width, depth and exits"):
        morph(net, network(IMAGE | {"kernel": 5}, (1, 8, 8), 4))
