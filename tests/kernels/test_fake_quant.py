"""The fake_quant operator against its reference, its gradients against arithmetic, and torch's own operator checks."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.fake_quant import BINARY, SEQ2, TERNARY, Levels, fake_quant, index, lsq, reference, symmetric, unsigned

ALL = {
    "lsq3": lsq(3),
    "lsq4": lsq(4),
    "int8": symmetric(8),
    "seq2": SEQ2,
    "ternary": TERNARY,
    "binary": BINARY,
    "act8": unsigned(8),
}


def draw(seed: int, channels: int | None) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(5, 3, 2, generator=g)
    shape = () if channels is None else (channels,)
    return x, torch.rand(shape, generator=g) * 0.5 + 0.05


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("channels", [None, 5])
def test_operator_equals_reference(name: str, channels: int | None) -> None:
    """Output and both gradients of the operator are those of the reference, bit for bit on a CPU."""
    x, a = draw(1, channels)
    x.requires_grad_()
    a.requires_grad_()
    y = fake_quant(x, a, ALL[name])
    grad = torch.randn(y.shape, generator=torch.Generator().manual_seed(2))
    y.backward(grad)
    assert torch.equal(y, reference.quantize(x, a, ALL[name]))
    to_x, to_a = reference.backward(grad, x.detach(), a.detach(), ALL[name])
    assert x.grad is not None
    assert a.grad is not None
    assert torch.equal(x.grad, to_x)
    assert torch.equal(a.grad, to_a)


@pytest.mark.parametrize("name", ALL)
def test_a_fixed_scale_gets_no_gradient(name: str) -> None:
    """When the scale is not learned, the input's gradient is the same and the scale has none."""
    x, a = draw(1, None)
    grads = []
    for learned in (True, False):
        leaf, scale = x.clone().requires_grad_(), a.clone().requires_grad_(learned)
        (fake_quant(leaf, scale, ALL[name]) * x).sum().backward()
        assert leaf.grad is not None
        grads.append(leaf.grad)
        assert (scale.grad is not None) == learned
    assert torch.equal(*grads)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("learned", [True, False])
def test_opcheck(name: str, learned: bool) -> None:
    """Schema, fake tensor, autograd registration and dynamic shapes hold (torch.library.opcheck)."""
    x, a = draw(3, 5)
    levels = ALL[name]
    torch.library.opcheck(
        torch.ops.searchd.fake_quant.default,
        (x.requires_grad_(), a.requires_grad_(learned), levels.low, levels.high, levels.steps, levels.shift),
    )


@pytest.mark.parametrize("name", ALL)
def test_scale_gradient_is_the_derivative(name: str) -> None:
    """Outside the clip range d/da is the plain derivative; inside, a·q(x/a) with round replaced by identity in x/a."""
    levels = ALL[name]
    a = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    far = torch.tensor([levels.high * 0.5 + 3.0], dtype=torch.float64)
    fake_quant(far, a, levels).sum().backward()
    eps = 1e-6
    lo, hi = (reference.quantize(far, a.detach() + d, levels).sum() for d in (-eps, eps))
    factor = reference.grad_factor(far, a, levels)
    assert a.grad is not None
    assert a.grad.item() == pytest.approx(((hi - lo) / (2 * eps)).item() * factor, rel=1e-6)


@given(
    values=st.lists(st.floats(-3, 3, width=32), min_size=1, max_size=20),
    scale=st.floats(0.0625, 2, width=32),
    name=st.sampled_from(sorted(ALL)),
)
@settings(max_examples=60, deadline=None)
def test_idempotent_and_on_the_grid(values: list[float], scale: float, name: str) -> None:
    """Quantizing twice changes nothing, and every value is one of `count` levels that `index` names."""
    levels = ALL[name]
    x, a = torch.tensor(values), torch.tensor(scale)
    q = fake_quant(x, a, levels)
    # Binary at |u| = 1 and the rest: a level may move by one rounding of x/a, never to another level.
    torch.testing.assert_close(fake_quant(q, a, levels), q, rtol=1e-6, atol=0)
    i = index(x, a, levels)
    assert int(i.min()) >= 0
    assert int(i.max()) < levels.count
    torch.testing.assert_close((i + levels.first + levels.shift) / levels.steps * a, q, rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("levels", "count"), [(lsq(3), 8), (symmetric(8), 255), (SEQ2, 4), (TERNARY, 3), (BINARY, 2), (unsigned(8), 256)]
)
def test_counts(levels: Levels, count: int) -> None:
    """A quantizer of b bits has at most 2^b levels."""
    assert levels.count == count


def test_wrong_scale_says_what_to_do() -> None:
    """A scale that fits no axis is an error that names both shapes."""
    with pytest.raises(ValueError, match=r"\[4\].*C = 5"):
        fake_quant(torch.zeros(5, 3), torch.ones(4), SEQ2)
