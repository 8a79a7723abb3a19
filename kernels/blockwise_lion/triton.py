"""Lion's step over packed moments of many tensors in one launch: a program a few blocks of one tensor.

A block's new scale needs all its values, and they are in the registers of one program: so one read of weight, gradient,
codes and scales, and one write of weight, codes and scales.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels._kernel import Kernel, on
from kernels.blockwise_state.codes import load_state, store_state
from kernels.blockwise_state.eager import entries
from kernels.blockwise_state.reference import FIRST_4, FIRST_8, Scheme
from kernels.multi_tensor.table import flat, give_back, table
from kernels.multi_tensor.triton import LION_TYPES, NAMES, TYPES, address, by_dtypes, lion, lion_numbers

CHUNK = 1024
WARPS = 4
COLUMNS = 5


@triton.jit
def _blocks(
    p, g, m, scales, values, start, n, keep, rate, beta1, beta2, rest1, rest2,
    BITS: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr, MASKED: tl.constexpr,
):  # fmt: skip
    at = start + tl.arange(0, ROWS)[:, None] * BLOCK + tl.arange(0, BLOCK)[None, :]
    mask = at < n if MASKED else None
    p_new, m_new = lion(
        tl.load(p + at, mask=mask).to(tl.float32), tl.load(g + at, mask=mask).to(tl.float32),
        load_state(m, scales, values, start, n, BITS, ROWS, BLOCK, MASKED), keep, rate, beta1, beta2, rest1, rest2,
    )  # fmt: skip
    tl.store(p + at, p_new.to(p.dtype.element_ty), mask=mask)
    store_state(m, scales, m_new, start, n, BITS, True, False, ROWS, BLOCK, MASKED)


@triton.jit
def lion_kernel(
    rows, chunks, values, keep, rate, beta1, beta2, rest1, rest2,
    P: tl.constexpr, G: tl.constexpr, BITS: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
    ALIGNED: tl.constexpr,
):  # fmt: skip
    which = tl.load(chunks + 2 * tl.program_id(0)).to(tl.int64)
    start = tl.load(chunks + 2 * tl.program_id(0) + 1).to(tl.int64) * (ROWS * BLOCK)
    p = address(rows, which, 0, 5, P, ALIGNED)
    g = address(rows, which, 1, 5, G, ALIGNED)
    m = address(rows, which, 2, 5, tl.uint8, ALIGNED)
    scales = address(rows, which, 3, 5, tl.float32, ALIGNED)
    n = tl.load(rows + which * 5 + 4)
    if start + ROWS * BLOCK <= n:
        _blocks(p, g, m, scales, values, start, n, keep, rate, beta1, beta2, rest1, rest2, BITS, ROWS, BLOCK, False)
    else:
        _blocks(p, g, m, scales, values, start, n, keep, rate, beta1, beta2, rest1, rest2, BITS, ROWS, BLOCK, True)


def step(
    params: Sequence[Tensor], grads: Sequence[Tensor], codes: Sequence[Tensor], scales: Sequence[Tensor],
    scheme: Scheme, lr: float, beta1: float, beta2: float, weight_decay: float,
) -> None:  # fmt: skip
    """The step of all tensors, whose moments are packed by `scheme`; a launch for each pair of dtypes."""
    rows = max(1, CHUNK // scheme.block)
    for (kind, slope), chosen in by_dtypes(params, grads).items():
        p, g = flat([params[i] for i in chosen]), flat([grads[i] for i in chosen])
        sizes = [t.numel() for t in p]
        made = table(
            (p, g, [codes[i] for i in chosen], [scales[i] for i in chosen]), (sizes,),
            [-(-n // (rows * scheme.block)) for n in sizes], p[0].device,
        )  # fmt: skip
        with on(p[0]):
            lion_kernel[(len(made.chunks),)](
                made.rows, made.chunks, entries(scheme, p[0].device), *lion_numbers(lr, beta1, beta2, weight_decay),
                P=TYPES[kind], G=TYPES[slope], BITS=scheme.bits, ROWS=rows, BLOCK=scheme.block, ALIGNED=made.aligned,
                num_warps=WARPS,
            )  # fmt: skip
        give_back([params[i] for i in chosen], p)


KERNELS = tuple(
    Kernel(
        f"lion{scheme.bits}_{NAMES[kind]}{'' if aligned else '_unaligned'}", lion_kernel,
        LION_TYPES | {"values": "*fp32"},
        {"P": TYPES[kind], "G": TYPES[kind], "BITS": scheme.bits, "ROWS": CHUNK // scheme.block, "BLOCK": scheme.block,
         "ALIGNED": aligned}, {"num_warps": WARPS},
    )
    for scheme in (FIRST_8, FIRST_4)
    for kind, aligned in ((torch.float32, True), (torch.float32, False), (torch.bfloat16, True))
)  # fmt: skip
