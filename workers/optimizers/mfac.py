"""M-FAC: steps by the inverse of the empirical Fisher matrix of the last gradients, without ever forming it.

Frantar, Kurtic and Alistarh (2021, NeurIPS). With the last m gradients as rows of G,

    w −= η · (λ I + Gᵀ G / m)⁻¹ g        (…)⁻¹ x = (x − Gᵀ (m λ I + G Gᵀ)⁻¹ G x) / λ        (Woodbury, 1950)

so a step costs one product with G and a system of m equations. The newest gradient is one of the m. All parameters are
one vector. Momentum is a mean of the updates; weight decay is decoupled: the Fisher matrix is that of the loss alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer


def coefficients(gram: Tensor, products: Tensor, damp: float) -> Tensor:
    """(m λ I + G Gᵀ)⁻¹ G x, [m], from `gram` = G Gᵀ [m, m] and `products` = G x [m]."""
    m = len(gram)
    return torch.linalg.solve(gram + m * damp * torch.eye(m, dtype=gram.dtype, device=gram.device), products)


def inverse_product(gradients: Tensor, x: Tensor, damp: float) -> Tensor:
    """(λ I + Gᵀ G / m)⁻¹ x, [d], for gradients G [m, d]."""
    c = coefficients(gradients @ gradients.T, gradients @ x, damp)
    return (x - gradients.T @ c) / damp


class Mfac(Optimizer):
    """Keeps the last `window` gradients, as many floats as weights each. What all parameters share (how many steps,
    G Gᵀ) lies with the first of them."""

    def __init__(
        self, groups: Iterable[dict[str, Any]], lr: float = 1e-3, momentum: float = 0.9, window: int = 32,
        damp: float = 1e-5,
    ) -> None:  # fmt: skip
        defaults = {"lr": lr, "momentum": momentum, "window": window, "damp": damp, "weight_decay": 0.0}
        super().__init__(list(groups), defaults)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # a closure is refused
        """One step of every parameter; one without a gradient has one of zeros, as the others share the system."""
        if closure is not None:
            raise ValueError("M-FAC takes no closure: call it after the gradients are there")
        todo = [(p, group) for group in self.param_groups for p in group["params"]]
        if not todo or all(p.grad is None for p, _ in todo):
            return
        group = todo[0][1]
        m = int(group["window"])
        for p, _ in todo:
            if not self.state[p]:
                self.state[p].update(gradients=p.new_zeros(m, p.numel()), momentum=torch.zeros_like(p))
        own = self.state[todo[0][0]]
        if "steps" not in own:
            own.update(steps=0, gram=torch.zeros(m, m, dtype=torch.float64, device=todo[0][0].device))
        row, count = own["steps"] % m, min(own["steps"] + 1, m)
        products = own["gram"].new_zeros(count)
        for p, _ in todo:
            rows = self.state[p]["gradients"]
            rows[row] = 0.0 if p.grad is None else p.grad.flatten()
            products += rows[:count].double() @ rows[row].double()
        own["gram"][row, :count] = own["gram"][:count, row] = products
        own["steps"] += 1
        c = coefficients(own["gram"][:count, :count], products, float(group["damp"]))
        for p, g in todo:
            self._move(p, g, row, c)

    def _move(self, p: nn.Parameter, group: dict[str, Any], row: int, c: Tensor) -> None:
        state, damp, momentum = self.state[p], float(group["damp"]), float(group["momentum"])
        rows = state["gradients"].double()
        update = ((rows[row] - rows[: len(c)].T @ c) / damp).view_as(p).to(p.dtype)
        state["momentum"].lerp_(update, 1 - momentum)
        p.mul_(1 - float(group["lr"]) * float(group["weight_decay"]))
        p.add_(state["momentum"], alpha=-float(group["lr"]))
