"""The fake_quant operator against its reference, its gradients against arithmetic, and torch's own operator checks."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.fake_quant import (
    BINARY,
    SEQ2,
    TERNARY,
    Levels,
    double,
    fake_quant,
    index,
    lsq,
    reference,
    symmetric,
    table,
    unsigned,
)

ALL = {
    "lsq3": lsq(3),
    "lsq4": lsq(4),
    "int8": symmetric(8),
    "seq2": SEQ2,
    "ternary": TERNARY,
    "binary": BINARY,
    "act8": unsigned(8),
    "double4": double(4, 8),
    "double8": double(8, 8),
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
    args = (x.requires_grad_(), a.requires_grad_(learned), *levels.numbers[:4])
    torch.library.opcheck(torch.ops.searchd.fake_quant.default, args)


@pytest.mark.parametrize("name", ALL)
def test_scale_gradient_is_the_derivative(name: str) -> None:
    """Outside the clip range d/da is the plain derivative; inside, a·q(x/a) with round replaced by identity in x/a."""
    levels = ALL[name]
    a = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    far = torch.tensor([levels.high * 0.5 * (levels.fine or 1.0) + 300.0], dtype=torch.float64)
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
    value = (i + levels.first + levels.shift) / levels.steps * (levels.fine or 1.0)
    torch.testing.assert_close(value * a, q, rtol=1e-6, atol=0)


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


@pytest.mark.parametrize("group", [3, 4, 12, 50])
@pytest.mark.parametrize("name", ALL)
def test_groups_are_channels_of_their_own(name: str, group: int) -> None:
    """A scale for a group is what a scale for a channel is to the groups as channels, the last filled with zeros:
    output and both gradients, bit for bit."""
    g = torch.Generator().manual_seed(4)
    x, grad = torch.randn(5, 3, 4, generator=g), torch.randn(5, 3, 4, generator=g)
    a = torch.rand(5, -(-12 // group), generator=g) * 0.5 + 0.05
    apart = [torch.nn.functional.pad(t.reshape(5, 12), (0, -12 % group)).reshape(-1, group) for t in (x, grad)]
    rows, b = apart[0].clone().requires_grad_(), a.flatten().requires_grad_()
    wanted = fake_quant(rows, b, ALL[name])
    wanted.backward(apart[1])
    leaf, c = x.clone().requires_grad_(), a.clone().requires_grad_()
    y = fake_quant(leaf, c, ALL[name], group)
    y.backward(grad)
    assert rows.grad is not None
    assert b.grad is not None
    assert leaf.grad is not None
    assert c.grad is not None
    assert torch.equal(y.reshape(5, 12), wanted.reshape(5, -1)[:, :12])
    assert torch.equal(leaf.grad.reshape(5, 12), rows.grad.reshape(5, -1)[:, :12])
    assert torch.equal(c.grad.flatten(), b.grad)


@pytest.mark.parametrize("group", [0, 4])
def test_levels_as_data(group: int) -> None:
    """With a row of levels a channel, a channel is what it is alone at its width: output and gradients, to a rounding
    of the factor 1 / sqrt(N Qp), which is of floats here."""
    g = torch.Generator().manual_seed(5)
    grids = list(ALL.values())
    n = len(grids)
    x, grad = torch.randn(n, 6, generator=g), torch.randn(n, 6, generator=g)
    a = torch.rand((n, 2) if group else (n,), generator=g) * 0.5 + 0.05
    leaf, scale = x.clone().requires_grad_(), a.clone().requires_grad_()
    y = fake_quant(leaf, scale, table(grids), group)
    y.backward(grad)
    assert leaf.grad is not None
    assert scale.grad is not None
    for c, levels in enumerate(grids):
        one = slice(c, c + 1)
        to_x, to_scale = reference.backward(grad[one], x[one], a[one], levels, group)
        assert torch.equal(y[one], fake_quant(x[one], a[one], levels, group))
        assert torch.equal(leaf.grad[one], to_x)
        torch.testing.assert_close(scale.grad[one], to_scale, rtol=3e-7, atol=0)
    packed = table(grids[:2], each=3)
    assert packed.tolist() == [*[packed[0].tolist()] * 3, *[packed[3].tolist()] * 3]


def test_a_table_learns_in_float64() -> None:
    """One row of levels for all is those levels: in float64, output and gradients."""
    x, a = (t.double() for t in draw(6, 5))
    for levels in ALL.values():
        rows = table([levels])
        assert torch.allclose(fake_quant(x, a, rows), fake_quant(x, a, levels), rtol=1e-6)
        found, wanted = reference.backward(x, x, a, rows), reference.backward(x, x, a, levels)
        torch.testing.assert_close(found[1], wanted[1], rtol=1e-6, atol=1e-6)  # .99 is of float32 in a table


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype: torch.dtype) -> None:
    """Half precisions are computed in float32 and rounded once; output and gradients have their inputs' dtypes."""
    x, a = draw(7, 5)
    half = x.to(dtype).requires_grad_()
    scale = a.clone().requires_grad_()
    y = fake_quant(half, scale, lsq(4))
    y.float().sum().backward()
    assert torch.equal(y, reference.quantize(half.float(), a, lsq(4)).to(dtype))
    assert half.grad is not None
    assert scale.grad is not None
    assert (half.grad.dtype, scale.grad.dtype) == (dtype, torch.float32)


