"""What the architecture of a search is judged by: cross-entropy and a latency that can be differentiated.

The values are those of `spaces.scalarizers`; here they are tensors. Where a loss takes a logarithm latency is in us:
the networks here run for tens of us, and ln needs more than 1.
Sources: Wu et al. (2019, CVPR), FBNet; Cai et al. (2019, ICLR), ProxylessNAS.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

import torch
from torch import Tensor

from spaces.builtin.dnas import Plan

US = 1000.0
"""us in a ms."""
LEAST_US = 1.001
"""A latency counts at least this where its logarithm is taken."""


def expected_ms(masks: Sequence[Tensor], table: Sequence[Tensor], base_ms: float = 0.0) -> Tensor:
    """base + sum over layers l and candidates i of masks[l][i] * table[l][i]."""
    return torch.stack([(m * t).sum() for m, t in zip(masks, table, strict=True)]).sum() + base_ms


def loss_of(plan: Plan, ce: Tensor, latency_ms: Tensor, target_ms: float) -> Tensor:
    """The loss that the plan names, of a cross-entropy and an expected latency."""
    match plan.loss:
        case "fbnet":
            return ce * plan.alpha * _ln_us(latency_ms) ** plan.beta
        case "proxyless-mul":
            target = _ln_us(torch.as_tensor(target_ms))
            return plan.alpha * ce * (_ln_us(latency_ms) / target) ** plan.beta
        case "proxyless-add":
            return ce + plan.weight * (latency_ms - target_ms) / target_ms
        case _:
            assert_never(plan.loss)


def _ln_us(latency_ms: Tensor) -> Tensor:
    return torch.log((latency_ms * US).clamp_min(LEAST_US))
