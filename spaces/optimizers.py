"""The optimizers of the built-in tasks as pure data: their names, what each takes, and what a value may be.

Every name has its own hyperparameters with its own defaults, since a shared learning rate would be unfair (Wen and
others, 2025, "Fantastic pretraining optimizers"). Ranges to search are in `library/optimizers.yaml`. `COMMON` goes with
every optimizer: clipping, gradient noise, Grokfast's filter. What is known but cannot be built says why (`ABSENT`).
Update rules and sources: ALGORITHMS.md 16.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, isfinite
from typing import Any

from spaces.errors import SpaceError
from spaces.suggest import did_you_mean


@dataclass(frozen=True, slots=True)
class Hyper:
    """A number from `low` to `high` (`below`: `high` itself is not allowed, `above`: `low` is not), or a flag where the
    default is one. `whole`: a whole number."""

    default: float | bool
    low: float = 0.0
    high: float = inf
    below: bool = False
    above: bool = False
    whole: bool = False

    def problem(self, value: Any) -> str | None:
        """What is wrong with a value, None when nothing is."""
        if isinstance(self.default, bool):
            return None if value in (0, 1) else f"is {value!r}, but has to be true or false"
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not isfinite(value) or (self.whole and value != int(value)):
            return f"is {value!r}, but has to be a {'whole' if self.whole else 'finite'} number"
        if value < self.low or (self.above and value == self.low):
            return f"is {value:g}, but has to be {'above' if self.above else 'at least'} {self.low:g}"
        if value > self.high or (self.below and value == self.high):
            return f"is {value:g}, but has to be {'below' if self.below else 'at most'} {self.high:g}"
        return None


@dataclass(frozen=True, slots=True)
class Family:
    """An optimizer: what it takes, and the package that it comes from when torch has it not."""

    takes: Mapping[str, Hyper]
    part: str = ""


def _beta(default: float) -> Hyper:
    return Hyper(default, 0.0, 1.0, below=True)


def _inside(default: float) -> Hyper:
    return Hyper(default, 0.0, 1.0, below=True, above=True)


def _positive(default: float) -> Hyper:
    return Hyper(default, above=True)


def _count(default: int) -> Hyper:
    return Hyper(default, low=1, whole=True)


COMMON: Mapping[str, Hyper] = {
    "clip": Hyper(0.0), "noise": Hyper(0.0), "noise_decay": Hyper(0.55), "grokfast": Hyper(0.0),
    "grokfast_alpha": _beta(0.98),
}  # fmt: skip
"""`clip`: the gradient's norm at most, 0 without limit. `noise`: variance η of Gaussian noise on the gradient at first,
η / (1 + t)^noise_decay at step t. `grokfast`: how much of the gradient's moving average is added to it."""


def _adam(lr: float, decay: float, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8) -> dict[str, Hyper]:
    return {
        "lr": Hyper(lr), "weight_decay": Hyper(decay), "beta1": _beta(beta1), "beta2": _beta(beta2),
        "eps": _positive(eps),
    }  # fmt: skip


def _sgd(lr: float, momentum: float, decay: float) -> dict[str, Hyper]:
    return {"lr": Hyper(lr), "momentum": _beta(momentum), "weight_decay": Hyper(decay)}


def _muon(**more: Hyper) -> dict[str, Hyper]:
    return {**_sgd(0.02, 0.95, 0.01), "adamw_lr": Hyper(3e-3), **more}


def _free(**more: Hyper) -> dict[str, Hyper]:
    return {"lr": Hyper(1.0), "weight_decay": Hyper(0.0), "d0": _positive(1e-6), **more}


_BETAS = {"beta1": _beta(0.9), "beta2": _beta(0.999)}
_DOG = {"lr": Hyper(1.0), "weight_decay": Hyper(0.0), "reps": _positive(1e-4)}
_PO = "pytorch_optimizer"

