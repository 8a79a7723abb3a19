"""The Triton kernels of fake_quant, interpreted: outputs to the bit, gradients to the rounding of a sum in float32."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from kernels._tiles import Tile
from kernels.fake_quant import (
    BINARY,
    SEQ2,
    TERNARY,
    Levels,
    double,
    fake_quant,
    lsq,
    reference,
    table,
    triton,
    unsigned,
)
from tests.support.kernels import close, poisoned, runs_in_triton, strided

ALL = {
    "lsq3": lsq(3), "lsq8": lsq(8), "seq2": SEQ2, "ternary": TERNARY, "binary": BINARY, "act8": unsigned(8),
    "double4": double(4, 8), "double8": double(8, 8), "double2of16": double(2, 16),
}  # fmt: skip
TILE = {"BS": 2, "BK": 16, "warps": 1}
"""Small, so that odd sizes end within a tile and a scale has several of them."""
KINDS = ("tensor", "channel", "group")
SHAPES = [(5, 3, 2), (1, 1), (3, 1), (0, 4), (4, 0), (3, 1500)]
"""Odd, of size 1, empty; the last has several programs in the tiles that are chosen, and would have 1,500 in `TILE`."""
CASES = [(name, (3, 37)) for name in ALL] + [(name, shape) for name in ("lsq3", "double4") for shape in SHAPES]
"""All levels at one shape; all shapes with the two codes that a kernel has: levels are numbers that it is given."""


def drawn(seed: int, shape: tuple[int, ...], kind: str, group: int = 3) -> tuple[Tensor, Tensor, Tensor, int]:
    """x, scale, grad and group. `kind`: tensor, channel, group."""
    g = torch.Generator().manual_seed(seed)
    x, grad = torch.randn(shape, generator=g), torch.randn(shape, generator=g)
    channels, columns = shape[0], math.prod(shape[1:])
    size = {"tensor": (), "channel": (channels,), "group": (channels, -(-columns // group))}[kind]
    return x, torch.rand(size, generator=g) * 0.5 + 0.05, grad, group if kind == "group" else 0


def settled(x: Tensor, scale: Tensor, levels: Levels, group: int) -> Tensor:
    """`x` without what lies within .002 steps of where Q jumps or clips: float32 and float64 may differ there."""
    step = reference.quantize(torch.ones_like(x), scale, Levels(1.0, 1.0), group) * (levels.fine or 1.0)

    def seen(off: float) -> Tensor:
        args = (x.double() + off * step, scale.double(), levels, group)
        return torch.stack([reference.quantize(*args), reference.straight_through(torch.ones_like(args[0]), *args)])

    for _ in range(60):
        jumps = ((seen(0.002) != seen(0.0)) | (seen(-0.002) != seen(0.0))).any(0)
        if not jumps.any():
            return x
        x = torch.where(jumps, x + 0.11 * step, x)
    raise AssertionError("no input away from the jumps was found: this is a bug of the test")


@pytest.mark.parametrize(("name", "shape"), CASES)
@pytest.mark.parametrize("kind", ["tensor", "channel", "group"])
def test_outputs(name: str, kind: str, shape: tuple[int, ...]) -> None:
    """Elementwise results are the reference's in float32, bit for bit: contiguous, strided, in small tiles, and with
    memory that holds NaN before."""
    x, scale, grad, group = drawn(1, shape, kind)
    runs_in_triton("fake_quant", x, scale)
    wanted = reference.quantize(x, scale, ALL[name], group)
    inside = reference.straight_through(grad, x, scale, ALL[name], group)
    with poisoned():
        assert torch.equal(fake_quant(x, scale, ALL[name], group), wanted)
        assert torch.equal(fake_quant(strided(x), strided(scale), ALL[name], group), wanted)
        for tile in (None, TILE) if x.numel() < 1000 else (None,):
            assert torch.equal(triton.forward(x, scale, ALL[name], group, tile), wanted)
            assert torch.equal(triton.backward(grad, x, scale, ALL[name], group, tile)[0], inside)
            assert torch.equal(triton.straight_through(grad, strided(x), scale, ALL[name], group, tile), inside)


@pytest.mark.parametrize(
    ("name", "kind", "tile"),
    [(n, k, TILE if (i + j) % 2 else None) for i, n in enumerate(ALL) for j, k in enumerate(KINDS)],
)
def test_scale_gradient(name: str, kind: str, tile: Tile | None) -> None:
    """d/dscale is the float64 reference's up to the roundings of its terms (u, q, q − u, times grad: 6) and of their
    sum (a tree of 11 and at most one addition a part), each of the sum of the absolute terms. Every second pair of
    levels and scales has several tiles: both codes have all pairs of scales and tiles."""
    x, scale, grad, group = drawn(2 if tile else 3, (5, 37), kind, 7)
    x = settled(x, scale, ALL[name], group)
    _, wanted = reference.backward(grad.double(), x.double(), scale.double(), ALL[name], group)
    span = max(abs(ALL[name].low), abs(ALL[name].high)) * max(1.0, ALL[name].fine)
    with poisoned():
        _, found = triton.backward(grad, x, scale, ALL[name], group, tile)
        again = triton.backward(grad, x, scale, ALL[name], group, tile)[1]
    terms = 2 * span * grad.abs().sum().double() * float(reference.grad_factor(x, scale, ALL[name]))
    close(found, wanted, roundings=6 + 11 + 13, size=terms)
    assert torch.equal(found, again), "the sum has another order each time"


def test_through_autograd() -> None:
    """The operator's gradients come from the kernels, with and without a learned scale."""
    x, scale, grad, _ = drawn(4, (5, 37), "channel")
    wanted = reference.backward(grad, x, scale, SEQ2)
    for learned in (True, False):
        leaf, a = x.clone().requires_grad_(), scale.clone().requires_grad_(learned)
        with poisoned():
            fake_quant(leaf, a, SEQ2).backward(grad)
        assert leaf.grad is not None
        assert torch.equal(leaf.grad, wanted[0])
        if learned:
            assert a.grad is not None
            torch.testing.assert_close(a.grad, wanted[1], rtol=1e-5, atol=1e-6)  # 37 terms in float32, any order


