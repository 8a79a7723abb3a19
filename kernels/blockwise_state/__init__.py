"""Optimizer states in 8 and 4 bits: packing and unpacking. The steps over them are `blockwise_adam`, `blockwise_lion`.

Operators of `torch.library`; README.md in this folder has the maths and `reference` is the meaning. Nothing here has a
gradient: it is what uses gradients.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from kernels._check import FLOATS, same_device
from kernels._choose import Choice, Op, choose, register
from kernels.blockwise_state import eager, reference
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
from kernels.multi_tensor import pairs

__all__ = [
    "FIRST_4", "FIRST_8", "SECOND_4", "SECOND_8", "SMALLEST", "Scheme", "State", "chosen", "dequantize",
    "dynamic_map", "fits", "linear_map", "quantize", "zeros",
]  # fmt: skip

register(Op("blockwise_state"))


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


def fits(params: Sequence[Tensor], grads: Sequence[Tensor], states: dict[str, Sequence[State]]) -> None:
    """ValueError unless weights, gradients and packed states (`states`: "first", or that and "second") go together."""
    pairs(params, grads, {f"{name} moment": len(column) for name, column in states.items()})
    for name, column in states.items():
        for p, state in zip(params, column, strict=True):
            if state.shape != tuple(p.shape):
                raise ValueError(
                    f"the {name} moment is that of {list(state.shape)}, but the weights are {list(p.shape)}: begin with"
                    " zeros(p, scheme)"
                )
            if name == "first" and not state.scheme.signed:
                raise ValueError(f"the first moment has {state.scheme}, but it has both signs: use FIRST_8 or FIRST_4")
            if name == "second" and state.scheme.signed:
                raise ValueError(
                    f"the second moment has {state.scheme}, but squares have no sign: use SECOND_8 or SECOND_4"
                )
    packed = [t for column in states.values() for s in column for t in (s.codes, s.scales)]
    same_device("the weights", *params, *grads, *packed)


def chosen(op: str, params: Sequence[Tensor], grads: Sequence[Tensor], *schemes: Scheme) -> Choice:
    """Who runs the step `op`, and why: the kernels keep the blocks of both moments in one program's registers."""
    choice = choose(op, *params, *grads)
    blocks = [s.block for s in schemes if s.block]
    fit = len(set(blocks)) == 1 and 32 <= blocks[0] <= 4096 and blocks[0].bit_count() == 1
    if choice.provider == "triton" and not (fit and schemes[0].block):
        sizes = " and ".join(str(s.block) for s in schemes)
        return Choice("torch", f"its kernels take blocks of one power of 2 from 32 to 4,096, and these are of {sizes}")
    return choice


@torch.library.custom_op("searchd::state_quantize", mutates_args=())
def _quantize(x: Tensor, bits: int, signed: bool, linear: bool, block: int) -> tuple[Tensor, Tensor]:
    pack = reference.quantize if choose("blockwise_state", x).provider == "reference" else eager.quantize
    return pack(x, Scheme(bits, signed, linear, block))


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
    plain = choose("blockwise_state", scales).provider == "reference"
    unpack = reference.dequantize if plain else eager.dequantize
    return unpack(codes, scales, torch.Size(shape), Scheme(bits, signed, linear, block))


@_dequantize.register_fake
def _(
    codes: Tensor, scales: Tensor, shape: Sequence[int], bits: int, signed: bool, linear: bool, block: int  # noqa: ARG001
) -> Tensor:
    return scales.new_empty(shape)
