"""Lion over packed moments, written out: unpack, step in float64, and what is packed again is the unrounded moment.

Sources: Chen and others (2023, NeurIPS), Lion; Dettmers and others (2022, ICLR), states in 8 bits.
"""

from __future__ import annotations

from torch import Tensor

from kernels.blockwise_state.reference import Scheme, dequantize
from kernels.multi_tensor import reference


def lion(
    p: Tensor, grad: Tensor, m: Tensor, m_scales: Tensor, first: Scheme, *, lr: float, beta1: float, beta2: float,
    weight_decay: float,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """(weights, moment) in float64; the moment has still to be packed."""
    return reference.lion(
        p.double(), grad, dequantize(m, m_scales, p.shape, first), lr=lr, beta1=beta1, beta2=beta2,
        weight_decay=weight_decay,
    )  # fmt: skip
