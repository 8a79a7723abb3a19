"""`newton_schulz`: the iteration that makes Muon's and NorMuon's steps, in bfloat16 (or wider) with symmetric products.

An operator of `torch.library`; README.md in this folder has the maths, `reference` is the meaning in float64. Two of
its three products a step are symmetric: on a GPU only the tiles on and below the diagonal are computed. It has no
gradient: it is what is done to gradients.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from kernels._check import FLOATS, floats
from kernels._choose import Choice, Op, choose, register
from kernels.newton_schulz import reference
from kernels.newton_schulz.reference import COEFFICIENTS, EPS

__all__ = ["COEFFICIENTS", "EPS", "chosen", "newton_schulz", "reference"]

LEAST = 256
"""Rows (the fewer of rows and columns) from which a product has a tile above the diagonal that can be left out."""
register(Op("newton_schulz", dtypes=(torch.bfloat16, torch.float16)))


def newton_schulz(
    x: Tensor, steps: int = 5, coefficients: tuple[float, float, float] = COEFFICIENTS, eps: float = EPS,
    dtype: torch.dtype = torch.bfloat16,
) -> Tensor:  # fmt: skip
    """X [R, C], or a batch [B, R, C], with singular values about 1, in `dtype`. ValueError for what does not fit."""
    floats("x", x)
    if x.dim() not in {2, 3}:
        raise ValueError(f"x is {list(x.shape)}, but has to be [R, C] or [B, R, C]: flatten or stack the matrices")
    if steps < 1 or len(coefficients) != 3:
        raise ValueError(f"{steps} steps with {len(coefficients)} coefficients, but it takes 1 or more, and a, b, c")
    if dtype not in FLOATS:
        raise ValueError(f"dtype is {dtype}, but the iteration is in floats: use torch.bfloat16")
    out: Tensor = _iterate(x.detach(), steps, list(coefficients), eps, dtype)
    return out


def chosen(x: Tensor) -> Choice:
    """Who runs the iteration over x, in the dtype of x, and why."""
    choice = choose("newton_schulz", x)
    if choice.provider == "triton" and min(x.shape[-2:]) < LEAST:
        return Choice("torch", f"{min(x.shape[-2:])} rows are one tile, and a kernel saves none below {LEAST}")
    return choice


@torch.library.custom_op("searchd::newton_schulz", mutates_args=())
def _iterate(x: Tensor, steps: int, coefficients: Sequence[float], eps: float, dtype: torch.dtype) -> Tensor:
    tall = x.shape[-2] > x.shape[-1]
    # The layout is kept: products over transposed views may round otherwise than over copies.
    y = (x.mT if tall else x).to(dtype, copy=True)
    who = chosen(y).provider
    if who == "reference":
        out = reference.newton_schulz(y, steps, (coefficients[0], coefficients[1], coefficients[2]), eps).to(dtype)
        return out.mT if tall else out
    y.div_(y.norm(dim=(-2, -1), keepdim=True).clamp_(min=eps))
    a, b, c = coefficients
    add = torch.addmm if y.dim() == 2 else torch.baddbmm
    for _ in range(steps):
        if who == "triton":
            from kernels.newton_schulz import triton

            gram = triton.symmetric(y)
            update = triton.symmetric(gram, gram, alpha=c, beta=b)
        else:
            gram = y @ y.mT
            update = add(gram, gram, gram, beta=b, alpha=c)
        y = add(y, update, y, beta=a)
    return y.mT if tall else y


@_iterate.register_fake
def _(
    x: Tensor, steps: int, coefficients: Sequence[float], eps: float, dtype: torch.dtype  # noqa: ARG001
) -> Tensor:
    *batch, rows, columns = x.shape
    if rows > columns:
        return x.new_empty(*batch, columns, rows, dtype=dtype).mT
    return x.new_empty(*batch, rows, columns, dtype=dtype)
