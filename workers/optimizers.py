"""Optimizers by name: SGD, AdamW, Lion, Adan, Muon, each built from the hyperparameters of its own sub-space.

Muon (Jordan et al., 2024; torch.optim.Muon, learning rate scaled by sqrt(max(1, rows / columns))) takes hidden
weight matrices only, convolutions flattened to [out, in * k * k]; heads, norms, biases and quantizer scales go to
AdamW. Scales, norms and biases never decay. Sources of the rules and ranges: ALGORITHMS.md 16.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from spaces.errors import SpaceError
from spaces.nets import OPTIMIZERS

Group = dict[str, Any]
Hyper = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Optimizers:
    """One or two torch optimizers that step together. `parts` are saved and restored each under its own name."""

    parts: dict[str, Optimizer]

    def zero_grad(self) -> None:
        for part in self.parts.values():
            part.zero_grad(set_to_none=True)

    def step(self) -> None:
        for part in self.parts.values():
            part.step()

    def follow(self, other: Optimizers) -> None:
        """Take over the hyperparameters of `other`, built over the same parameters; moments and weights stay."""
        for name, part in self.parts.items():
            for group, now in zip(part.param_groups, other.parts[name].param_groups, strict=True):
                group.update({key: value for key, value in now.items() if key != "params"})


@dataclass(frozen=True, slots=True)
class Roles:
    """The parameters of a network by what an optimizer may do to them."""

    hidden: tuple[nn.Parameter, ...]
    """2-D weights of blocks: decayed, and Muon's."""
    heads: tuple[nn.Parameter, ...]
    """2-D weights of exit heads: decayed."""
    rest: tuple[nn.Parameter, ...]
    """Norms, biases, quantizer scales: never decayed."""

    @classmethod
    def of(cls, named: Iterable[tuple[str, nn.Parameter]]) -> Roles:
        """By shape and name: two dimensions or more is a weight, a weight under `heads.` is a head's."""
        hidden, heads, rest = [], [], []
        for name, parameter in named:
            if parameter.dim() < 2:
                rest.append(parameter)
            elif name.startswith("heads."):
                heads.append(parameter)
            else:
                hidden.append(parameter)
        return cls(tuple(hidden), tuple(heads), tuple(rest))

    def groups(self, weight_decay: float) -> list[Group]:
        """Decayed weights and undecayed rest, empty groups left out."""
        split = [(self.hidden + self.heads, weight_decay), (self.rest, 0.0)]
        return [{"params": list(params), "weight_decay": decay} for params, decay in split if params]


def build(name: str, roles: Roles, hyper: Hyper) -> Optimizers:
    """The optimizer `name` over `roles`. A name or hyperparameter that does not exist is a SpaceError."""
    if name not in OPTIMIZERS:
        raise SpaceError(f"the optimizer {name!r} does not exist: use one of {', '.join(sorted(OPTIMIZERS))}")
    known = OPTIMIZERS[name]
    options = {k: v for k, v in hyper.items() if k != "name"}
    unknown = sorted(set(options) - known)
    if unknown:
        raise SpaceError(
            f"{name} has no hyperparameter {', '.join(unknown)}: it takes {', '.join(sorted(known))};"
            " rename it in the space"
        )
    for key, value in options.items():
        if key != "nesterov" and not (isinstance(value, int | float) and math.isfinite(value) and value >= 0):
            raise SpaceError(f"{name}.{key} is {value!r}, but has to be a finite number of at least 0")
    return BUILDERS[name](roles, options)


def _sgd(roles: Roles, h: Hyper) -> Optimizers:
    momentum = float(h.get("momentum", 0.9))
    nesterov = bool(h.get("nesterov", True)) and momentum > 0  # torch refuses Nesterov without momentum
    lr = float(h.get("lr", 0.05))
    groups = roles.groups(float(h.get("weight_decay", 5e-4)))
    return Optimizers({"optimizer": torch.optim.SGD(groups, lr=lr, momentum=momentum, nesterov=nesterov)})


def _adamw(roles: Roles, h: Hyper) -> Optimizers:
    return Optimizers({"optimizer": _adamw_over(roles.groups(float(h.get("weight_decay", 0.01))), h)})


def _adamw_over(groups: list[Group], h: Hyper, lr: float = 1e-3) -> torch.optim.AdamW:
    return torch.optim.AdamW(
        groups,
        lr=float(h.get("lr", lr)),
        betas=(float(h.get("beta1", 0.9)), float(h.get("beta2", 0.999))),
        eps=float(h.get("eps", 1e-8)),
    )


def _lion(roles: Roles, h: Hyper) -> Optimizers:
    from pytorch_optimizer import Lion

    groups = roles.groups(float(h.get("weight_decay", 0.1)))
    betas = (float(h.get("beta1", 0.9)), float(h.get("beta2", 0.99)))
    return Optimizers({"optimizer": Lion(groups, lr=float(h.get("lr", 3e-4)), betas=betas)})


def _adan(roles: Roles, h: Hyper) -> Optimizers:
    from pytorch_optimizer import Adan

    groups = roles.groups(float(h.get("weight_decay", 0.02)))
    betas = (float(h.get("beta1", 0.98)), float(h.get("beta2", 0.92)), float(h.get("beta3", 0.99)))
    return Optimizers({"optimizer": Adan(groups, lr=float(h.get("lr", 5e-3)), betas=betas)})


def _muon(roles: Roles, h: Hyper) -> Optimizers:
    decay = float(h.get("weight_decay", 0.01))
    parts: dict[str, Optimizer] = {}
    if roles.hidden:
        parts["muon"] = torch.optim.Muon(
            list(roles.hidden),
            lr=float(h.get("lr", 0.02)),
            momentum=float(h.get("momentum", 0.95)),
            weight_decay=decay,
        )
    rest = Roles((), roles.heads, roles.rest)
    if rest.heads or rest.rest:
        parts["adamw"] = _adamw_over(rest.groups(decay), {"lr": float(h.get("adamw_lr", 3e-3))})
    return Optimizers(parts)


Builder = Callable[[Roles, Hyper], Optimizers]
BUILDERS: dict[str, Builder] = {"sgd": _sgd, "adamw": _adamw, "lion": _lion, "adan": _adan, "muon": _muon}
"""What each name of `spaces.nets.OPTIMIZERS` (which lists its hyperparameters too) builds."""
