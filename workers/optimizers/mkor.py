"""MKOR: momentum over gradients preconditioned by the inverses of two factors a layer, kept by rank-1 updates.

Mozaffari, Li, Zhang and Dehnavi (2023, NeurIPS). A layer's Fisher matrix is taken as a Kronecker product (KFAC) of
factors of its inputs and of its outputs' gradients. Every `frequency` steps both inverses are drawn towards the
identity by `stabilise` and take in one vector, the batch's mean, by the formula of Sherman and Morrison, and nothing is
ever inverted:

    A⁻¹ ← (γ A + (1 − γ) a aᵀ)⁻¹        Δ = B⁻¹ G A⁻¹, made as long as G        m = μ m + Δ + λ w        w −= η m

Norms, biases and scales have no factors: SGD with the same momentum. It needs layers that show their inputs and what
comes back (`workers.taps`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from spaces.errors import SpaceError
from workers.taps import tap, tap_of

UNSEEN = "mkor needs layers that show their inputs, which the networks of classify do: use soap or kron"


def rank_one(inverse: Tensor, vector: Tensor, gamma: float) -> Tensor:
    """(γ L + (1 − γ) a aᵀ)⁻¹ out of L⁻¹ (symmetric) and a (Sherman and Morrison, 1950)."""
    u = inverse @ vector
    new: Tensor = (inverse - torch.outer(u, u) * ((1 - gamma) / (gamma + (1 - gamma) * (vector @ u)))) / gamma
    return new


class Mkor(Optimizer):
    """Groups with `factored: True` are matrices [outputs, fan_in], which are tapped; the others take plain steps."""

    def __init__(
        self, groups: Iterable[dict[str, Any]], lr: float = 0.05, momentum: float = 0.9, gamma: float = 0.95,
        frequency: int = 10, stabilise: float = 0.1,
    ) -> None:  # fmt: skip
        defaults = {
            "lr": lr, "momentum": momentum, "gamma": gamma, "frequency": frequency, "stabilise": stabilise,
            "weight_decay": 0.0, "factored": False,
        }  # fmt: skip
        super().__init__(list(groups), defaults)
        for group in self.param_groups:
            for p in group["params"] if group["factored"] else ():
                tap(p)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # a closure is refused
        """One step of every parameter that has a gradient. SpaceError where a layer does not show what it saw."""
        if closure is not None:
            raise ValueError("MKOR takes no closure: call it after the gradients are there")
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state.update(steps=0, momentum=torch.zeros_like(p))
                update = self._factored(p, p.grad, state, group) if group["factored"] else p.grad
                state["steps"] += 1
                update = update.add(p, alpha=float(group["weight_decay"]))
                state["momentum"].mul_(float(group["momentum"])).add_(update)
                p.add_(state["momentum"], alpha=-float(group["lr"]))

    @staticmethod
    def _factored(p: nn.Parameter, gradient: Tensor, state: dict[str, Any], group: dict[str, Any]) -> Tensor:
        """The gradient between the inverses, as long as it was; they are renewed when it is their turn."""
        found = tap_of(p)
        seen = None if found is None else found.take()
        if seen is None:
            raise SpaceError(UNSEEN)
        sides = ("inputs", "outputs")
        if state["steps"] % int(group["frequency"]) == 0:
            for side, vector in zip(sides, seen, strict=True):
                eye = torch.eye(len(vector), dtype=p.dtype, device=p.device)
                drawn = torch.lerp(state[side], eye, float(group["stabilise"])) if side in state else eye
                state[side] = rank_one(drawn, vector, float(group["gamma"]))
        update: Tensor = state["outputs"] @ gradient @ state["inputs"]
        length = update.norm()
        return update * (gradient.norm() / length) if float(length) else update
