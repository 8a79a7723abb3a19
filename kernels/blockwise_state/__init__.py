"""Optimizer states in 8 and 4 bits, and AdamW's and Lion's whole step over them: dequantize, update, quantize.

Operators of `torch.library`; the steps change weights and states in place. README.md in this folder has the maths and
`reference` is the meaning. Nothing here has a gradient: it is what uses gradients.
"""


from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from kernels.blockwise_state import reference
from kernels.blockwise_state.reference import (
    FIRST_4,
    FIRST_8,
    SECOND_4,
    SECOND_8,
    SMALLEST,
    Scheme,
    dynamic_map,
    linear_map,
)

__all__ = [
    "FIRST_4", "FIRST_8", "SECOND_4", "SECOND_8", "SMALLEST", "Scheme", "State", "adamw", "dequantize", "dynamic_map",
    "linear_map", "lion", "quantize", "zeros",
]  # fmt: skip

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@dataclass(frozen=True, slots=True)
class State:
    """One packed state of a parameter of `shape`: `codes` (uint8, flat) and `scales` (float32); steps change both."""

    codes: Tensor
    scales: Tensor
    shape: tuple[int, ...]
    scheme: Scheme

    @property
    def bytes(self) -> int:
        """What it takes in memory."""
        return self.codes.numel() + 4 * self.scales.numel()


def quantize(x: Tensor, scheme: Scheme) -> State:
    """`x` (floats) packed: blocks of the flat tensor, or a matrix (what has more dimensions: [first, rest]) by rank-1
    scales. ValueError for another dtype."""
    if x.dtype not in FLOATS:
        raise ValueError(f"a state is {x.dtype}, but only floats can be packed: convert it")
    own = scheme.of(x.shape)
    codes, scales = _quantize(x, own.bits, own.signed, own.linear, own.block)
    return State(codes, scales, tuple(x.shape), own)


def zeros(p: Tensor, scheme: Scheme) -> State:
    """The state that a training of `p` begins with."""
    return quantize(torch.zeros(p.shape, dtype=torch.float32, device=p.device), scheme)


def dequantize(state: State) -> Tensor:
    """The state (float32) in its shape."""
    s = state.scheme
    found: Tensor = _dequantize(state.codes, state.scales, state.shape, s.bits, s.signed, s.linear, s.block)
    return found


@torch.no_grad()
def adamw(
    p: Tensor, grad: Tensor, first: State, second: State, step: int, *, lr: float, beta1: float = 0.9,
    beta2: float = 0.999, eps: float = 1e-8, weight_decay: float = 0.0,
) -> None:  # fmt: skip
    """AdamW's step number `step` (from 1) of `p` by `grad`, in place; arithmetic in float32, or `p`'s if wider."""
    _fits(p, grad, {"first": first, "second": second})
    if second.scheme.signed:
        raise ValueError(f"the second moment has {second.scheme}, but squares have no sign: use SECOND_8 or SECOND_4")
    if step < 1:
        raise ValueError(f"step is {step}, but the first step is 1: the moments' bias is divided by 1 − beta^step")
    a, b = first.scheme, second.scheme
    _adamw(
        p, grad, first.codes, first.scales, second.codes, second.scales, step, lr, beta1, beta2, eps, weight_decay,
        a.bits, a.signed, a.linear, a.block, b.bits, b.linear, b.block,
    )  # fmt: skip


@torch.no_grad()
def lion(
    p: Tensor, grad: Tensor, first: State, *, lr: float, beta1: float = 0.9, beta2: float = 0.99,
    weight_decay: float = 0.0,
) -> None:  # fmt: skip
    """A step of Lion of `p` by `grad`, in place; arithmetic in float32, or `p`'s if wider."""
    _fits(p, grad, {"first": first})
    s = first.scheme
    _lion(
        p, grad, first.codes, first.scales, lr, beta1, beta2, weight_decay, s.bits, s.signed, s.linear, s.block
    )


