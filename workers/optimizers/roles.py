"""Which parameter of a network an optimizer may treat how: matrices of blocks, heads and embeddings, the rest."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch import nn

Group = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Roles:
    """The parameters of a network by what an optimizer may do to them."""

    hidden: tuple[nn.Parameter, ...]
    """Weights of blocks, two dimensions or more: decayed, and Muon's, in the order of the layers."""
    heads: tuple[nn.Parameter, ...]
    """Weights of exit heads, and embeddings: decayed."""
    rest: tuple[nn.Parameter, ...]
    """Norms, biases, quantizer scales: never decayed."""

    @classmethod
    def of(cls, named: Iterable[tuple[str, nn.Parameter]]) -> Roles:
        """By shape and name: two dimensions or more is a weight; below `head`, `heads` or `embed…` it is a head's."""
        hidden, heads, rest = [], [], []
        for name, parameter in named:
            if parameter.dim() < 2:
                rest.append(parameter)
            elif any(part in ("head", "heads") or part.startswith("embed") for part in name.split(".")):
                heads.append(parameter)
            else:
                hidden.append(parameter)
        return cls(tuple(hidden), tuple(heads), tuple(rest))

    @property
    def all(self) -> tuple[nn.Parameter, ...]:
        """Every parameter, once."""
        return self.hidden + self.heads + self.rest

    def groups(self, weight_decay: float) -> list[Group]:
        """Decayed weights and undecayed rest, empty groups left out."""
        split = [(self.hidden + self.heads, weight_decay), (self.rest, 0.0)]
        return [{"params": list(params), "weight_decay": decay} for params, decay in split if params]


@dataclass(frozen=True, slots=True)
class Flat:
    """A convolution's weight [out, in, k, k] as a matrix [out, in * k * k] in the same memory, for optimizers of
    matrices."""

    whole: nn.Parameter
    matrix: nn.Parameter

    @classmethod
    def of(cls, whole: nn.Parameter) -> Flat:
        return cls(whole, nn.Parameter(whole.detach().flatten(1), requires_grad=whole.requires_grad))

    def take_gradient(self) -> None:
        """The matrix gets the weight's gradient, and is in its memory again if that was moved."""
        if self.matrix.data_ptr() != self.whole.data_ptr():
            self.matrix.data = self.whole.detach().flatten(1)
        self.matrix.grad = None if self.whole.grad is None else self.whole.grad.flatten(1)

    def give_back(self) -> None:
        """The weight is the matrix also where a memory layout forbids to share it."""
        if self.matrix.data_ptr() != self.whole.data_ptr():
            self.whole.data.copy_(self.matrix.detach().view(self.whole.shape))


def matrices(params: Iterable[nn.Parameter]) -> tuple[list[nn.Parameter], tuple[Flat, ...]]:
    """The parameters as matrices [rows, columns], and those that had to be flattened for it."""
    out, flats = [], []
    for parameter in params:
        if parameter.dim() == 2:
            out.append(parameter)
        else:
            flats.append(Flat.of(parameter))
            out.append(flats[-1].matrix)
    return out, tuple(flats)
