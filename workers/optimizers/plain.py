"""Optimizers of torch and pytorch_optimizer that treat all parameters alike: weights decayed, the rest not.

A table: the class, and how its arguments are called where ours are called otherwise. Weight decay is decoupled except
for plain momentum methods, Adam and AdaGrad, where it is part of the gradient as in their papers; Adan's is proximal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import torch
from torch.optim import Optimizer

from workers.optimizers.filters import Hyper
from workers.optimizers.roles import Roles

Arguments = Callable[[Hyper], dict[str, Any]]
TORCH, LIBRARY = "torch.optim", "pytorch_optimizer"


def _adam(h: Hyper) -> dict[str, Any]:
    return {"lr": float(h["lr"]), "betas": (float(h["beta1"]), float(h["beta2"])), "eps": float(h["eps"])}


def _two(h: Hyper) -> dict[str, Any]:
    return {"lr": float(h["lr"]), "betas": (float(h["beta1"]), float(h["beta2"]))}


def _three(h: Hyper) -> dict[str, Any]:
    return {"lr": float(h["lr"]), "betas": (float(h["beta1"]), float(h["beta2"]), float(h["beta3"]))}


def _momentum(h: Hyper) -> dict[str, Any]:
    return {"lr": float(h["lr"]), "momentum": float(h["momentum"])}


def _nesterov(h: Hyper) -> dict[str, Any]:
    """Momentum 0 is in the range of a search: it turns Nesterov off, which torch refuses without."""
    return {**_momentum(h), "nesterov": bool(h["nesterov"]) and float(h["momentum"]) > 0}


def _decoupled(base: Arguments) -> Arguments:
    return lambda h: {**base(h), "weight_decouple": True}


def _distance(base: Arguments) -> Arguments:
    """Learning-rate-free methods: their learning rate is a factor, 1 by default; `d0` the first guess of the way."""
    return lambda h: {**base(h), "d0": float(h["d0"])}


def _projected(base: Arguments) -> Arguments:
    return lambda h: {**base(h), "delta": float(h["delta"]), "wd_ratio": float(h["wd_ratio"])}


def _grokfast(h: Hyper) -> dict[str, Any]:
    """`normalize_lr` divides the learning rate by 1 + lamb, which Grokfast's own filter does not."""
    return {
        **_adam(h), "grokfast_alpha": float(h["alpha"]), "grokfast_lamb": float(h["lamb"]),
        "normalize_lr": bool(h["normalize_lr"]),
    }  # fmt: skip


def _mars(h: Hyper) -> dict[str, Any]:
    """Scales, norms and biases take the same steps as weights (`optimize_1d`), undecayed by their group."""
    return {**_adam(h), "gamma": float(h["gamma"]), "optimize_1d": True}


