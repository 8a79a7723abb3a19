"""int8_conv2d's Triton kernel, interpreted: every integer of the reference; scales to roundings."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from kernels.int8_conv2d import dyadic, int8_conv2d, reference, requantized_conv2d, requantized_linear, triton
from kernels.int8_conv2d.reference import Geometry
from tests.support.kernels import close, poisoned, runs_in_triton, strided

CASES: list[tuple[tuple[int, ...], tuple[int, ...], Geometry]] = [
    ((1, 1, 1, 1), (1, 1, 1, 1), Geometry()),
    ((2, 3, 5, 7), (4, 3, 3, 3), Geometry(padding=(1, 1))),
    ((1, 4, 9, 6), (6, 2, 3, 2), Geometry((2, 1), (0, 2), (2, 3), 2)),
    ((2, 3, 3, 4), (3, 1, 3, 3), Geometry(padding=(1, 1), groups=3)),
    ((1, 70, 3, 2), (40, 70, 1, 1), Geometry((2, 2))),
    ((1, 66, 4, 5), (34, 33, 2, 3), Geometry(padding=(1, 0), groups=2)),
    ((0, 3, 5, 5), (4, 3, 3, 3), Geometry()),
    ((2, 3, 5, 5), (0, 3, 3, 3), Geometry()),
    ((2, 0, 5, 5), (4, 0, 3, 3), Geometry()),
]
SMALL = {"BM": 16, "BN": 16, "BK": 32, "warps": 4, "stages": 2}


def draw(seed: int, x: tuple[int, ...], codes: tuple[int, ...]) -> tuple[torch.Tensor, ...]:
    g = torch.Generator().manual_seed(seed)
    made = [torch.randint(-128, 128, shape, generator=g, dtype=torch.int8) for shape in (x, codes)]
    inner = max(1, codes[1] * codes[2] * codes[3])
    multiplier, shift = dyadic((torch.rand(codes[0], generator=g) + 0.2) / (60 * inner**0.5))
    bias = torch.randint(-3000, 3000, (codes[0],), generator=g, dtype=torch.int32)
    return (*made, multiplier, shift, bias)


@pytest.mark.parametrize(("x", "codes", "at"), CASES, ids=str)
@pytest.mark.parametrize("tile", [None, SMALL], ids=["default", "small"])
def test_kernel_equals_the_reference(x: tuple[int, ...], codes: tuple[int, ...], at: Geometry, tile: Any) -> None:
    """Requantized, with bias and without, to 8 bits and 4, views of every argument: exactly; scaled: by roundings."""
    args = draw(1, x, codes)
    runs_in_triton("int8_conv2d", args[0])
    sums = reference.sums(args[0], args[1], at)
    for bias, bits, relu in ((args[4], 8, False), (None, 4, True)):
        low, high = reference.limits(bits, relu)
        whole = sums + (0 if bias is None else bias.long()[:, None, None])
        wanted = reference.requantize(whole, args[2], args[3], low, high)
        given = args[:4] if bias is None else [strided(t) for t in args[:4]]
        with poisoned():
            found = triton.requantized(*given, bias, at, low, high, tile)
        assert torch.equal(found, wanted)
        scales, more = torch.rand(codes[0]) * 1e-3, None if bias is None else torch.randn(codes[0])
        with poisoned():
            y = triton.scaled(args[0], args[1], scales, more, at, relu, tile)
        exact = sums.double() * scales.double()[:, None, None]
        size = exact.abs() + (0 if more is None else more.double().abs()[:, None, None])
        exact = exact + (0 if more is None else more.double()[:, None, None])
        close(y, exact.clamp_min(0) if relu else exact, 3, size)


def test_ends_of_integers() -> None:
    """Sums with their bias saturate; products of 62 bits; shifts of 1 and 62; negative halves go up."""
    x = torch.tensor([[127], [-128], [1], [-1]], dtype=torch.int8)
    codes = torch.tensor([[127], [-128], [1], [1], [1]], dtype=torch.int8)
    bias = torch.tensor([2**31 - 1, -(2**31), 0, 0, 0], dtype=torch.int32)
    multiplier = torch.tensor([2**31 - 1, 2**31 - 1, 2**31 - 1, 1, 3], dtype=torch.int32)
    shift = torch.tensor([55, 62, 30, 1, 1], dtype=torch.int32)
    whole = x.long() @ codes.long().T + bias.long()
    wanted = reference.requantize(whole, multiplier, shift, -128, 127)
    assert torch.equal(requantized_linear(x, codes, multiplier, shift, bias), wanted)
    assert wanted[:, 3].tolist() == [64, -64, 1, 0]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_dtypes_of_scales(dtype: torch.dtype) -> None:
    """Half precisions are rounded once, at the end (the interpreter cuts bfloat16); float64 stays float64, in torch."""
    x, codes, *_ = draw(2, (2, 3, 4, 5), (6, 3, 3, 3))
    scales = (torch.rand(6) * 1e-3).to(dtype)
    found = int8_conv2d(x, codes, scales, padding=1)
    assert found.dtype == dtype
    exact = reference.sums(x, codes, Geometry(padding=(1, 1))).double() * scales.double()[:, None, None]
    close(found, exact, 3)


def test_opcheck() -> None:
    """Schema, fake tensors and dynamic shapes hold where the kernel runs."""
    args = draw(3, (2, 3, 4, 5), (6, 3, 3, 3))
    at = ([1, 1], [1, 1], [1, 1], 1, True)
    torch.library.opcheck(torch.ops.searchd.requantized_conv2d.default, (*args, *at, 8))
    scales = torch.rand(6)
    torch.library.opcheck(torch.ops.searchd.int8_conv2d.default, (args[0], args[1], scales, None, *at))
    assert requantized_conv2d(*args, padding=1, relu=True).dtype == torch.int8
