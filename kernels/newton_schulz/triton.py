"""α X Xᵀ + β C for symmetric C: only tiles on and below the diagonal are computed, each is written twice, mirrored,
and of one on the diagonal the lower half: the answer is symmetric to the bit, in whatever order a product sums.

So about half of the multiplications of a general product. Both symmetric products of a Newton–Schulz step are of that
kind: A = X Xᵀ, and b A + c A² = b A + c A Aᵀ, for A is symmetric. `WIDEN`: Triton's interpreter has no product of
bfloat16, so there, and only there, operands become float32 first.
"""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from kernels._choose import interpreting
from kernels._kernel import Kernel, on

TILE = 128
DEPTH = 64
OPTIONS = {"num_warps": 8, "num_stages": 3}


@triton.jit
def _below(t):
    """(row, column) of the tile number t on or below the diagonal, row by row."""
    row = ((tl.sqrt(8.0 * t + 1.0) - 1.0) * 0.5).to(tl.int32)
    row = tl.where(row * (row + 1) // 2 > t, row - 1, row)  # a rounding of the root
    row = tl.where((row + 1) * (row + 2) // 2 <= t, row + 1, row)
    return row, t - row * (row + 1) // 2


@triton.jit
def symmetric_kernel(
    x, old, out, rows, depth, x_batch, x_row, x_column, alpha, beta,
    ADDED: tl.constexpr, WIDEN: tl.constexpr, TILE: tl.constexpr, DEPTH: tl.constexpr,
):  # fmt: skip
    i, j = _below(tl.program_id(0))
    batch = tl.program_id(1).to(tl.int64)
    x += batch * x_batch
    out += batch * rows * rows
    at_i, at_j = i * TILE + tl.arange(0, TILE), j * TILE + tl.arange(0, TILE)
    at_k = tl.arange(0, DEPTH)
    in_i, in_j = at_i < rows, at_j < rows
    left = x + at_i[:, None].to(tl.int64) * x_row + at_k[None, :] * x_column
    right = x + at_j[None, :].to(tl.int64) * x_row + at_k[:, None] * x_column
    total = tl.zeros((TILE, TILE), dtype=tl.float32)
    for start in range(0, depth, DEPTH):
        inside = start + at_k < depth
        a = tl.load(left, mask=in_i[:, None] & inside[None, :], other=0.0)
        b = tl.load(right, mask=in_j[None, :] & inside[:, None], other=0.0)
        if WIDEN:
            a, b = a.to(tl.float32), b.to(tl.float32)
        total = tl.dot(a, b, total)
        left += DEPTH * x_column
        right += DEPTH * x_column
    total *= alpha
    place = at_i[:, None].to(tl.int64) * rows + at_j[None, :]
    mask = in_i[:, None] & in_j[None, :]
    if ADDED:
        total += beta * tl.load(old + batch * rows * rows + place, mask=mask, other=0.0).to(tl.float32)
    made = total.to(out.dtype.element_ty)
    lower = mask & ((i != j) | (at_i[:, None] >= at_j[None, :]))  # a tile on the diagonal may sum in two orders
    tl.store(out + place, made, mask=lower)
    mirror = at_j[:, None].to(tl.int64) * rows + at_i[None, :]
    tl.store(out + mirror, tl.trans(made), mask=tl.trans(lower))


def symmetric(x: Tensor, old: Tensor | None = None, alpha: float = 1.0, beta: float = 0.0) -> Tensor:
    """α X Xᵀ + β C [..., R, R] for X [..., R, K], any strides, and symmetric contiguous C = `old`; sums in float32."""
    *batch, rows, depth = x.shape
    out = x.new_empty(*batch, rows, rows)
    if out.numel():
        tiles = triton.cdiv(rows, TILE)
        given = x if x.dim() == 3 else x[None]
        with on(x):
            symmetric_kernel[(tiles * (tiles + 1) // 2, len(given))](
                given, out if old is None else old, out, rows, depth, *given.stride(), alpha, beta,
                ADDED=old is not None, WIDEN=interpreting(), TILE=TILE, DEPTH=DEPTH, **OPTIONS,
            )  # fmt: skip
    return out


KERNELS = tuple(
    Kernel(
        f"symmetric_{name}{'_added' if added else ''}", symmetric_kernel,
        {"x": f"*{name}", "old": f"*{name}", "out": f"*{name}", "rows": "i32", "depth": "i32", "x_batch": "i64",
         "x_row": "i32", "x_column": "i32", "alpha": "fp32", "beta": "fp32"},
        {"ADDED": added, "WIDEN": False, "TILE": TILE, "DEPTH": DEPTH}, OPTIONS,
    )
    for name in ("bf16", "fp16")
    for added in (False, True)
)  # fmt: skip
