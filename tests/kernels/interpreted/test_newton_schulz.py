"""The symmetric product of `newton_schulz`, run by Triton's interpreter: every tile, both halves, any strides."""

from __future__ import annotations

import math

import pytest
import torch
import triton
import triton.language as tl

from kernels.newton_schulz import chosen, newton_schulz, reference
from kernels.newton_schulz.triton import _below, symmetric
from tests.support.kernels import poisoned, runs_in_triton, strided

SHAPES = [(1, 1), (1, 300), (127, 5), (129, 63), (257, 65), (300, 1), (2, 130, 70)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_product(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    """α X Xᵀ + β C: float64's to one rounding of the dtype (two where the interpreter truncates) and the float32 sum's;
    exactly symmetric; the same of transposed and of strided memory."""
    runs_in_triton("newton_schulz", torch.zeros(3, dtype=dtype))
    x = torch.randn(shape).to(dtype)
    old = torch.randn(*shape[:-1], shape[-2])
    old = (old + old.mT).to(dtype)
    exact = 0.5 * x.double() @ x.double().mT - 2 * old.double()
    size = 0.5 * x.double().abs() @ x.double().abs().mT + 2 * old.double().abs()
    turned = x.mT.contiguous().mT
    for given in (x, turned, strided(x)):
        with poisoned():
            found = symmetric(given, old, alpha=0.5, beta=-2.0)
        assert torch.equal(found, found.mT)
        bound = torch.finfo(dtype).eps * exact.abs() + shape[-1] * 2.0**-24 * size + 1e-7
        assert bool(((found.double() - exact).abs() <= bound).all())
    plain = symmetric(x)
    assert bool(((plain.double() - x.double() @ x.double().mT).abs() <= torch.finfo(dtype).eps * 2 * size + 1e-5).all())


@triton.jit
def _tiles_kernel(out, first, N: tl.constexpr):
    row, column = _below(first + tl.arange(0, N))
    tl.store(out + 2 * tl.arange(0, N), row)
    tl.store(out + 2 * tl.arange(0, N) + 1, column)


@pytest.mark.parametrize("first", [0, 2**22 - 1000, 2**26])
def test_tiles_are_counted_row_by_row(first: int) -> None:
    """(0, 0), (1, 0), (1, 1), (2, 0), …: each tile once, none above the diagonal; also where a float32 root rounds."""
    out = torch.full((2**14, 2), -1, dtype=torch.int32)
    _tiles_kernel[(1,)](out, first, len(out))
    numbers = range(first, first + len(out))
    rows = [(math.isqrt(8 * t + 1) - 1) // 2 for t in numbers]
    assert out.tolist() == [[r, t - r * (r + 1) // 2] for r, t in zip(rows, numbers, strict=True)]


@pytest.mark.parametrize(("shape", "steps"), [((257, 300), 5), ((300, 260), 2), ((2, 256, 257), 1)], ids=str)
def test_the_iteration(shape: tuple[int, ...], steps: int) -> None:
    """Wide, tall and a batch: the float64 reference, as near as bfloat16 comes (torch's products: .005 here)."""
    x = torch.randn(shape)
    assert chosen(x.bfloat16()).provider == "triton"
    with poisoned():
        found = newton_schulz(x, steps)
    exact = reference.newton_schulz(x.bfloat16(), steps)
    assert float((found.double() - exact).abs().max()) < 0.08 * float(exact.abs().max())


def test_few_rows_run_in_torch() -> None:
    """One tile is nothing to save on: torch, and the chooser says why."""
    choice = chosen(torch.zeros(255, 4000, dtype=torch.bfloat16))
    assert (choice.provider, choice.why) == ("torch", "255 rows are one tile, and a kernel saves none below 256")
