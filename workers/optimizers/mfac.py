"""M-FAC: steps by the inverse of the empirical Fisher matrix of the last gradients, without ever forming it.

Frantar, Kurtic and Alistarh (2021, NeurIPS). With the last m gradients as rows of G,

    w −= η · (λ I + Gᵀ G / m)⁻¹ g        (…)⁻¹ x = (x − Gᵀ (m λ I + G Gᵀ)⁻¹ G x) / λ        (Woodbury, 1950)

The newest gradient is one of the m, its row r; for it the formula is m Gᵀ (m λ I + G Gᵀ)⁻¹ e_r, which divides no small
difference by λ. So a step costs two products of G with a vector, and a system of m equations. All parameters are one
vector. Momentum is a mean of the updates; weight decay is decoupled: the Fisher matrix is that of the loss alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from workers.optimizers.exact import Exact


def solved(gram: Tensor, right: Tensor, damp: float) -> Tensor:
    """(m λ I + G Gᵀ)⁻¹ `right`, [m], for `gram` = G Gᵀ [m, m]."""
    m = len(gram)
    found: Tensor = torch.linalg.solve(gram + m * damp * torch.eye(m, dtype=gram.dtype, device=gram.device), right)
    return found


def inverse_product(gradients: Tensor, x: Tensor, damp: float) -> Tensor:
    """(λ I + Gᵀ G / m)⁻¹ x, [d], for gradients G [m, d]."""
    return (x - gradients.T @ solved(gradients @ gradients.T, gradients @ x, damp)) / damp


class Mfac(Exact):
    """Keeps the last `window` gradients, as many floats as weights each. What all parameters share (how many steps,
    G Gᵀ) lies with the first of them."""

    def __init__(
        self, groups: Iterable[dict[str, Any]], lr: float = 0.03, momentum: float = 0.9, window: int = 32,
        damp: float = 1e-4,
    ) -> None:  # fmt: skip
        defaults = {"lr": lr, "momentum": momentum, "window": window, "damp": damp, "weight_decay": 0.0}
        super().__init__(list(groups), defaults)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # a closure is refused
        """One step of every parameter that has a gradient; to the others' system one without counts as of zeros."""
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
            products += (rows[:count] @ rows[row]).double()
        own["gram"][row, :count] = own["gram"][:count, row] = products
        own["steps"] += 1
        newest = torch.zeros_like(products)
        newest[row] = count
        shares = solved(own["gram"][:count, :count], newest, float(group["damp"]))
        for p, g in todo:
            if p.grad is not None:
                self._move(p, g, shares)

    def _move(self, p: nn.Parameter, group: dict[str, Any], shares: Tensor) -> None:
        state = self.state[p]
        update = (shares.to(p.dtype) @ state["gradients"][: len(shares)]).view_as(p)
        state["momentum"].lerp_(update, 1 - float(group["momentum"]))
        p.mul_(1 - float(group["lr"]) * float(group["weight_decay"]))
        p.add_(state["momentum"], alpha=-float(group["lr"]))
