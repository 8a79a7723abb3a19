"""One or more torch optimizers that step together, with the filters before them: what a training loop holds.

    optimizer.train()                       # before the batches of an epoch
    optimizer.scale(0.5)                    # if the learning rate follows a schedule: a factor of what the config says
    optimizer.zero_grad(); optimizer.backward(loss); optimizer.step()
    optimizer.eval()                        # before an evaluation and before a checkpoint

`train` and `eval` matter where the weights to evaluate are not those that train (schedule-free, averages): whoever
leaves them out evaluates the latter. A checkpoint is exact when it is written after `eval`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.linalg import LinAlgError  # type: ignore[attr-defined]  # documented, but not in its list
from torch.optim import Optimizer

from workers.optimizers.filters import Filter, Hyper
from workers.optimizers.norm_test import NormTest
from workers.optimizers.roles import Flat
from workers.state import EVOLVING

RATES = ("lr", "lr_1d")
"""What a schedule of the learning rate moves."""


@dataclass(slots=True)
class Optimizers:
    """`optimizers` by name; `params`: all that they train, for `filters`. `second_order`: steps need second derivatives
    now and then. `norm_test`: chooses the batch size."""

    optimizers: dict[str, Optimizer]
    params: tuple[nn.Parameter, ...] = ()
    flats: tuple[Flat, ...] = ()
    filters: Mapping[str, Filter] = field(default_factory=dict)
    hyper: Hyper = field(default_factory=dict)
    second_order: bool = False
    norm_test: NormTest | None = None
    _rates: dict[str, list[dict[str, float]]] = field(init=False)

    def __post_init__(self) -> None:
        self._rates = {name: [_rates(g) for g in part.param_groups] for name, part in self.optimizers.items()}

    @property
    def parts(self) -> dict[str, Any]:
        """Everything that has state, by the name under which it is saved and restored."""
        more: dict[str, Any] = {} if self.norm_test is None else {"norm_test": self.norm_test}
        return {**self.optimizers, **self.filters, **more}

    @property
    def averages(self) -> bool:
        """Whether the weights to evaluate are others than those that train."""
        return any(hasattr(part, "eval") for part in self.optimizers.values())

    def zero_grad(self) -> None:
        for p in self.params:
            p.grad = None
        for part in self.optimizers.values():
            part.zero_grad(set_to_none=True)

    def backward(self, loss: Tensor) -> None:
        """The gradients of `loss`, such that this optimizer can step."""
        if not self.second_order:
            torch.autograd.backward(loss)
            return
        wanted = [p for p in self.params if p.requires_grad]
        for p, g in zip(wanted, torch.autograd.grad(loss, wanted, create_graph=True, allow_unused=True), strict=True):
            p.grad = g

    def step(self) -> None:
        """One step by the gradients that are there. A training that diverged has NaN weights, and no error here."""
        for one in self.filters.values():
            one.apply(self.params)
        if self.norm_test is not None:
            self.norm_test.see(self.params)
        for flat in self.flats:
            flat.take_gradient()
        try:
            for part in self.optimizers.values():
                part.step()
        except LinAlgError:  # what is not finite has no decomposition: the training has diverged
            with torch.no_grad():
                for p in self.params:
                    p.fill_(math.nan)
        for flat in self.flats:
            flat.give_back()

    def train(self) -> None:
        """The parameters become those that train."""
        self._turn("train")

    def eval(self) -> None:
        """The parameters become those to evaluate and to keep."""
        self._turn("eval")

    def _turn(self, way: str) -> None:
        with torch.no_grad():
            for part in self.optimizers.values():
                if hasattr(part, way):
                    getattr(part, way)()
            for flat in self.flats:
                flat.give_back()

    def scale(self, factor: float) -> None:
        """Every learning rate is `factor` times what the config says."""
        for name, part in self.optimizers.items():
            for group, rates in zip(part.param_groups, self._rates[name], strict=True):
                for key, rate in rates.items():
                    _put(group, key, rate * factor)

    def batch(self, given: int) -> int:
        """The batch size to go on with, where the config says `given`: asked for once an epoch."""
        return given if self.norm_test is None else self.norm_test.batch(given)

    def follow(self, other: Optimizers) -> None:
        """Take over the hyperparameters of `other`, built over the same parameters; moments and weights stay."""
        for name, part in self.optimizers.items():
            for group, now in zip(part.param_groups, other.optimizers[name].param_groups, strict=True):
                for key, value in now.items():
                    if key not in EVOLVING:
                        _put(group, key, value)
        self._rates = other._rates
        for name, one in self.filters.items():
            if name in other.filters:
                one.set(other.hyper)
        if self.norm_test is not None and other.norm_test is not None:
            self.norm_test.theta, self.norm_test.most = other.norm_test.theta, other.norm_test.most


def _rates(group: Mapping[str, Any]) -> dict[str, float]:
    return {key: float(group[key]) for key in RATES if group.get(key) is not None}


def _put(group: dict[str, Any], key: str, value: Any) -> None:
    """Set an entry of a group; one that is a tensor (torchao's learning rate) stays one."""
    if isinstance(group.get(key), Tensor):
        group[key].fill_(float(value))
    else:
        group[key] = value