FAMILIES: Mapping[str, Family] = {
    "sgd": Family({**_sgd(0.05, 0.9, 5e-4), "nesterov": Hyper(True)}),
    "adam": Family(_adam(1e-3, 0.0)),
    "adamw": Family(_adam(1e-3, 0.01)),
    "nadam": Family(_adam(2e-3, 0.01)),
    "radam": Family(_adam(1e-3, 0.01)),
    "adafactor": Family({
        "lr": Hyper(0.01), "weight_decay": Hyper(0.0), "decay_power": _inside(0.8), "threshold": _positive(1.0),
    }),
    "adabelief": Family(_adam(1e-3, 0.01, eps=1e-16), _PO),
    "adamp": Family({**_adam(1e-3, 0.01), "delta": Hyper(0.1), "wd_ratio": Hyper(0.1)}, _PO),
    "sgdp": Family({
        **_sgd(0.05, 0.9, 5e-4), "nesterov": Hyper(True), "delta": Hyper(0.1), "wd_ratio": Hyper(0.1),
    }, _PO),
    "adan": Family({
        "lr": Hyper(5e-3), "weight_decay": Hyper(0.02), "beta1": _beta(0.98), "beta2": _beta(0.92),
        "beta3": _beta(0.99),
    }, _PO),
    "adopt": Family(_adam(1e-3, 0.01, beta2=0.9999, eps=1e-6), _PO),
    "laprop": Family(_adam(4e-4, 0.01, eps=1e-15), _PO),
    "ademamix": Family({**_adam(1e-3, 0.01), "beta3": _beta(0.9999), "alpha": Hyper(5.0)}, _PO),
    "mars": Family({**_adam(3e-3, 0.01, 0.95, 0.99), "gamma": Hyper(0.025)}, _PO),
    "came": Family({
        "lr": Hyper(2e-4), "weight_decay": Hyper(0.01), **_BETAS, "beta3": _beta(0.9999),
        "threshold": _positive(1.0),
    }, _PO),
    "exadam": Family(_adam(3e-4, 0.01), _PO),
    "grokfast_adamw": Family({
        **_adam(1e-3, 0.01, beta2=0.99), "alpha": _beta(0.98), "lamb": Hyper(2.0), "normalize_lr": Hyper(True),
    }, _PO),
    "sophia": Family({
        "lr": Hyper(0.06), "weight_decay": Hyper(0.01), "beta1": _beta(0.96), "beta2": _beta(0.99),
        "p": _positive(0.01), "frequency": _count(10),
    }, _PO),
    "schedule_free_sgd": Family({
        "lr": Hyper(1.0), "momentum": _inside(0.9), "weight_decay": Hyper(5e-4), "warmup_steps": Hyper(0, whole=True),
    }, _PO),
    "schedule_free_adamw": Family({
        **_adam(2.5e-3, 0.01), "beta1": _inside(0.9), "warmup_steps": Hyper(0, whole=True),
    }, _PO),
    "lion": Family({
        "lr": Hyper(3e-4), "weight_decay": Hyper(0.1), "beta1": _beta(0.9), "beta2": _beta(0.99),
    }, _PO),
    "signsgd": Family(_sgd(3e-4, 0.9, 0.1), _PO),
    "frugal": Family({
        **_adam(1e-3, 0.01), "density": Hyper(0.25, 0.0, 1.0), "period": _count(200), "sign_scale": Hyper(0.1),
    }),
    "lamb": Family({**_adam(5e-3, 0.01, eps=1e-6), "clip": Hyper(1.0)}, _PO),
    "lars": Family({**_sgd(1.0, 0.9, 1e-4), "nesterov": Hyper(False), "trust": _positive(1e-3)}, _PO),
    "adadagrad": Family({
        "lr": Hyper(0.05), "weight_decay": Hyper(0.0), "theta": _positive(1.0), "max_batch": Hyper(1024, 2, whole=True),
    }),
    "muon": Family(_muon()),
    "normuon": Family(_muon(beta2=_beta(0.95)), _PO),
    "drop_muon": Family(_muon()),
    "soap": Family({**_adam(3e-3, 0.01, 0.95, 0.95), "frequency": _count(10)}, _PO),
    "kron": Family(_sgd(1e-3, 0.9, 0.01), _PO),
    "shampoo": Family({"lr": Hyper(0.3), "weight_decay": Hyper(5e-4), "frequency": _count(1)}, _PO),
    "mkor": Family({
        **_sgd(0.05, 0.9, 5e-4), "gamma": _inside(0.95), "frequency": _count(10), "stabilise": Hyper(0.1, 0.0, 1.0),
    }),
    "mfac": Family({**_sgd(0.03, 0.9, 5e-4), "window": _count(32), "damp": _positive(1e-4)}),
    "prodigy": Family({**_free(**_BETAS), "d_coef": _positive(1.0)}, _PO),
    "dadapt_adam": Family(_free(**_BETAS), _PO),
    "dadapt_sgd": Family(_free(momentum=_beta(0.9)), _PO),
    "dadapt_adagrad": Family(_free(momentum=_beta(0.0)), _PO),
    "dadapt_adan": Family(_free(lr=Hyper(0.2), beta1=_beta(0.98), beta2=_beta(0.92), beta3=_beta(0.99)), _PO),
    "dadapt_lion": Family(_free(**_BETAS), _PO),
    "dog": Family(_DOG),
    "ldog": Family(_DOG),
    "dowg": Family(_DOG),
    "adamw_8bit": Family(_adam(1e-3, 0.01), "torchao"),
    "adamw_4bit": Family(_adam(1e-3, 0.01), "torchao"),
    "adamw_fp8": Family(_adam(1e-3, 0.01), "torchao"),
    "blockwise_adam8": Family(_adam(1e-3, 0.01)),
    "blockwise_adam4": Family(_adam(1e-3, 0.01)),
    "blockwise_lion8": Family({
        "lr": Hyper(3e-4), "weight_decay": Hyper(0.1), "beta1": _beta(0.9), "beta2": _beta(0.99),
    }),
    "microadam": Family({
        **_adam(1e-3, 0.01), "density": Hyper(0.01, 0.0, 1.0, above=True), "window": _count(10),
    }),
}  # fmt: skip