PLAIN: Mapping[str, tuple[str, str, Arguments]] = {
    "sgd": (TORCH, "SGD", _nesterov),
    "adam": (TORCH, "Adam", _adam),
    "adamw": (TORCH, "AdamW", _adam),
    "nadam": (TORCH, "NAdam", lambda h: {**_adam(h), "decoupled_weight_decay": True}),
    "radam": (TORCH, "RAdam", lambda h: {**_adam(h), "decoupled_weight_decay": True}),
    "adafactor": (TORCH, "Adafactor", lambda h: {
        "lr": float(h["lr"]), "beta2_decay": -float(h["decay_power"]), "d": float(h["threshold"]),
    }),
    "adadagrad": (TORCH, "Adagrad", lambda h: {"lr": float(h["lr"])}),
    "adabelief": (LIBRARY, "AdaBelief", _adam),
    "adamp": (LIBRARY, "AdamP", _projected(_adam)),
    "sgdp": (LIBRARY, "SGDP", _projected(_nesterov)),
    "adan": (LIBRARY, "Adan", _three),
    "adopt": (LIBRARY, "ADOPT", _decoupled(_adam)),
    "laprop": (LIBRARY, "LaProp", _adam),
    "ademamix": (LIBRARY, "AdEMAMix", _decoupled(lambda h: {
        **_three(h), "eps": float(h["eps"]), "alpha": float(h["alpha"]),
    })),
    "mars": (LIBRARY, "MARS", _mars),
    "came": (LIBRARY, "CAME", lambda h: {**_three(h), "clip_threshold": float(h["threshold"])}),
    "exadam": (LIBRARY, "EXAdam", _adam),
    "grokfast_adamw": (LIBRARY, "GrokFastAdamW", _grokfast),
    "schedule_free_sgd": (LIBRARY, "ScheduleFreeSGD", lambda h: {
        **_momentum(h), "warmup_steps": int(h["warmup_steps"]),
    }),
    "schedule_free_adamw": (LIBRARY, "ScheduleFreeAdamW", lambda h: {
        **_adam(h), "warmup_steps": int(h["warmup_steps"]),
    }),
    "lion": (LIBRARY, "Lion", _two),
    "signsgd": (LIBRARY, "SignSGD", _momentum),
    "lamb": (LIBRARY, "Lamb", lambda h: {**_adam(h), "max_grad_norm": 0.0}),  # `clip` is ours
    "lars": (LIBRARY, "LARS", lambda h: {**_nesterov(h), "trust_coefficient": float(h["trust"])}),
    "kron": (LIBRARY, "Kron", _momentum),
    "soap": (LIBRARY, "SOAP", lambda h: {**_adam(h), "precondition_frequency": int(h["frequency"])}),
    "shampoo": (LIBRARY, "Shampoo", lambda h: {  # its momentum would mix gradients with preconditioned ones
        "lr": float(h["lr"]), "preconditioning_compute_steps": int(h["frequency"]),
    }),
    "prodigy": (LIBRARY, "Prodigy", _distance(lambda h: {**_two(h), "d_coef": float(h["d_coef"])})),
    "dadapt_adam": (LIBRARY, "DAdaptAdam", _decoupled(_distance(_two))),
    "dadapt_sgd": (LIBRARY, "DAdaptSGD", _distance(_momentum)),
    "dadapt_adagrad": (LIBRARY, "DAdaptAdaGrad", _distance(_momentum)),
    "dadapt_adan": (LIBRARY, "DAdaptAdan", _distance(_three)),
    "dadapt_lion": (LIBRARY, "DAdaptLion", _decoupled(_distance(_two))),
}  # fmt: skip


FACTORED = ("soap", "shampoo", "kron")
"""Their states come out of decompositions column by column. A checkpoint has rows, and the order decides how a product
is rounded: so they are turned after each step, and a resumed training goes on bit for bit."""


def plain(name: str, roles: Roles, h: Hyper) -> Optimizer:
    """The optimizer of that row over all parameters."""
    module, cls, arguments = PLAIN[name]
    made: Optimizer = getattr(import_module(module), cls)(roles.groups(float(h["weight_decay"])), **arguments(h))
    if name in FACTORED:
        made.register_step_post_hook(_row_major)
    return as_saved(made)


def as_saved(optimizer: Optimizer) -> Optimizer:
    """The same optimizer; what a checkpoint cannot hold of its groups (functions, dtypes) is left as it was built."""
    optimizer.register_state_dict_post_hook(_without_odd)
    optimizer.register_load_state_dict_pre_hook(_with_odd)
    return optimizer


def _row_major(optimizer: Optimizer, *_: Any) -> None:
    for state in optimizer.state.values():
        for key, value in state.items():
            if isinstance(value, torch.Tensor):
                state[key] = value.contiguous()
            elif isinstance(value, list):
                state[key] = [v.contiguous() if isinstance(v, torch.Tensor) else v for v in value]


def _odd(group: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in group.items() if callable(v) or isinstance(v, torch.dtype)}


def _without_odd(_: Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    groups = [{k: v for k, v in group.items() if k not in _odd(group)} for group in state["param_groups"]]
    return {**state, "param_groups": groups}


def _with_odd(optimizer: Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    groups = [
        {**_odd(own), **group} for own, group in zip(optimizer.param_groups, state["param_groups"], strict=True)
    ]
    return {**state, "param_groups": groups}
