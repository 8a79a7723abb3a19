"""Muon and its kin for the matrices of hidden layers; AdamW for heads, embeddings, norms, biases and scales.

`muon`: torch.optim.Muon (Jordan and others, 2024), learning rate times sqrt(max(1, rows / columns)) (the spectral
convention). `normuon`: its rows divided by the root of their moving mean square, the norm kept (Li and others, 2025),
pytorch_optimizer's. `drop_muon`: at each step only the layers from a random one to the last take a Muon step, the
first of them uniform (Gruntkowska and others, 2025, "Drop-Muon"). Convolutions [out, in, k, k] are matrices
[out, in * k * k].
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from workers.optimizers.filters import Hyper
from workers.optimizers.plain import as_saved
from workers.optimizers.roles import Flat, Roles, matrices


class DropMuon(torch.optim.Muon):
    """Muon on a random suffix of its parameters, which are in the order of the layers; the others keep weight and
    moment. Drawn from torch's own generator, which checkpoints hold."""

    def step(self, closure: Any = None) -> Any:
        params = [p for group in self.param_groups for p in group["params"]]
        first = int(torch.randint(len(params), ()))
        held = [(p, p.grad) for p in params[:first]]
        for p, _ in held:
            p.grad = None
        try:
            return super().step(closure)  # type: ignore[no-untyped-call]
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
        from pytorch_optimizer import NorMuon

        group = {"params": hidden, "use_muon": True, "weight_decay": decay, "beta2": float(h["beta2"])}
        made: Optimizer = NorMuon([group], lr=lr, momentum=momentum)
        return made
    kind = DropMuon if name == "drop_muon" else torch.optim.Muon
    return kind(hidden, lr=lr, momentum=momentum, weight_decay=decay)
