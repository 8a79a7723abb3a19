"""MicroAdam: Adam on the few largest coordinates of each gradient; what was left out comes later, packed in 4 bits.

Modoranu and others (2024, NeurIPS, Algorithm 1). With e the error that is fed back:

    a = g + e;   the k largest |a| are taken, their places and values join a window of the last m;   e = pack(the rest)
    m̂ = (1 − β1) / (1 − β1^t) Σ_i β1^age Vᵢ,   v̂ the same with β2 and Vᵢ²;   w = (1 − ηλ) w − η m̂ / (√v̂ + ε)

A state takes half a byte a weight and 8 bytes each of m · k window entries, where Adam's takes 8 bytes a weight. The
error is packed in buckets of 64 between their smallest and largest value, rounded to the nearest of 16 levels.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from workers.optimizers.exact import Exact

BUCKET = 64
LEVELS = 15


def pack(error: Tensor) -> dict[str, Tensor]:
    """An error [d] in 4 bits: `codes` (uint8, two a byte, the first in the low half), `low` and `step` of each bucket.
    What fills up the last bucket is 0."""
    rows = functional.pad(error, (0, -len(error) % BUCKET)).view(-1, BUCKET)
    low = rows.amin(1)
    step = (rows.amax(1) - low) / LEVELS
    # A bucket of one value has step 0, and code 0 answers it exactly. NaN has no code, and its low and step are NaN.
    u = ((rows - low[:, None]) / torch.where(step == 0, torch.ones_like(step), step)[:, None]).nan_to_num(0.0)
    codes = torch.round(u).clamp(0, LEVELS).to(torch.uint8).view(-1, 2)
    return {"codes": codes[:, 0] | (codes[:, 1] << 4), "low": low, "step": step}


def unpack(packed: dict[str, Tensor], count: int) -> Tensor:
    """The error [count] that `pack` was given, to half a step."""
    codes = torch.stack([packed["codes"] & 15, packed["codes"] >> 4], 1).view(-1, BUCKET)
    return (codes * packed["step"][:, None] + packed["low"][:, None]).flatten()[:count]


class MicroAdam(Exact):
    """`density`: the share of a tensor's coordinates that is taken, at least one. `window`: gradients kept."""

    def __init__(
        self, groups: Iterable[dict[str, Any]], lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8, density: float = 0.01, window: int = 10,
    ) -> None:  # fmt: skip
        defaults = {"lr": lr, "betas": betas, "eps": eps, "density": density, "window": window, "weight_decay": 0.0}
        super().__init__(list(groups), defaults)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # a closure is refused
        """One step of every parameter that has a gradient."""
        if closure is not None:
            raise ValueError("MicroAdam takes no closure: call it after the gradients are there")
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None and p.numel():
                    self._move(p, p.grad.flatten(), self.state[p], group)

    @staticmethod
    def _move(p: nn.Parameter, gradient: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        count = p.numel()
        if not state:
            kept, rows = max(1, math.ceil(float(group["density"]) * count)), int(group["window"])
            state.update(steps=0, places=torch.zeros(rows, kept, dtype=torch.int32, device=p.device),
                         values=p.new_zeros(rows, kept), error=pack(torch.zeros_like(gradient)))  # fmt: skip
        a = gradient + unpack(state["error"], count)
        rows, kept = state["values"].shape
        places = a.abs().topk(kept, sorted=False).indices
        row = state["steps"] % rows
        state["places"][row], state["values"][row] = places.to(torch.int32), a[places]
        a[places] = 0.0
        state["error"] = pack(a)
        state["steps"] += 1
        lr, (beta1, beta2) = float(group["lr"]), group["betas"]
        m, v = _mean(state, count, beta1, 1), _mean(state, count, beta2, 2)
        p.mul_(1 - lr * float(group["weight_decay"]))
        p.add_((m / (v.sqrt() + float(group["eps"]))).view_as(p), alpha=-lr)


def _mean(state: dict[str, Any], count: int, beta: float, power: int) -> Tensor:
    """The moving mean [count] of the window's values to a power, bias of the beginning taken out."""
    steps, rows = state["steps"], len(state["values"])
    filled = min(steps, rows)
    ages = [(steps - 1 - row) % rows for row in range(filled)]
    shares = state["values"].new_tensor([beta**age for age in ages])[:, None]
    total: Tensor = state["values"].new_zeros(count)
    values = state["values"][:filled] ** power * shares
    total.index_add_(0, state["places"][:filled].flatten(), values.flatten())
    return total.mul_((1 - beta) / (1 - beta**steps))
