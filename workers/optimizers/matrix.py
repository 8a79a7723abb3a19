"""Muon and its kin for the matrices of hidden layers; AdamW for heads, embeddings, norms, biases and scales.

`muon`: torch.optim.Muon (Jordan and others, 2024), learning rate times sqrt(max(1, rows / columns)) (the spectral
convention). `normuon`: its rows divided by the root of their moving mean square, the norm kept (Li and others, 2025),
pytorch_optimizer's. Both have their Newton–Schulz iteration from `kernels.newton_schulz`, which on a CPU gives what
theirs give bit for bit, and halves two of its three products on a GPU. `drop_muon`: at each step only the layers from a
random one to the last take a Muon step, the first of them uniform (Gruntkowska and others, 2025, "Drop-Muon").
Convolutions [out, in, k, k] are matrices [out, in * k * k].
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from kernels.newton_schulz import newton_schulz
from workers.optimizers.filters import Hyper
from workers.optimizers.plain import as_saved
from workers.optimizers.roles import Flat, Roles, matrices


class Muon(torch.optim.Muon):
    """torch's, state and arithmetic, with our iteration."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # a closure is refused
        """One step of every parameter that has a gradient."""
        if closure is not None:
            raise ValueError("Muon takes no closure: call it after the gradients are there")
        for group in self.param_groups:
            lr, momentum = float(group["lr"]), float(group["momentum"])
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if "momentum_buffer" not in state:
                    state["momentum_buffer"] = torch.zeros_like(p.grad)
                moment = state["momentum_buffer"].lerp_(p.grad, 1 - momentum)
                update = p.grad.lerp(moment, momentum) if group["nesterov"] else moment
                update = newton_schulz(update, group["ns_steps"], group["ns_coefficients"], group["eps"])
                p.mul_(1 - lr * float(group["weight_decay"]))
                p.add_(update, alpha=-lr * math.sqrt(max(1, p.shape[0] / p.shape[1])))


class DropMuon(Muon):
    """Muon on a random suffix of its parameters, which are in the order of the layers; the others keep weight and
    moment. Drawn from torch's own generator, which checkpoints hold."""

    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # a closure is refused
        """One step of the layers from a random one on."""
        params = [p for group in self.param_groups for p in group["params"]]
        first = int(torch.randint(len(params), ()))
        held = [(p, p.grad) for p in params[:first]]
        for p, _ in held:
            p.grad = None
        try:
            super().step(closure)
        finally:
            for p, gradient in held:
                p.grad = gradient


def matrix(name: str, roles: Roles, h: Hyper) -> tuple[dict[str, Optimizer], tuple[Flat, ...]]:
    """`muon` (whichever it is) over the hidden weights and `adamw` over the rest, as far as there are any."""
    parts: dict[str, Optimizer] = {}
    hidden, flats = matrices(roles.hidden)
    decay = float(h["weight_decay"])
    if hidden:
        parts["muon"] = as_saved(_muon(name, hidden, h))
    rest = Roles((), roles.heads, roles.rest)
    if rest.all:
        parts["adamw"] = torch.optim.AdamW(rest.groups(decay), lr=float(h["adamw_lr"]), betas=(0.9, 0.999), eps=1e-8)
    return parts, flats


def _muon(name: str, hidden: list[nn.Parameter], h: Hyper) -> Optimizer:
    lr, momentum, decay = float(h["lr"]), float(h["momentum"]), float(h["weight_decay"])
    if name == "normuon":
        from pytorch_optimizer import NorMuon as Base

        class NorMuon(Base):  # an untyped library, imported where it is used
            @staticmethod
            def _orthogonalize(group: dict[str, Any], updates: list[Tensor]) -> list[Tensor]:
                return orthogonal(updates, int(group["ns_steps"]), group["ns_coeffs"][0])

        group = {"params": hidden, "use_muon": True, "weight_decay": decay, "beta2": float(h["beta2"])}
        made: Optimizer = NorMuon([group], lr=lr, momentum=momentum)
        return made
    kind = DropMuon if name == "drop_muon" else Muon
    return kind(hidden, lr=lr, momentum=momentum, weight_decay=decay)


def orthogonal(updates: list[Tensor], steps: int, coefficients: tuple[float, float, float]) -> list[Tensor]:
    """The iteration over matrices of one shape, as a batch; tall ones transposed before, as copies."""
    matrices = [u.reshape(u.shape[0], -1) for u in updates]
    tall = matrices[0].shape[0] > matrices[0].shape[1]
    turned = [m.mT if tall else m for m in matrices]
    if len(turned) == 1:
        found = [newton_schulz(turned[0].contiguous(), steps, coefficients)]
    else:
        found = list(newton_schulz(torch.stack(turned), steps, coefficients).unbind())
    return [f.mT if tall else f for f in found]
