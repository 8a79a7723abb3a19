"""`multi_tensor`: AdamW's and Lion's whole step over the 32-bit states of many tensors, in one launch where there is a
GPU. It is for the many small tensors (norms, biases, scales) that packed states leave in 32 bits.

Operators of `torch.library` that change weights and states in place; README.md in this folder has the maths and
`reference` is the meaning. Nothing here has a gradient: it is what uses gradients.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from kernels._check import floats, same_device
from kernels._choose import Op, choose, register
from kernels.multi_tensor import eager, reference

__all__ = ["adamw", "lion", "reference"]

KINDS = (torch.float32, torch.bfloat16, torch.float16)
register(Op("multi_tensor", dtypes=KINDS))


@torch.no_grad()
def adamw(
    params: Sequence[Tensor], grads: Sequence[Tensor], firsts: Sequence[Tensor], seconds: Sequence[Tensor], step: int,
    *, lr: float, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8, weight_decay: float = 0.0,
) -> None:  # fmt: skip
    """AdamW's step number `step` (from 1) of each of `params` by its gradient, in place. `firsts` and `seconds`: its
    moments in float32 (float64 for weights of that). ValueError for what does not fit."""
    fits(params, grads, {"first moment": firsts, "second moment": seconds})
    first_step(step)
    if len(params):
        _adamw(params, grads, firsts, seconds, step, lr, beta1, beta2, eps, weight_decay)


@torch.no_grad()
def lion(
    params: Sequence[Tensor], grads: Sequence[Tensor], firsts: Sequence[Tensor], *, lr: float, beta1: float = 0.9,
    beta2: float = 0.99, weight_decay: float = 0.0,
) -> None:  # fmt: skip
    """A step of Lion of each of `params` by its gradient, in place; `firsts` as in `adamw`."""
    fits(params, grads, {"first moment": firsts})
    if len(params):
        _lion(params, grads, firsts, lr, beta1, beta2, weight_decay)


def first_step(step: int) -> None:
    """ValueError for a step that cannot be."""
    if step < 1:
        raise ValueError(f"step is {step}, but the first step is 1: the moments' bias is divided by 1 − beta^step")


def pairs(params: Sequence[Tensor], grads: Sequence[Tensor], states: dict[str, int]) -> None:
    """ValueError unless there is a gradient of floats and of the same shape for each weight, and as many of each state
    (`states`: how many there are, by name)."""
    for name, count in {"gradient": len(grads), **states}.items():
        if count != len(params):
            raise ValueError(f"there are {count} of the {name}, but {len(params)} weights: give one for each")
    for p, g in zip(params, grads, strict=True):
        floats("a weight", p)
        floats("a gradient", g)
        if g.shape != p.shape:
            raise ValueError(f"the gradient is {list(g.shape)}, but the weights are {list(p.shape)}: reshape it")


def fits(params: Sequence[Tensor], grads: Sequence[Tensor], states: dict[str, Sequence[Tensor]]) -> None:
    """ValueError unless weights, gradients and 32-bit states go together."""
    pairs(params, grads, {name: len(column) for name, column in states.items()})
    for name, column in states.items():
        for p, s in zip(params, column, strict=True):
            kind = torch.float64 if p.dtype == torch.float64 else torch.float32
            if s.shape != p.shape or s.dtype != kind:
                raise ValueError(
                    f"the {name} is {list(s.shape)} of {s.dtype}, but the weights are {list(p.shape)} of {p.dtype}:"
                    f" begin with zeros of that shape in {kind}"
                )
    same_device("the weights", *params, *grads, *(s for column in states.values() for s in column))


@torch.library.custom_op("searchd::multi_tensor_adamw", mutates_args=("params", "firsts", "seconds"))
def _adamw(
    params: Sequence[Tensor], grads: Sequence[Tensor], firsts: Sequence[Tensor], seconds: Sequence[Tensor], step: int,
    lr: float, beta1: float, beta2: float, eps: float, weight_decay: float,
) -> None:  # fmt: skip
    match choose("multi_tensor", *params, *grads).provider:
        case "triton":
            from kernels.multi_tensor import triton

            numbers = triton.adam_numbers(step, lr, beta1, beta2, eps, weight_decay)
            triton.step(triton.adamw_kernel, params, grads, (firsts, seconds), numbers)
        case "torch":
            for p, g, m, v in zip(params, grads, firsts, seconds, strict=True):
                eager.adam_(p, g, m, v, step, lr, beta1, beta2, eps, weight_decay)
        case "reference":
            for p, g, m, v in zip(params, grads, firsts, seconds, strict=True):
                made = reference.adam(
                    p.double(), g, m, v, step, lr=lr, beta1=beta1, beta2=beta2, eps=eps, weight_decay=weight_decay
                )
                for into, new in zip((p, m, v), made, strict=True):
                    into.copy_(new)


@_adamw.register_fake
def _(*_: object) -> None:
    return None


@torch.library.custom_op("searchd::multi_tensor_lion", mutates_args=("params", "firsts"))
def _lion(
    params: Sequence[Tensor], grads: Sequence[Tensor], firsts: Sequence[Tensor], lr: float, beta1: float, beta2: float,
    weight_decay: float,
) -> None:  # fmt: skip
    match choose("multi_tensor", *params, *grads).provider:
        case "triton":
            from kernels.multi_tensor import triton

            numbers = triton.lion_numbers(lr, beta1, beta2, weight_decay)
            triton.step(triton.lion_kernel, params, grads, (firsts,), numbers)
        case "torch":
            for p, g, m in zip(params, grads, firsts, strict=True):
                eager.lion_(p, g, m, lr, beta1, beta2, weight_decay)
        case "reference":
            for p, g, m in zip(params, grads, firsts, strict=True):
                made = reference.lion(p.double(), g, m, lr=lr, beta1=beta1, beta2=beta2, weight_decay=weight_decay)
                for into, new in zip((p, m), made, strict=True):
                    into.copy_(new)


@_lion.register_fake
def _(*_: object) -> None:
    return None
