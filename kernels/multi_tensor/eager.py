"""The steps of `reference` in place, in as few passes over memory as torch's operations allow."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def wide(t: Tensor) -> Tensor:
    """`t` in the dtype of the arithmetic: float32, or float64 where it is that; itself where it is so already."""
    return t if t.dtype == torch.float64 else t.float()


def adam_(
    p: Tensor, grad: Tensor, m: Tensor, v: Tensor, step: int, lr: float, beta1: float, beta2: float, eps: float,
    weight_decay: float,
) -> None:  # fmt: skip
    """AdamW's step number `step`: `p` (any float), `m` and `v` (in the dtype of the arithmetic) are changed."""
    w = wide(p)
    g = grad.to(w.dtype)
    m.lerp_(g, 1 - beta1)
    v.mul_(beta2).addcmul_(g, g, value=1 - beta2)
    root = v.sqrt().div_(math.sqrt(1 - beta2**step)).add_(eps)
    w = w.mul_(1 - lr * weight_decay) if weight_decay else w
    w.addcdiv_(m, root, value=-lr / (1 - beta1**step))
    if w is not p:
        p.copy_(w)


def lion_(p: Tensor, grad: Tensor, m: Tensor, lr: float, beta1: float, beta2: float, weight_decay: float) -> None:
    """A step of Lion: `p` (any float) and `m` (in the dtype of the arithmetic) are changed."""
    w = wide(p)
    g = grad.to(w.dtype)
    c = m.lerp(g, 1 - beta1)
    m.lerp_(g, 1 - beta2)
    w = w.mul_(1 - lr * weight_decay) if weight_decay else w
    w.add_(c.sign().add_(c, alpha=0), alpha=-lr)
    if w is not p:
        p.copy_(w)
