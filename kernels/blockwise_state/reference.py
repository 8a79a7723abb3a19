"""Optimizer states of 8 and 4 bits: maps of codes, block-wise and rank-1 scales; written out.

A state is divided by a scale and each value becomes the code of the nearest entry of a map. Sources: Dettmers, Lewis,
Shleifer and Zettlemoyer (2022, ICLR), 8-bit optimizers by block-wise quantization, the dynamic map (after Dettmers,
2016, ICLR); Li, Chen and Zhu (2023, NeurIPS), 4-bit states: rank-1 scales, and a map without 0 for second moments.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

SMALLEST = 4096
"""Tensors of fewer values stay in 32 bits [bitsandbytes, torchao, Li and others]; 8-bit states cost them more."""


@cache
def dynamic_map(bits: int, *, signed: bool) -> tuple[float, ...]:
    """The dynamic (tree) map, 2^bits values in order: for i = 0 … bits − 2 the midpoints of 2^i (unsigned: 2^(i+1))
    intervals of [.1, 1], times 10^(i − bits + 2), with both signs when signed; and 0 and 1."""
    found = [0.0, 1.0]
    for i in range(bits - 1):
        count = 2**i if signed else 2 ** (i + 1)
        middles = [(0.1 + 0.9 * (j + 0.5) / count) * 10.0 ** (i - bits + 2) for j in range(count)]
        found += middles + ([-m for m in middles] if signed else [])
    return tuple(sorted(found))


@cache
def linear_map(bits: int) -> tuple[float, ...]:
    """1/2^bits, …, 1: evenly spaced and without 0, so that no second moment becomes 0 and its root a division by 0."""
    return tuple((i + 1) / 2**bits for i in range(2**bits))


@dataclass(frozen=True, slots=True)
class Scheme:
    """How a state tensor is kept. `block`: values in a row that share a scale; 0: rank-1 scales, of matrices only."""

    bits: int
    signed: bool
    linear: bool
    block: int

    def __post_init__(self) -> None:
        if self.bits not in {4, 8} or self.block < 0 or (self.linear and self.signed):
            raise ValueError(
                f"{self} is no scheme: states have 4 or 8 bits, a block has 1 value or more (0: rank-1 scales), and the"
                " linear map is unsigned; see FIRST_8, SECOND_8, FIRST_4, SECOND_4"
            )

    @property
    def map(self) -> tuple[float, ...]:
        """The value of each code, in order."""
        return linear_map(self.bits) if self.linear else dynamic_map(self.bits, signed=self.signed)

    def of(self, shape: torch.Size) -> Scheme:
        """The scheme for a tensor of that shape: what is no matrix has no rank-1 scales, and takes blocks of 128."""
        return Scheme(self.bits, self.signed, self.linear, 128) if self.block == 0 and len(shape) < 2 else self


FIRST_8 = Scheme(8, signed=True, linear=False, block=256)
SECOND_8 = Scheme(8, signed=False, linear=False, block=256)
FIRST_4 = Scheme(4, signed=True, linear=False, block=128)
SECOND_4 = Scheme(4, signed=False, linear=True, block=0)


def table(scheme: Scheme, like: Tensor) -> Tensor:
    """The map as a tensor [2^bits] (float32) where `like` is."""
    return torch.tensor(scheme.map, dtype=torch.float32, device=like.device)


def nearest(values: Tensor, codes: Tensor) -> Tensor:
    """The index of the nearest entry of `codes` (in order) for each value, int64; a tie goes up. NaN: the last."""
    return torch.bucketize(values, (codes[1:] + codes[:-1]) / 2, right=True)


def scales_of(x: Tensor, block: int) -> Tensor:
    """Largest absolute values (float32): of each block of the flat tensor, the last one maybe shorter; for block = 0
    of the rows and then of the columns of x [R, …] as a matrix, R + C of them."""
    a = x.abs().float()
    if block == 0:
        m = a.flatten(1)
        return torch.cat([_largest(m, 1), _largest(m, 0)])
    flat = a.flatten()
    return _largest(torch.nn.functional.pad(flat, (0, -flat.numel() % block)).view(-1, block), 1)


def _largest(m: Tensor, dim: int) -> Tensor:
    return m.amax(dim) if m.shape[dim] else m.new_zeros(m.shape[1 - dim])


def divisors(scales: Tensor, shape: torch.Size, block: int) -> Tensor:
    """What each value was divided by, of that shape: its block's scale, or the smaller one of its row and column."""
    if block == 0:
        rows = shape[0]
        return torch.minimum(scales[:rows, None], scales[None, rows:]).reshape(shape)
    return scales.repeat_interleave(block)[: math.prod(shape)].view(shape)


def quantize(x: Tensor, scheme: Scheme) -> tuple[Tensor, Tensor]:
    """(codes, scales) of a state. Codes (uint8) are flat: one value a byte, or two with the first in the low half.

    Where everything that shares a scale is 0 the scale is 0 and comes back as 0. A value that is not finite
    comes back so, with what it drowns: a training that diverged is seen.
    """
    scheme = scheme.of(x.shape)
    scales = scales_of(x, scheme.block)
    d = divisors(scales, x.shape, scheme.block)
    u = x.float() / torch.where(d == 0, torch.ones_like(d), d)
    codes = nearest(u, table(scheme, x)).to(torch.uint8).flatten()
    if scheme.bits == 4:
        pairs = torch.nn.functional.pad(codes, (0, codes.numel() % 2)).view(-1, 2)
        codes = pairs[:, 0] | (pairs[:, 1] << 4)
    return codes, scales


def dequantize(codes: Tensor, scales: Tensor, shape: torch.Size, scheme: Scheme) -> Tensor:
    """The state (float32) of that shape."""
    scheme = scheme.of(shape)
    if scheme.bits == 4:
        codes = torch.stack([codes & 15, codes >> 4], 1).flatten()[: math.prod(shape)]
    values = table(scheme, codes)[codes.to(torch.int64)].view(shape)
    return values * divisors(scales, shape, scheme.block)