@pytest.mark.parametrize("name", ALL)
def test_ties(name: str) -> None:
    """Halves go to even in the grid, up in double rounding, as in the reference: inputs on every decision."""
    x = torch.arange(-40, 41)[None] * 0.25 * (ALL[name].fine or 1.0)
    for scale in (torch.ones(1), torch.full((1,), 0.5)):
        assert torch.equal(fake_quant(x, scale, ALL[name]), reference.quantize(x, scale, ALL[name]))
        assert torch.equal(fake_quant(x / 3, scale, ALL[name]), reference.quantize(x / 3, scale, ALL[name]))


MIXED = [lsq(3), SEQ2, double(4, 8), BINARY, lsq(8)]


@pytest.mark.parametrize("kind", ["channel", "group"])
def test_levels_as_data(kind: str) -> None:
    """With a row of levels a channel, each channel is what it would be alone: forward and both gradients."""
    x, scale, grad, group = drawn(5, (5, 37), kind, 7)
    rows = table(MIXED)
    with poisoned():
        out = fake_quant(x, scale, rows, group)
        to_x, to_scale = triton.backward(grad, x, scale, rows, group, TILE)
        for c, levels in enumerate(MIXED):
            one = slice(c, c + 1)
            assert torch.equal(out[one], fake_quant(x[one], scale[one], levels, group))
            alone = triton.backward(grad[one], x[one], scale[one], levels, group, TILE)
            assert torch.equal(to_x[one], alone[0])
            # The factor is of floats here and of doubles there: three roundings, and a few where q has others.
            torch.testing.assert_close(to_scale[one], alone[1], rtol=1e-6, atol=0)


