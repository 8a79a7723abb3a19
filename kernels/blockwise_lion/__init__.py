"""`blockwise_lion`: Lion's whole step over moments packed in 8 or 4 bits, of many tensors at once.

An operator of `torch.library` that changes weights and states in place: unpack, update, pack, in one pass over memory
where there is a GPU. README.md in this folder has the maths, `reference` is the meaning in float64. Nothing here has a
gradient: it is what uses gradients.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from kernels._choose import Op, register
from kernels.blockwise_lion import reference
from kernels.blockwise_state import Scheme, State, chosen, eager, fits
from kernels.blockwise_state import reference as packing
from kernels.multi_tensor import KINDS
from kernels.multi_tensor.eager import lion_, wide

__all__ = ["lion", "reference"]

register(Op("blockwise_lion", dtypes=KINDS))


@torch.no_grad()
def lion(
    params: Sequence[Tensor], grads: Sequence[Tensor], firsts: Sequence[State], *, lr: float, beta1: float = 0.9,
    beta2: float = 0.99, weight_decay: float = 0.0,
) -> None:  # fmt: skip
    """A step of Lion of each of `params` by its gradient, in place; arithmetic in float32, or in the weights' dtype if
    wider. `firsts`: packed moments, begun by `blockwise_state.zeros`. ValueError for what does not fit."""
    fits(params, grads, {"first": firsts})
    alike: dict[Scheme, list[int]] = {}
    for i, one in enumerate(firsts):
        alike.setdefault(one.scheme, []).append(i)
    for scheme, which in alike.items():
        m = [firsts[i] for i in which]
        _lion(
            [params[i] for i in which], [grads[i] for i in which], [s.codes for s in m], [s.scales for s in m],
            lr, beta1, beta2, weight_decay, scheme.bits, scheme.block,
        )  # fmt: skip


@torch.library.custom_op("searchd::blockwise_lion", mutates_args=("params", "m", "m_scales"))
def _lion(
    params: Sequence[Tensor], grads: Sequence[Tensor], m: Sequence[Tensor], m_scales: Sequence[Tensor], lr: float,
    beta1: float, beta2: float, weight_decay: float, bits: int, block: int,
) -> None:  # fmt: skip
    first = Scheme(bits, True, False, block)
    who = chosen("blockwise_lion", params, grads, first).provider
    if who == "triton":
        from kernels.blockwise_lion import triton

        triton.step(params, grads, m, m_scales, first, lr, beta1, beta2, weight_decay)
        return
    for p, g, codes, scales in zip(params, grads, m, m_scales, strict=True):
        if who == "reference":
            new, moment = reference.lion(
                p, g, codes, scales, first, lr=lr, beta1=beta1, beta2=beta2, weight_decay=weight_decay
            )
            p.copy_(new)
            packed = packing.quantize(moment, first)
        else:
            moment = eager.dequantize(codes, scales, p.shape, first).to(wide(p).dtype)
            lion_(p, g, moment, lr, beta1, beta2, weight_decay)
            packed = eager.quantize(moment, first)
        codes.copy_(packed[0])
        scales.copy_(packed[1])


@_lion.register_fake
def _(*_: object) -> None:
    return None
