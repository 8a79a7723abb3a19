"""One step of AdamW and of Lion, written out; in float64 the meaning of every kernel of them.

Sources: Loshchilov and Hutter (2019, ICLR), AdamW; Chen and others (2023, NeurIPS), Lion.
"""

from __future__ import annotations

import math

from torch import Tensor


def adam(
    p: Tensor, grad: Tensor, m: Tensor, v: Tensor, step: int, *, lr: float, beta1: float, beta2: float, eps: float,
    weight_decay: float,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """(weights, m, v) after AdamW's step number `step`, from 1, in the dtype of `p`; the weights see m and v as they
    are before they are quantized again."""
    g = grad.to(p.dtype)
    m = m.to(p.dtype).lerp(g, 1 - beta1)
    v = v.to(p.dtype).lerp(g * g, 1 - beta2)
    root = v.sqrt() / math.sqrt(1 - beta2**step) + eps
    return p * (1 - lr * weight_decay) - lr * (m / (1 - beta1**step)) / root, m, v


def lion(
    p: Tensor, grad: Tensor, m: Tensor, *, lr: float, beta1: float, beta2: float, weight_decay: float
) -> tuple[Tensor, Tensor]:
    """(weights, m) after a step of Lion: by the sign of c = β1 m + (1 − β1) g; NaN where c is not finite, so that a
    training that diverged is seen."""
    g = grad.to(p.dtype)
    m = m.to(p.dtype)
    c = m.lerp(g, 1 - beta1)
    return p * (1 - lr * weight_decay) - lr * (c.sign() + 0 * c), m.lerp(g, 1 - beta2)
