"""How much a trained network minds few bits in each of its blocks: by curvature, by loss, and by pairs of blocks.

Sources: HAWQ-V3 (Yao et al., 2021, ICML) with Hutchinson's traces; AdaQuant's integer program (Hubara et al., 2020);
inter-layer terms: Schaefer et al., 2023.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

DRAWS = 32
"""Of Hutchinson's estimator, at the most ..."""
STEADY = 1e-3
"""... and it ends when the sum of all traces changes by less than this share."""
FLOOR = 1e-6
"""A measured degradation is at least this [AdaQuant reference code]."""


def traces(
    loss: Callable[[], Tensor], groups: Sequence[Sequence[Tensor]], generator: torch.Generator, draws: int = DRAWS
) -> list[float]:
    """The trace of the Hessian of `loss` with respect to each group of tensors [groups]: E[vᵀ H v], v of ±1.

    The curvature between groups has mean 0 in it. Exact in one draw for a diagonal Hessian.
    """
    flat = [tensor for group in groups for tensor in group]
    gradients = torch.autograd.grad(loss(), flat, create_graph=True, allow_unused=True)
    known = [(t, g) for t, g in zip(flat, gradients, strict=True) if g is not None]
    sums, total = [0.0] * len(groups), 0.0
    for draw in range(1, draws + 1):
        v = [torch.randint(0, 2, t.shape, generator=generator).to(t.dtype) * 2 - 1 for t, _ in known]
        hv = torch.autograd.grad([g for _, g in known], [t for t, _ in known], v, retain_graph=True, allow_unused=True)
        each = {id(t): float((a * b).sum()) for (t, _), a, b in zip(known, v, hv, strict=True) if b is not None}
        sums = [s + sum(each.get(id(t), 0.0) for t in group) for s, group in zip(sums, groups, strict=True)]
        now = sum(sums) / draw
        if draw > 1 and abs(now - total) <= STEADY * abs(now):
            return [s / draw for s in sums]
        total = now
    return [s / draws for s in sums]


def perturbation(trace: float, weights: Sequence[Tensor], quantized: Sequence[Tensor]) -> float:
    """Ω = mean trace · ‖Q(W) − W‖² of a block's tensors; a negative trace counts as 0."""
    count = sum(w.numel() for w in weights)
    off = sum(float((q - w).square().sum()) for w, q in zip(weights, quantized, strict=True))
    return max(0.0, trace) / max(1, count) * off


def degradations(loss: Callable[[tuple[int, ...]], float], blocks: int, choices: int) -> list[list[float]]:
    """dL [blocks][choices]: what the loss grows by when one block alone has a choice, from all at the last; at least
    FLOOR."""
    top = (choices - 1,) * blocks
    base = loss(top)

    def grown(block: int, choice: int) -> float:
        return max(FLOOR, loss((*top[:block], choice, *top[block + 1 :])) - base)

    return [[grown(i, c) for c in range(choices - 1)] + [FLOOR] for i in range(blocks)]


def order(
    loss: Callable[[tuple[int, ...]], float], own: Sequence[float], start: tuple[int, ...], free: Sequence[int]
) -> list[int]:
    """The blocks `free`, those that mind least first: `own` sensitivity [blocks] and half of what each pair minds
    beyond its parts, when lowered by one choice from `start`."""
    base = loss(start)

    def lowered(blocks: Sequence[int]) -> float:
        return loss(tuple(c - (i in blocks) for i, c in enumerate(start))) - base

    alone = {i: lowered([i]) for i in free}
    beyond = dict.fromkeys(free, 0.0)
    for a, i in enumerate(free):
        for j in free[a + 1 :]:
            extra = lowered([i, j]) - alone[i] - alone[j]
            beyond[i] += extra / 2
            beyond[j] += extra / 2
    return sorted(free, key=lambda i: (own[i] + beyond[i], i))
