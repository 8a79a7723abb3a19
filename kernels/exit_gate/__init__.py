"""`exit_gate`: who leaves at an exit, and the batch of those that go on; their results put back at the end.

    gate = exit_gate(head(x), threshold)                 # [B, C] logits are read once
    x = compact(x, gate.going())                         # [n, ...] for the next segment
    answers = scatter(gate.prediction, gate.going(), later)

Registered with `torch.library`; README.md in this folder has the maths, `reference` is the meaning. Scores, predictions
and places have no gradient; `compact` and `scatter` have.
"""


from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from kernels._check import floats, same_device
from kernels._choose import Op, choose, register
from kernels.exit_gate import reference
from kernels.exit_gate.reference import NONE, RULES

__all__ = ["NONE", "RULES", "Gate", "compact", "exit_gate", "scatter"]

OP = "exit_gate"
HALVES = (torch.float16, torch.bfloat16)
register(Op(OP, (torch.float32, *HALVES)))


@dataclass(frozen=True, slots=True)
class Gate:
    """What an exit says of a batch of B.

    `score` [B]: how sure it is, in [0, 1]. `prediction` [B] (int64): the class; `NONE` where the logits are not finite.
    `order` [B] (int64): the places of those that go on, ascending, then `NONE`. `count` [] (int64): how many they are.
    All on the logits' device: nothing has waited for it.
    """

    score: Tensor
    prediction: Tensor
    order: Tensor
    count: Tensor

    def going(self) -> Tensor:
        """The places of those that go on, [count]. Waits for the device, once: a size is a number of the host's."""
        return self.order[: int(self.count)]


def exit_gate(logits: Tensor, threshold: float, rule: str = "probability", temperature: float = 1.0) -> Gate:
    """The gate of one exit for logits [B, C] of floats; a sample leaves where its score is at least `threshold`.

    `rule`: one of `RULES`, of softmax(logits / temperature). Half precisions are computed in float32. ValueError for
    what does not fit.
    """
    floats("the logits", logits)
    if logits.dim() != 2 or not logits.shape[1]:
        raise ValueError(f"the logits are {list(logits.shape)}, but need [B, C] with a class or more: reshape them")
    if rule not in RULES:
        raise ValueError(f"there is no rule {rule!r} for one exit alone: use {', '.join(RULES)}")
    if not (math.isfinite(temperature) and temperature > 0):
        raise ValueError(f"the temperature is {temperature}, but has to be positive and finite: 1 changes nothing")
    if math.isnan(threshold):
        raise ValueError("the threshold is no number: use one in [0, 1], or above 1 for a sample never to leave")
    found = _gate(logits.detach(), float(threshold), float(temperature), RULES.index(rule))
    return Gate(*found)


def compact(x: Tensor, order: Tensor) -> Tensor:
    """Rows [n, ...] of x [B, ...] at the places `order` [n] of a gate; 0 where they are `NONE`."""
    _fits("x", x, order)
    out: Tensor = _compact(x, order)
    return out


def scatter(into: Tensor, order: Tensor, rest: Tensor) -> Tensor:
    """`into` [B, ...] with the rows `rest` [n, ...] at the places `order` [n] of a gate; the others as they are."""
    _fits("into", into, order)
    same_device("into", into, rest)
    if list(rest.shape) != [len(order), *into.shape[1:]] or rest.dtype != into.dtype:
        raise ValueError(
            f"the rest is {list(rest.shape)} of {rest.dtype}, but {len(order)} rows of {list(into.shape)} are"
            f" {[len(order), *into.shape[1:]]} of {into.dtype}: reshape or convert it"
        )
    out: Tensor = _scatter(into, order, rest)
    return out


def _fits(name: str, x: Tensor, order: Tensor) -> None:
    if x.dim() == 0:
        raise ValueError(f"{name} is [], but has to be [B, ...], a row a sample: reshape it")
    if order.dim() != 1 or order.dtype != torch.int64 or len(order) > x.shape[0]:
        raise ValueError(
            f"the order is {list(order.shape)} of {order.dtype}, but needs [n] of torch.int64 with n <= {x.shape[0]},"
            f" the rows of {name}: give `order` of the gate, or a part of it"
        )
    same_device(name, x, order)


@torch.library.custom_op("searchd::exit_gate", mutates_args=())
def _gate(logits: Tensor, threshold: float, temperature: float, rule: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    if choose(OP, logits).provider == "triton":
        from kernels.exit_gate import triton

        return triton.gate(logits, threshold, temperature, rule)
    wide = logits.float() if logits.dtype in HALVES else logits
    found = reference.score(wide, RULES[rule], temperature)
    order, count = reference.order(found, threshold)
    return found, reference.predicted(wide), order, count


@_gate.register_fake
def _(
    logits: Tensor, threshold: float, temperature: float, rule: int  # noqa: ARG001
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    wide = torch.float32 if logits.dtype in HALVES else logits.dtype
    places = logits.new_empty(logits.shape[0], dtype=torch.int64)
    count = logits.new_empty((), dtype=torch.int64)
    return logits.new_empty(logits.shape[0], dtype=wide), torch.empty_like(places), places, count


@torch.library.custom_op("searchd::exit_compact", mutates_args=())
def _compact(x: Tensor, order: Tensor) -> Tensor:
    if choose(OP, x).provider == "triton":
        from kernels.exit_gate import triton

        return triton.compact(x, order)
    return reference.compact(x, order).contiguous()


@_compact.register_fake
def _(x: Tensor, order: Tensor) -> Tensor:
    return x.new_empty(order.shape[0], *x.shape[1:])


@torch.library.custom_op("searchd::exit_scatter", mutates_args=())
def _scatter(into: Tensor, order: Tensor, rest: Tensor) -> Tensor:
    if choose(OP, into, rest).provider == "triton":
        from kernels.exit_gate import triton

        return triton.scatter(into, order, rest)
    return reference.scatter(into, order, rest).contiguous()


@_scatter.register_fake
def _(into: Tensor, order: Tensor, rest: Tensor) -> Tensor:  # noqa: ARG001
    return into.new_empty(into.shape)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG001
    ctx.rows = inputs[0].shape[0]
    ctx.save_for_backward(inputs[1])


def _to_x(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
    (order,) = ctx.saved_tensors
    return _scatter(grad.new_zeros(ctx.rows, *grad.shape[1:]), order, grad), None


def _to_both(ctx: Any, grad: Tensor) -> tuple[Tensor, None, Tensor]:
    (order,) = ctx.saved_tensors
    to_rest = _compact(grad, order)
    return _scatter(grad, order, torch.zeros_like(to_rest)), None, to_rest


_compact.register_autograd(_to_x, setup_context=_setup)
_scatter.register_autograd(_to_both, setup_context=_setup)