OPTIMIZERS: Mapping[str, Mapping[str, Hyper]] = {
    name: {**COMMON, **family.takes} for name, family in FAMILIES.items()
}
"""The optimizers of the built-in tasks and the hyperparameters that each takes, so that a misspelt one is told before a
trial."""

ABSENT: Mapping[str, str] = {
    "demo": "sends gradients between processes (torch.distributed), and a trial is one process: use signsgd",
    "lbfgs": "needs the loss many times a step, on the whole data: use soap",
    "sparse_adam": "takes sparse gradients only, which these networks have not: use adamw",
    "sso": "needs a model whose logits are cheap to compute again: use adamw",
    "udog": "takes two gradients a step: use dog or dowg",
    "scalable_shampoo": "keeps objects in its state that no checkpoint can hold: use shampoo or soap",
    "cpu_offload": "moves states from a GPU, and the built-in tasks train on the CPU: use adamw",
}
"""Optimizers that a user may look for, and why they cannot be had, with what to use instead."""


def unknown(name: str) -> str:
    """Why there is no optimizer of that name, with the remedy."""
    key = name.lower().replace("-", "_")
    if key in ABSENT:
        return f"there is no optimizer {name!r} here: it {ABSENT[key]}"
    return f"there is no optimizer {name!r}: {did_you_mean(key, OPTIMIZERS)}"


def complete(name: str, said: Mapping[str, Any]) -> dict[str, Any]:
    """The hyperparameters of an optimizer, those left out at their defaults. SpaceError for a name, a hyperparameter or
    a value that cannot be."""
    if name not in OPTIMIZERS:
        raise SpaceError(unknown(name))
    takes = OPTIMIZERS[name]
    wrong = sorted(set(said) - set(takes) - {"name"})
    if wrong:
        raise SpaceError(
            f"{name} has no hyperparameter {', '.join(wrong)}: it takes {', '.join(sorted(takes))};"
            " rename it in the space"
        )
    for key, value in said.items():
        if key != "name" and (problem := takes[key].problem(value)) is not None:
            raise SpaceError(f"{name}.{key} {problem}")
    return {key: said.get(key, hyper.default) for key, hyper in takes.items()}
