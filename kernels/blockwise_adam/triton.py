"""AdamW's step over packed moments of many tensors in one launch: a program a few blocks of one tensor.

A block's new scale needs all its values, and they are in the registers of one program: one read of weight, gradient,
codes and scales, one write of weight, codes and scales. Rank-1 scales need the largest value of a whole row and of a
whole column before anything can be packed: `maxima_kernel` goes over gradient and second moment first (4.5 bytes more a
weight), and `adamw_kernel` computes the second moment again.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels._kernel import Kernel, on
from kernels.blockwise_state.codes import SMALLEST, encode, load_codes, load_state, store_codes, store_state
from kernels.blockwise_state.eager import entries
from kernels.blockwise_state.reference import FIRST_4, FIRST_8, SECOND_4, SECOND_8, Scheme
from kernels.multi_tensor.table import flat, give_back, table
from kernels.multi_tensor.triton import ADAM_TYPES, NAMES, TYPES, adam, adam_numbers, address, by_dtypes

CHUNK = 1024
WARPS = 4
TILE = (16, 128)
"""Rows and columns of a matrix that one program of `maxima_kernel` sees."""


@triton.jit
def _divisors(rows, columns, start, length, size, BLOCK: tl.constexpr, ROWS: tl.constexpr, MASKED: tl.constexpr):
    """min(scale of the row, scale of the column) of each value from number `start` on, of a matrix of `length`
    columns."""
    at = tl.arange(0, ROWS)[:, None] * BLOCK + tl.arange(0, BLOCK)[None, :]
    local = (start % length).to(tl.int32) + at
    wide = length.to(tl.int32)
    row, column = start // length + local // wide, local % wide
    if MASKED:
        inside = start + at < size
        return tl.minimum(
            tl.load(rows + row, mask=inside, other=0.0), tl.load(columns + column, mask=inside, other=0.0),
            propagate_nan=tl.PropagateNan.ALL,
        )  # fmt: skip
    return tl.minimum(tl.load(rows + row), tl.load(columns + column), propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def _blocks(
    p, g, m, m_scales, v, v_scales, old, m_values, v_values, start, n, height, length,
    keep, rate, beta1, beta2, rest1, rest2, eps, root,
    M_BITS: tl.constexpr, V_BITS: tl.constexpr, LINEAR: tl.constexpr, RANK1: tl.constexpr, ROWS: tl.constexpr,
    BLOCK: tl.constexpr, MASKED: tl.constexpr,
):  # fmt: skip
    at = start + tl.arange(0, ROWS)[:, None] * BLOCK + tl.arange(0, BLOCK)[None, :]
    mask = at < n if MASKED else None
    if RANK1:
        found = tl.load(v_values + load_codes(v, start, n, V_BITS, ROWS, BLOCK, MASKED))
        second = found * _divisors(old, old + height, start, length, n, BLOCK, ROWS, MASKED)
    else:
        second = load_state(v, v_scales, v_values, start, n, V_BITS, ROWS, BLOCK, MASKED)
    p_new, m_new, v_new = adam(
        tl.load(p + at, mask=mask).to(tl.float32), tl.load(g + at, mask=mask).to(tl.float32),
        load_state(m, m_scales, m_values, start, n, M_BITS, ROWS, BLOCK, MASKED), second,
        keep, rate, beta1, beta2, rest1, rest2, eps, root,
    )  # fmt: skip
    tl.store(p + at, p_new.to(p.dtype.element_ty), mask=mask)
    store_state(m, m_scales, m_new, start, n, M_BITS, True, False, ROWS, BLOCK, MASKED)
    if RANK1:
        by = _divisors(v_scales, v_scales + height, start, length, n, BLOCK, ROWS, MASKED)
        code = encode(v_new / tl.maximum(by, SMALLEST), V_BITS, False, LINEAR)
        store_codes(v, code, start, n, V_BITS, ROWS, BLOCK, MASKED)
    else:
        store_state(v, v_scales, v_new, start, n, V_BITS, False, LINEAR, ROWS, BLOCK, MASKED)


@triton.jit
def adamw_kernel(
    rows, chunks, m_values, v_values, keep, rate, beta1, beta2, rest1, rest2, eps, root,
    P: tl.constexpr, G: tl.constexpr, M_BITS: tl.constexpr, V_BITS: tl.constexpr, LINEAR: tl.constexpr,
    RANK1: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr, ALIGNED: tl.constexpr,
):  # fmt: skip
    which = tl.load(chunks + 2 * tl.program_id(0)).to(tl.int64)
    start = tl.load(chunks + 2 * tl.program_id(0) + 1).to(tl.int64) * (ROWS * BLOCK)
    p = address(rows, which, 0, 10, P, ALIGNED)
    g = address(rows, which, 1, 10, G, ALIGNED)
    m = address(rows, which, 2, 10, tl.uint8, ALIGNED)
    m_scales = address(rows, which, 3, 10, tl.float32, ALIGNED)
    v = address(rows, which, 4, 10, tl.uint8, ALIGNED)
    v_scales = address(rows, which, 5, 10, tl.float32, ALIGNED)
    old = address(rows, which, 6, 10, tl.float32, False)
    n = tl.load(rows + which * 10 + 7)
    height, length = tl.load(rows + which * 10 + 8), tl.load(rows + which * 10 + 9)
    if start + ROWS * BLOCK <= n:
        _blocks(
            p, g, m, m_scales, v, v_scales, old, m_values, v_values, start, n, height, length, keep, rate, beta1,
            beta2, rest1, rest2, eps, root, M_BITS, V_BITS, LINEAR, RANK1, ROWS, BLOCK, False,
        )  # fmt: skip
    else:
        _blocks(
            p, g, m, m_scales, v, v_scales, old, m_values, v_values, start, n, height, length, keep, rate, beta1,
            beta2, rest1, rest2, eps, root, M_BITS, V_BITS, LINEAR, RANK1, ROWS, BLOCK, True,
        )  # fmt: skip


@triton.jit
def maxima_kernel(
    rows, chunks, v_values, beta2, rest2,
    G: tl.constexpr, V_BITS: tl.constexpr, HIGH: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """The largest new second moment of every row and column, into scales that are 0; `old`: those of the codes."""
    which = tl.load(chunks + 2 * tl.program_id(0)).to(tl.int64)
    tile = tl.load(chunks + 2 * tl.program_id(0) + 1).to(tl.int64)
    g = address(rows, which, 1, 10, G, False)
    v = address(rows, which, 4, 10, tl.uint8, False)
    scales = address(rows, which, 5, 10, tl.int32, False)  # by their bits, whose order is that of floats from 0 on
    old = address(rows, which, 6, 10, tl.float32, False)
    height, length = tl.load(rows + which * 10 + 8), tl.load(rows + which * 10 + 9)
    across = tl.cdiv(length, WIDE)
    row = tile // across * HIGH + tl.arange(0, HIGH)
    column = tile % across * WIDE + tl.arange(0, WIDE)
    inside = (row < height)[:, None] & (column < length)[None, :]
    at = row[:, None] * length + column[None, :]
    if V_BITS == 8:
        code = tl.load(v + at, mask=inside, other=0).to(tl.int32)
    else:
        code = (tl.load(v + at // 2, mask=inside, other=0).to(tl.int32) >> (at % 2 * 4).to(tl.int32)) & 15
    by = tl.minimum(
        tl.load(old + row, mask=row < height, other=0.0)[:, None],
        tl.load(old + height + column, mask=column < length, other=0.0)[None, :],
        propagate_nan=tl.PropagateNan.ALL,
    )
    slope = tl.load(g + at, mask=inside, other=0.0).to(tl.float32)
    new = tl.where(inside, beta2 * (tl.load(v_values + code) * by) + rest2 * (slope * slope), 0.0)
    bits = new.to(tl.int32, bitcast=True) & 0x7FFFFFFF
    tl.atomic_max(scales + row, tl.max(bits, axis=1), mask=row < height)
    tl.atomic_max(scales + height + column, tl.max(bits, axis=0), mask=column < length)


def step(
    params: Sequence[Tensor], grads: Sequence[Tensor], m: Sequence[Tensor], m_scales: Sequence[Tensor],
    v: Sequence[Tensor], v_scales: Sequence[Tensor], first: Scheme, second: Scheme, step: int, lr: float, beta1: float,
    beta2: float, eps: float, weight_decay: float,
) -> None:  # fmt: skip
    """The step of all tensors, whose moments are packed by `first` and `second`; a launch for each pair of dtypes, two
    with rank-1 scales."""
    rows, rank1 = max(1, CHUNK // first.block), second.block == 0
    numbers = adam_numbers(step, lr, beta1, beta2, eps, weight_decay)
    for (kind, slope), chosen in by_dtypes(params, grads).items():
        p, g = flat([params[i] for i in chosen]), flat([grads[i] for i in chosen])
        states = [[column[i] for i in chosen] for column in (m, m_scales, v, v_scales)]
        device, sizes = p[0].device, [t.numel() for t in p]
        high = [t.shape[0] if rank1 else 0 for t in p]
        wide = [n // h if h else 0 for n, h in zip(sizes, high, strict=True)]
        old = states[3]
        if rank1:
            old = list(torch.cat(old).split([h + w for h, w in zip(high, wide, strict=True)]))
            torch._foreach_zero_(states[3])
        columns, numbers_of = (p, g, *states, old), (sizes, high, wide)
        values = entries(first, device), entries(second, device)
        with on(p[0]):
            if rank1:
                tiles = [-(-h // TILE[0]) * -(-w // TILE[1]) for h, w in zip(high, wide, strict=True)]
                made = table(columns, numbers_of, tiles, device)
                maxima_kernel[(len(made.chunks),)](
                    made.rows, made.chunks, values[1], beta2, 1 - beta2, G=TYPES[slope], V_BITS=second.bits,
                    HIGH=TILE[0], WIDE=TILE[1], num_warps=WARPS,
                )  # fmt: skip
            made = table(columns, numbers_of, [-(-n // (rows * first.block)) for n in sizes], device)
            aligned = made.aligned or (rank1 and not any(t.data_ptr() % 16 for c in columns[:-1] for t in c))
            adamw_kernel[(len(made.chunks),)](
                made.rows, made.chunks, *values, *numbers, P=TYPES[kind], G=TYPES[slope], M_BITS=first.bits,
                V_BITS=second.bits, LINEAR=second.linear, RANK1=rank1, ROWS=rows, BLOCK=first.block, ALIGNED=aligned,
                num_warps=WARPS,
            )  # fmt: skip
        give_back([params[i] for i in chosen], p)


def _listed(first: Scheme, second: Scheme, kind: torch.dtype, aligned: bool) -> Kernel:
    constants = {
        "P": TYPES[kind], "G": TYPES[kind], "M_BITS": first.bits, "V_BITS": second.bits, "LINEAR": second.linear,
        "RANK1": second.block == 0, "ROWS": CHUNK // first.block, "BLOCK": first.block, "ALIGNED": aligned,
    }  # fmt: skip
    name = f"adamw{first.bits}{'_rank1' if second.block == 0 else ''}_{NAMES[kind]}{'' if aligned else '_unaligned'}"
    types = ADAM_TYPES | {"m_values": "*fp32", "v_values": "*fp32"}
    return Kernel(name, adamw_kernel, types, constants, {"num_warps": WARPS})


_BLOCKS_4 = SECOND_4.of(torch.Size([1]))
KERNELS = (
    *(
        _listed(first, second, kind, aligned)
        for first, second in ((FIRST_8, SECOND_8), (FIRST_4, _BLOCKS_4), (FIRST_4, SECOND_4))
        for kind, aligned in ((torch.float32, True), (torch.float32, False), (torch.bfloat16, True))
    ),
    *(
        Kernel(
            f"maxima_{NAMES[kind]}", maxima_kernel,
            {"rows": "*i64", "chunks": "*i32", "v_values": "*fp32", "beta2": "fp32", "rest2": "fp32"},
            {"G": TYPES[kind], "V_BITS": SECOND_4.bits, "HIGH": TILE[0], "WIDE": TILE[1]}, {"num_warps": WARPS},
        )
        for kind in (torch.float32, torch.bfloat16)
    ),
)  # fmt: skip
