"""AdamW's and Lion's step over 32-bit states of many tensors in one launch: a program a chunk of one tensor.

Each value is read once and written once; everything between is in registers. `full` chunks load without masks, so that
loads are of 128 bits; the last chunk of a tensor is masked.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels._kernel import Kernel, on
from kernels.multi_tensor.table import Table, flat, give_back, table

CHUNK = 1024
WARPS = 4
TYPES = {torch.float32: tl.float32, torch.bfloat16: tl.bfloat16, torch.float16: tl.float16}
NAMES = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}


@triton.jit
def address(rows, which, column: tl.constexpr, columns: tl.constexpr, kind: tl.constexpr, ALIGNED: tl.constexpr):
    """The pointer in `column` of a tensor's row, to values of `kind`."""
    found = tl.load(rows + which * columns + column).to(tl.pointer_type(kind))
    if ALIGNED:
        found = tl.multiple_of(found, 16)
    return found


@triton.jit
def adam(p, g, m, v, keep, rate, beta1, beta2, rest1, rest2, eps, root):
    """(p, m, v) in float32; keep = 1 − ηλ, rate = η / (1 − β1^t), root = 1 / sqrt(1 − β2^t), rest = 1 − β."""
    m = beta1 * m + rest1 * g
    v = beta2 * v + rest2 * (g * g)
    return keep * p - rate * (m / (tl.sqrt(v) * root + eps)), m, v


@triton.jit
def lion(p, g, m, keep, rate, beta1, beta2, rest1, rest2):
    """(p, m) in float32."""
    c = beta1 * m + rest1 * g
    sign = tl.where(c > 0, 1.0, tl.where(c < 0, -1.0, 0.0)) + 0 * c  # NaN where c is not finite: it has to be seen
    return keep * p - rate * sign, beta2 * m + rest2 * g


@triton.jit
def _adam_chunk(
    p, g, m, v, start, n, keep, rate, beta1, beta2, rest1, rest2, eps, root, CHUNK: tl.constexpr, MASKED: tl.constexpr
):  # fmt: skip
    at = start + tl.arange(0, CHUNK)
    mask = at < n if MASKED else None
    p_new, m_new, v_new = adam(
        tl.load(p + at, mask=mask).to(tl.float32), tl.load(g + at, mask=mask).to(tl.float32),
        tl.load(m + at, mask=mask), tl.load(v + at, mask=mask),
        keep, rate, beta1, beta2, rest1, rest2, eps, root,
    )  # fmt: skip
    tl.store(p + at, p_new.to(p.dtype.element_ty), mask=mask)
    tl.store(m + at, m_new, mask=mask)
    tl.store(v + at, v_new, mask=mask)


@triton.jit
def adamw_kernel(
    rows, chunks, keep, rate, beta1, beta2, rest1, rest2, eps, root,
    P: tl.constexpr, G: tl.constexpr, CHUNK: tl.constexpr, ALIGNED: tl.constexpr,
):  # fmt: skip
    which = tl.load(chunks + 2 * tl.program_id(0)).to(tl.int64)
    start = tl.load(chunks + 2 * tl.program_id(0) + 1).to(tl.int64) * CHUNK
    p = address(rows, which, 0, 5, P, ALIGNED)
    g = address(rows, which, 1, 5, G, ALIGNED)
    m = address(rows, which, 2, 5, tl.float32, ALIGNED)
    v = address(rows, which, 3, 5, tl.float32, ALIGNED)
    n = tl.load(rows + which * 5 + 4)
    if start + CHUNK <= n:
        _adam_chunk(p, g, m, v, start, n, keep, rate, beta1, beta2, rest1, rest2, eps, root, CHUNK, False)
    else:
        _adam_chunk(p, g, m, v, start, n, keep, rate, beta1, beta2, rest1, rest2, eps, root, CHUNK, True)


@triton.jit
def _lion_chunk(
    p, g, m, start, n, keep, rate, beta1, beta2, rest1, rest2, CHUNK: tl.constexpr, MASKED: tl.constexpr
):  # fmt: skip
    at = start + tl.arange(0, CHUNK)
    mask = at < n if MASKED else None
    p_new, m_new = lion(
        tl.load(p + at, mask=mask).to(tl.float32), tl.load(g + at, mask=mask).to(tl.float32),
        tl.load(m + at, mask=mask), keep, rate, beta1, beta2, rest1, rest2,
    )  # fmt: skip
    tl.store(p + at, p_new.to(p.dtype.element_ty), mask=mask)
    tl.store(m + at, m_new, mask=mask)