@pytest.mark.parametrize("kind", ["tensor", "channel", "group"])
def test_one_row_of_levels(kind: str) -> None:
    """A table of one row serves any scale, as the same levels as arguments do."""
    x, scale, _, group = drawn(6, (5, 37), kind, 7)
    for levels in ALL.values():
        assert torch.equal(fake_quant(x, scale, table([levels]), group), fake_quant(x, scale, levels, group))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", ["lsq3", "seq2", "double4"])
def test_half_precision(dtype: torch.dtype, name: str) -> None:
    """Half precisions are computed in float32 and rounded once at the end, gradients of the scale too."""
    x, scale, grad = (t.to(dtype) for t in drawn(7, (5, 37), "channel")[:3])
    runs_in_triton("fake_quant", x, scale, grad)
    to_x, to_scale = reference.backward(grad.float(), x.float(), scale.float(), ALL[name])
    with poisoned():
        out = fake_quant(x, scale, ALL[name])
        found = triton.backward(grad, x, scale, ALL[name])
    # The interpreter cuts to bfloat16 where the compiled kernel rounds: up to a unit, two half ones.
    close(out, reference.quantize(x.float(), scale.float(), ALL[name]).double(), 2 if dtype == torch.bfloat16 else 1)
    assert torch.equal(found[0], to_x.to(dtype))
    assert found[1].dtype == dtype
    torch.testing.assert_close(found[1], to_scale.to(dtype), rtol=torch.finfo(dtype).eps, atol=1e-5)


def test_permuted_memory_is_read_as_it_lies() -> None:
    """A dense tensor in another order keeps it: channels last, with the scale of a channel or of all."""
    x = torch.randn(4, 3, 5, 2).to(memory_format=torch.channels_last)
    for scale in (torch.tensor(0.3), torch.rand(4) + 0.1):
        with poisoned():
            out = fake_quant(x, scale, lsq(4))
        assert torch.equal(out, reference.quantize(x, scale, lsq(4)))
        assert out.stride() == x.stride()
    turned = torch.randn(6, 4).T
    out = fake_quant(turned, torch.rand(4) + 0.1, lsq(4))
    assert out.stride() == turned.stride()


def test_nan_and_infinity() -> None:
    """NaN stays, infinities clip; the gradient is the reference's where it is one."""
    x = torch.tensor([[float("nan"), float("inf"), -float("inf"), 0.3, -0.0]])
    scale, grad = torch.tensor([0.2]), torch.ones(1, 5)
    for levels in ALL.values():
        exact = reference.quantize(x, scale, levels).nan_to_num(9)
        assert torch.equal(fake_quant(x, scale, levels).nan_to_num(9), exact)
        found, wanted = triton.backward(grad, x, scale, levels), reference.backward(grad, x, scale, levels)
        assert torch.equal(found[0], wanted[0])
        assert found[1].isnan().all()
        assert wanted[1].isnan().all()


def test_no_width_is_compiled_in() -> None:
    """What is constant in a kernel is how it is cut and what it is asked for; levels are arguments or memory."""
    for kernel in triton.KERNELS:
        assert set(kernel.constants) <= {"ROWS", "DOUBLE", "LEARNED", "ONE", "BS", "BK", "BT"}
        assert all(kernel.types[n] == "fp32" for n in ("low", "high", "steps", "shift", "fine"))


@pytest.mark.parametrize("kind", ["tensor", "channel", "group"])
@pytest.mark.parametrize("learned", [True, False])
def test_opcheck(kind: str, learned: bool) -> None:
    """Schema, fake tensor, autograd registration and dynamic shapes hold where the kernels run."""
    x, scale, _, group = drawn(8, (5, 6), kind)
    x.requires_grad_()
    scale.requires_grad_(learned)
    grid = double(4, 8)
    torch.library.opcheck(torch.ops.searchd.fake_quant_all.default, (x, scale, *grid.numbers, group))
    if not group:
        torch.library.opcheck(torch.ops.searchd.fake_quant.default, (x, scale, *lsq(3).numbers[:4]))
    rows = table(MIXED if kind != "tensor" else [lsq(3)])
    torch.library.opcheck(torch.ops.searchd.fake_quant_rows.default, (x, scale, rows, group))
