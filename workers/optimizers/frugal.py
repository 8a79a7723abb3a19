"""FRUGAL: Adam's moments for a random share of each matrix's rows, the sign of the gradient for the others.

The rows are drawn anew every `period` steps, and their moments begin at 0 again (Zmushko and others, 2024,
arXiv:2411.07837, "FRUGAL: memory reduction by state-full and state-free parts"). `sign_scale` is the learning rate of
the sign steps in those of Adam. Heads, norms, biases and scales have their moments always, as there.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


class Frugal(Optimizer):
    """Groups with `sparse: True` are the matrices of which only `density` of the rows have moments; draws come from
    torch's own generator, which checkpoints hold."""

    def __init__(
        self, groups: Iterable[dict[str, Any]], lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8, density: float = 0.25, period: int = 200, sign_scale: float = 0.1,
    ) -> None:  # fmt: skip
        defaults = {
            "lr": lr, "betas": betas, "eps": eps, "density": density, "period": period, "sign_scale": sign_scale,
            "weight_decay": 0.0, "sparse": False,
        }  # fmt: skip
        super().__init__(list(groups), defaults)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # a closure is refused
        """One step of every parameter that has a gradient."""
        if closure is not None:
            raise ValueError("FRUGAL takes no closure: call it after the gradients are there")
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state or (group["sparse"] and state["age"] >= group["period"]):
                    self._begin(state, p, group)
                p.mul_(1 - float(group["lr"]) * float(group["weight_decay"]))
                self._move(p, p.grad, state, group)

    @staticmethod
    def _begin(state: dict[str, Any], p: Tensor, group: dict[str, Any]) -> None:
        rows = list(range(len(p))) if p.dim() else [0]
        if group["sparse"]:
            kept = round(float(group["density"]) * len(p))
            rows = sorted(torch.randperm(len(p))[:kept].tolist())
        like = p.reshape(len(p) if p.dim() else 1, -1)[rows]
        state.update(rows=rows, age=0, m=torch.zeros_like(like), v=torch.zeros_like(like))

    @staticmethod
    def _move(p: Tensor, g: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        lr, (beta1, beta2), rows = float(group["lr"]), group["betas"], state["rows"]
        flat = g.reshape(len(p) if p.dim() else 1, -1)
        update = flat.sign() * float(group["sign_scale"]) if group["sparse"] else torch.zeros_like(flat)
        if rows:
            state["age"] += 1
            state["m"].lerp_(flat[rows], 1 - beta1)
            state["v"].lerp_(flat[rows].square(), 1 - beta2)
            m = state["m"] / (1 - beta1 ** state["age"])
            v = state["v"] / (1 - beta2 ** state["age"])
            update[rows] = m / (v.sqrt() + float(group["eps"]))
        p.add_(update.view_as(p), alpha=-lr)