@triton.jit
def lion_kernel(
    rows, chunks, keep, rate, beta1, beta2, rest1, rest2,
    P: tl.constexpr, G: tl.constexpr, CHUNK: tl.constexpr, ALIGNED: tl.constexpr,
):  # fmt: skip
    which = tl.load(chunks + 2 * tl.program_id(0)).to(tl.int64)
    start = tl.load(chunks + 2 * tl.program_id(0) + 1).to(tl.int64) * CHUNK
    p = address(rows, which, 0, 4, P, ALIGNED)
    g = address(rows, which, 1, 4, G, ALIGNED)
    m = address(rows, which, 2, 4, tl.float32, ALIGNED)
    n = tl.load(rows + which * 4 + 3)
    if start + CHUNK <= n:
        _lion_chunk(p, g, m, start, n, keep, rate, beta1, beta2, rest1, rest2, CHUNK, False)
    else:
        _lion_chunk(p, g, m, start, n, keep, rate, beta1, beta2, rest1, rest2, CHUNK, True)


def adam_numbers(
    step: int, lr: float, beta1: float, beta2: float, eps: float, weight_decay: float
) -> tuple[float, ...]:
    """The numbers of `adam`, computed in float64: keep, rate, β1, β2, 1 − β1, 1 − β2, ε, root."""
    rate, root = lr / (1 - beta1**step), 1 / math.sqrt(1 - beta2**step)
    return 1 - lr * weight_decay, rate, beta1, beta2, 1 - beta1, 1 - beta2, eps, root


def lion_numbers(lr: float, beta1: float, beta2: float, weight_decay: float) -> tuple[float, ...]:
    """The numbers of `lion`, computed in float64: keep, rate, β1, β2, 1 − β1, 1 − β2."""
    return 1 - lr * weight_decay, lr, beta1, beta2, 1 - beta1, 1 - beta2


def by_dtypes(params: Sequence[Tensor], grads: Sequence[Tensor]) -> dict[tuple[torch.dtype, torch.dtype], list[int]]:
    """Which of the tensors with values have which dtypes of weight and gradient: a launch each."""
    found: dict[tuple[torch.dtype, torch.dtype], list[int]] = {}
    for i, (p, g) in enumerate(zip(params, grads, strict=True)):
        if p.numel():
            found.setdefault((p.dtype, g.dtype), []).append(i)
    return found


def step(
    kernel: Any, params: Sequence[Tensor], grads: Sequence[Tensor], states: Sequence[Sequence[Tensor]],
    numbers: tuple[float, ...],
) -> None:  # fmt: skip
    """Launches `kernel` over all tensors, once for each pair of dtypes; `states`: m, or m and v, of each tensor."""
    for (kind, slope), chosen in by_dtypes(params, grads).items():
        p, g = flat([params[i] for i in chosen]), flat([grads[i] for i in chosen])
        given = [[column[i] for i in chosen] for column in states]
        own = [flat(column) for column in given]
        sizes = [t.numel() for t in p]
        made: Table = table((p, g, *own), (sizes,), [-(-n // CHUNK) for n in sizes], p[0].device)
        with on(p[0]):
            kernel[(len(made.chunks),)](
                made.rows, made.chunks, *numbers, P=TYPES[kind], G=TYPES[slope], CHUNK=CHUNK, ALIGNED=made.aligned,
                num_warps=WARPS,
            )  # fmt: skip
        give_back([params[i] for i in chosen], p)
        for column, worked in zip(given, own, strict=True):
            give_back(column, worked)


_TABLES = {"rows": "*i64", "chunks": "*i32"}
ADAM_TYPES = _TABLES | dict.fromkeys(("keep", "rate", "beta1", "beta2", "rest1", "rest2", "eps", "root"), "fp32")
LION_TYPES = _TABLES | dict.fromkeys(("keep", "rate", "beta1", "beta2", "rest1", "rest2"), "fp32")
KERNELS = tuple(
    Kernel(
        f"{name}_{NAMES[kind]}_{NAMES[slope]}{'' if aligned else '_unaligned'}", fn, types,
        {"P": TYPES[kind], "G": TYPES[slope], "CHUNK": CHUNK, "ALIGNED": aligned}, {"num_warps": WARPS},
    )
    for name, fn, types in (("adamw", adamw_kernel, ADAM_TYPES), ("lion", lion_kernel, LION_TYPES))
    for kind, slope, aligned in (
        (torch.float32, torch.float32, True), (torch.float32, torch.float32, False),
        (torch.bfloat16, torch.bfloat16, True), (torch.float16, torch.float16, True),
    )
)  # fmt: skip