def _fits(p: Tensor, grad: Tensor, states: dict[str, State]) -> None:
    if p.dtype not in FLOATS or grad.dtype not in FLOATS:
        raise ValueError(f"weights are {p.dtype} and the gradient {grad.dtype}, but both have to be floats: convert")
    if grad.shape != p.shape:
        raise ValueError(f"the gradient is {list(grad.shape)}, but the weights are {list(p.shape)}: reshape it")
    for name, state in states.items():
        if state.shape != tuple(p.shape):
            raise ValueError(
                f"the {name} moment is that of {list(state.shape)}, but the weights are {list(p.shape)}: begin with"
                " zeros(p, scheme)"
            )
        if name == "first" and not state.scheme.signed:
            raise ValueError(f"the first moment has {state.scheme}, but it has both signs: use FIRST_8 or FIRST_4")
    devices = {str(t.device) for s in states.values() for t in (p, grad, s.codes, s.scales)}
    if len(devices) > 1:
        raise ValueError(f"the arguments are on {', '.join(sorted(devices))}, but have to be on one: move them to p's")


def _wide(p: Tensor) -> Tensor:
    return p if p.dtype == torch.float64 else p.float()


@torch.library.custom_op("searchd::state_quantize", mutates_args=())
def _quantize(x: Tensor, bits: int, signed: bool, linear: bool, block: int) -> tuple[Tensor, Tensor]:
    return reference.quantize(x, Scheme(bits, signed, linear, block))


@_quantize.register_fake
def _(x: Tensor, bits: int, signed: bool, linear: bool, block: int) -> tuple[Tensor, Tensor]:  # noqa: ARG001
    count = x.numel()
    scales = x.shape[0] + math.prod(x.shape[1:]) if block == 0 else -(-count // block)
    codes = count if bits == 8 else -(-count // 2)
    return x.new_empty(codes, dtype=torch.uint8), x.new_empty(scales, dtype=torch.float32)


@torch.library.custom_op("searchd::state_dequantize", mutates_args=())
def _dequantize(
    codes: Tensor, scales: Tensor, shape: Sequence[int], bits: int, signed: bool, linear: bool, block: int
) -> Tensor:
    return reference.dequantize(codes, scales, torch.Size(shape), Scheme(bits, signed, linear, block))


@_dequantize.register_fake
def _(
    codes: Tensor, scales: Tensor, shape: Sequence[int], bits: int, signed: bool, linear: bool, block: int  # noqa: ARG001
) -> Tensor:
    return scales.new_empty(shape)


@torch.library.custom_op("searchd::blockwise_adamw", mutates_args=("p", "m", "m_scales", "v", "v_scales"))
def _adamw(
    p: Tensor, grad: Tensor, m: Tensor, m_scales: Tensor, v: Tensor, v_scales: Tensor, step: int, lr: float,
    beta1: float, beta2: float, eps: float, weight_decay: float, m_bits: int, m_signed: bool, m_linear: bool,
    m_block: int, v_bits: int, v_linear: bool, v_block: int,
) -> None:  # fmt: skip
    first, second = Scheme(m_bits, m_signed, m_linear, m_block), Scheme(v_bits, False, v_linear, v_block)
    new, m_new, v_new = reference.adam(
        _wide(p), grad, reference.dequantize(m, m_scales, p.shape, first),
        reference.dequantize(v, v_scales, p.shape, second), step, lr=lr, beta1=beta1, beta2=beta2, eps=eps,
        weight_decay=weight_decay,
    )  # fmt: skip
    p.copy_(new)
    _put(m, m_scales, m_new, first)
    _put(v, v_scales, v_new, second)


@_adamw.register_fake
def _(*_: object) -> None:
    return None


@torch.library.custom_op("searchd::blockwise_lion", mutates_args=("p", "m", "m_scales"))
def _lion(
    p: Tensor, grad: Tensor, m: Tensor, m_scales: Tensor, lr: float, beta1: float, beta2: float, weight_decay: float,
    bits: int, signed: bool, linear: bool, block: int,
) -> None:  # fmt: skip
    scheme = Scheme(bits, signed, linear, block)
    new, m_new = reference.lion(
        _wide(p), grad, reference.dequantize(m, m_scales, p.shape, scheme), lr=lr, beta1=beta1, beta2=beta2,
        weight_decay=weight_decay,
    )  # fmt: skip
    p.copy_(new)
    _put(m, m_scales, m_new, scheme)


@_lion.register_fake
def _(*_: object) -> None:
    return None


def _put(codes: Tensor, scales: Tensor, values: Tensor, scheme: Scheme) -> None:
    new, top = reference.quantize(values, scheme)
    codes.copy_(new)
    scales.copy_(top)