def test_the_reference_can_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """SEARCHD_KERNELS=reference runs the reference, to the same bits; =triton on a CPU says that it cannot be."""
    x, a = draw(8, 5)
    plain = fake_quant(x, a, SEQ2)
    monkeypatch.setenv("SEARCHD_KERNELS", "reference")
    assert torch.equal(fake_quant(x, a, SEQ2), plain)
    monkeypatch.setenv("SEARCHD_KERNELS", "triton")
    with pytest.raises(RuntimeError, match="fake_quant, but the tensors are on cpu"):
        fake_quant(x, a, SEQ2)


@pytest.mark.parametrize("shape", [(0, 4), (4, 0), (1, 1)])
@pytest.mark.parametrize("name", ["lsq4", "double4"])
def test_empty_and_single(shape: tuple[int, int], name: str) -> None:
    """Nothing in, nothing out, and gradients of nothing are 0: for a tensor, channels and groups."""
    x = torch.ones(shape)
    for scale, group in ((torch.ones(()), 0), (torch.ones(shape[0]), 0), (torch.ones(shape[0], -(-shape[1] // 3)), 3)):
        leaf, a = x.clone().requires_grad_(), scale.clone().requires_grad_()
        y = fake_quant(leaf, a, ALL[name], group)
        y.sum().backward()
        assert y.shape == x.shape
        assert leaf.grad is not None
        assert a.grad is not None
        assert leaf.grad.shape == x.shape
        assert a.grad.shape == scale.shape
        if not x.numel():
            assert not a.grad.any()


@pytest.mark.parametrize(
    ("x", "scale", "levels", "group", "message"),
    [
        (torch.zeros(5, 3), torch.ones(5), SEQ2, 2, r"the scale is \[5\].*needs \[5, 2\]"),
        (torch.zeros(5, 3), torch.ones(5, 1), SEQ2, 0, r"\[5, 1\].*C = 5.*set group"),
        (torch.zeros(5, 3), torch.ones(5), SEQ2, -1, "a group has -1 elements"),
        (torch.zeros(5, 3), torch.ones(5), torch.zeros(4, 5), 0, r"the levels is \[4, 5\].*needs \[5, 5\]"),
        (torch.zeros(5, 3), torch.ones(()), torch.zeros(5, 5), 0, r"needs \[1, 5\]"),
        (torch.zeros(5, 3), torch.ones(5), torch.zeros(5, 5).double(), 0, "of torch.float32"),
        (torch.zeros(5, 3).int(), torch.ones(5), SEQ2, 0, "x is of torch.int32, but has to be of floats"),
        (torch.zeros(5, 3), torch.ones(5).int(), SEQ2, 0, "the scale is of torch.int32"),
        (torch.zeros(5, 3), torch.ones(5, device="meta"), SEQ2, 0, "cpu, meta, but have to be on one"),
        (torch.zeros(()), torch.ones(1), SEQ2, 0, r"needs \[\] or"),
        (torch.zeros(()), torch.ones(()), torch.zeros(1, 5), 0, "levels as data"),
    ],
)
def test_what_does_not_fit_says_so(
    x: torch.Tensor, scale: torch.Tensor, levels: Levels | torch.Tensor, group: int, message: str
) -> None:
    """Shapes, dtypes and devices that do not fit are errors with the value, the rule and the remedy."""
    with pytest.raises(ValueError, match=message):
        fake_quant(x, scale, levels, group)


@pytest.mark.parametrize(("bits", "high"), [(1, 8), (9, 8), (8, 25)])
def test_widths_of_double_rounding(bits: int, high: int) -> None:
    """Double rounding goes from 2 bits to the stored ones, and those end where float32 does."""
    with pytest.raises(ValueError, match="2 <= bits <= high <= 24"):
        double(bits, high)


@pytest.mark.parametrize("kind", ["rows", "groups", "fixed"])
def test_opcheck_of_the_rest(kind: str) -> None:
    """opcheck for levels as data, for groups, and for groups whose scales are not learned."""
    x, a = draw(9, 5)
    x.requires_grad_()
    if kind == "rows":
        args = (x, a.requires_grad_(), table([lsq(3), SEQ2, TERNARY, BINARY, double(4, 8)]), 0)
        torch.library.opcheck(torch.ops.searchd.fake_quant_rows.default, args)
    else:
        a = a[:, None].repeat(1, 2).requires_grad_(kind == "groups")
        torch.library.opcheck(torch.ops.searchd.fake_quant_all.default, (x, a, -8.0, 7.0, 1.0, 0.0, 16.0, 4))
