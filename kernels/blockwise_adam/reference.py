"""AdamW over packed moments, written out: unpack, step in float64, and what is packed again is the unrounded moments.

Sources: Dettmers, Lewis, Shleifer and Zettlemoyer (2022, ICLR), 8 bits; Li, Chen and Zhu (2023, NeurIPS), 4 bits.
"""

from __future__ import annotations

from torch import Tensor

from kernels.blockwise_state.reference import Scheme, dequantize
from kernels.multi_tensor.reference import adam


def adamw(
    p: Tensor, grad: Tensor, m: Tensor, m_scales: Tensor, v: Tensor, v_scales: Tensor, first: Scheme, second: Scheme,
    step: int, *, lr: float, beta1: float, beta2: float, eps: float, weight_decay: float,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """(weights, first, second moment) in float64 after step number `step`; the moments have still to be packed."""
    return adam(
        p.double(), grad, dequantize(m, m_scales, p.shape, first), dequantize(v, v_scales, p.shape, second), step,
        lr=lr, beta1=beta1, beta2=beta2, eps=eps, weight_decay=weight_decay,
    )  # fmt: skip
