"""DoG, L-DoG and DoWG: no learning rate; steps as long as the way from the first weights, over the gradients so far.

DoG (Ivgi and others, 2023, ICML): η_t = r̄_t / sqrt(Σ |g|² + ε), r̄_t the largest distance |w_i - w_0| so far, at first
reps (1 + |w_0|). L-DoG: the same for each parameter by itself. DoWG (Khaled and others, 2023): η_t = r̄_t² / sqrt(Σ r̄²
|g|² + ε). What is evaluated is the polynomial-decay average of the weights (Shamir and Zhang, 2013, degree 8),
without which DoG falls behind: `eval` lays it over the parameters, `train` takes it off.
Weight decay is part of the gradient. `lr` is a factor, 1 by default.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

DEGREE = 8.0
Kind = Literal["dog", "ldog", "dowg"]


class DistanceOverGradients(Optimizer):
    """`groups` as of any optimizer; all parameters share one distance and one sum, in L-DoG each has its own."""

    def __init__(
        self, groups: Iterable[dict[str, Any]], kind: Kind = "dog", lr: float = 1.0, reps: float = 1e-4,
        eps: float = 1e-8,
    ) -> None:  # fmt: skip
        self.kind = kind
        super().__init__(list(groups), {"lr": lr, "reps": reps, "eps": eps, "weight_decay": 0.0, "train_mode": True})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # a closure is refused
        """One step. The first one keeps the weights as they are for the distance."""
        if closure is not None:
            raise ValueError("DoG takes no closure: call it after the gradients are there")
        todo = [(p, group) for group in self.param_groups for p in group["params"] if p.grad is not None]
        for p, _ in todo:
            if not self.state[p]:
                self.state[p].update(first=p.clone(), mean=p.clone(), far=0.0, sum=0.0, steps=0)
        for part in [[one] for one in todo] if self.kind == "ldog" else [todo]:
            if part:
                self._move(part)

    def _move(self, part: list[tuple[nn.Parameter, dict[str, Any]]]) -> None:
        """One step of parameters that share distance and sum; both are kept with the first of them."""
        group, own = part[0][1], self.state[part[0][0]]
        gradients = [p.grad.add(p, alpha=g["weight_decay"]) for p, g in part if p.grad is not None]
        if own["steps"] == 0:
            own["far"] = float(group["reps"]) * (1 + _norm([self.state[p]["first"] for p, _ in part]))
        else:
            own["far"] = max(own["far"], _norm([p - self.state[p]["first"] for p, _ in part]))
        weight = own["far"] ** 2 if self.kind == "dowg" else 1.0
        own["sum"] += weight * _norm(gradients) ** 2
        far = own["far"] ** 2 if self.kind == "dowg" else own["far"]
        eta = far / math.sqrt(own["sum"] + group["eps"] * weight)
        for (p, g), gradient in zip(part, gradients, strict=True):
            state = self.state[p]
            p.add_(gradient, alpha=-float(g["lr"]) * eta)
            state["steps"] += 1
            state["mean"].lerp_(p, (DEGREE + 1) / (state["steps"] + DEGREE))

    def eval(self) -> None:
        """The parameters become their averages."""
        self._swap(to_train=False)

    def train(self) -> None:
        """The parameters become those that train."""
        self._swap(to_train=True)

    @torch.no_grad()
    def _swap(self, *, to_train: bool) -> None:
        for group in self.param_groups:
            if group["train_mode"] != to_train:
                group["train_mode"] = to_train
                for p in group["params"]:
                    if state := self.state.get(p):
                        held = p.clone()
                        p.copy_(state["mean"])
                        state["mean"].copy_(held)


def _norm(tensors: list[Tensor]) -> float:
    return math.sqrt(sum(float(t.double().square().sum()) for t in tensors))
