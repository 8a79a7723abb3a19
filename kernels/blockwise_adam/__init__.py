"""`blockwise_adam`: AdamW's whole step over moments packed in 8 or 4 bits, of many tensors at once.

An operator of `torch.library` that changes weights and states in place: unpack, update, pack, in one pass over memory
where there is a GPU. README.md in this folder has the maths, `reference` is the meaning in float64. Nothing here has a
gradient: it is what uses gradients.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from kernels._choose import Op, register
from kernels.blockwise_adam import reference
from kernels.blockwise_state import Scheme, State, chosen, eager, fits
from kernels.blockwise_state import reference as packing
from kernels.multi_tensor import KINDS, first_step
from kernels.multi_tensor.eager import adam_, wide

__all__ = ["adamw", "reference"]

register(Op("blockwise_adam", dtypes=KINDS))


@torch.no_grad()
def adamw(
    params: Sequence[Tensor], grads: Sequence[Tensor], firsts: Sequence[State], seconds: Sequence[State], step: int, *,
    lr: float, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8, weight_decay: float = 0.0,
) -> None:  # fmt: skip
    """AdamW's step number `step` (from 1) of each of `params` by its gradient, in place; arithmetic in float32, or in
    the weights' dtype if wider. `firsts`, `seconds`: packed moments, begun by `blockwise_state.zeros`. ValueError for
    what does not fit."""
    fits(params, grads, {"first": firsts, "second": seconds})
    first_step(step)
    alike: dict[tuple[Scheme, Scheme], list[int]] = {}
    for i, (one, other) in enumerate(zip(firsts, seconds, strict=True)):
        alike.setdefault((one.scheme, other.scheme), []).append(i)
    for (a, b), which in alike.items():
        m, v = [firsts[i] for i in which], [seconds[i] for i in which]
        _adamw(
            [params[i] for i in which], [grads[i] for i in which], [s.codes for s in m], [s.scales for s in m],
            [s.codes for s in v], [s.scales for s in v], step, lr, beta1, beta2, eps, weight_decay,
            a.bits, a.block, b.bits, b.linear, b.block,
        )  # fmt: skip


@torch.library.custom_op("searchd::blockwise_adamw", mutates_args=("params", "m", "m_scales", "v", "v_scales"))
def _adamw(
    params: Sequence[Tensor], grads: Sequence[Tensor], m: Sequence[Tensor], m_scales: Sequence[Tensor],
    v: Sequence[Tensor], v_scales: Sequence[Tensor], step: int, lr: float, beta1: float, beta2: float, eps: float,
    weight_decay: float, m_bits: int, m_block: int, v_bits: int, v_linear: bool, v_block: int,
) -> None:  # fmt: skip
    first, second = Scheme(m_bits, True, False, m_block), Scheme(v_bits, False, v_linear, v_block)
    who = chosen("blockwise_adam", params, grads, first, second).provider
    if who == "triton":
        from kernels.blockwise_adam import triton

        triton.step(
            params, grads, m, m_scales, v, v_scales, first, second, step, lr, beta1, beta2, eps, weight_decay
        )
        return
    for p, g, a, a_scales, b, b_scales in zip(params, grads, m, m_scales, v, v_scales, strict=True):
        if who == "reference":
            new, m_new, v_new = reference.adamw(
                p, g, a, a_scales, b, b_scales, first, second, step, lr=lr, beta1=beta1, beta2=beta2, eps=eps,
                weight_decay=weight_decay,
            )  # fmt: skip
            p.copy_(new)
            pack = packing.quantize
        else:
            m_new = eager.dequantize(a, a_scales, p.shape, first).to(wide(p).dtype)
            v_new = eager.dequantize(b, b_scales, p.shape, second).to(wide(p).dtype)
            adam_(p, g, m_new, v_new, step, lr, beta1, beta2, eps, weight_decay)
            pack = eager.quantize
        made = (*pack(m_new, first), *pack(v_new, second))
        for into, found in zip((a, a_scales, b, b_scales), made, strict=True):
            into.copy_(found)


@_adamw.register_fake
def _(*_: object) -> None:
    return None
