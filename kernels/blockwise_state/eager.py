"""`reference`'s codes and values, bit for bit, in fewer torch operations over memory.

A search for the nearest of 256 entries costs eight comparisons that no branch predictor guesses. Here the upper 16 bits
of a value (sign, exponent, 7 bits of mantissa) choose one of 65,536 buckets. No bucket has more than one border between
two codes, so a code is a look-up and one comparison.
"""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor

from kernels.blockwise_state import reference
from kernels.blockwise_state.reference import Scheme


@cache
def buckets(values: tuple[float, ...], device: torch.device) -> tuple[Tensor, Tensor]:
    """(lowest code [65536] uint8, border to the next one [65536] float32, NaN where there is none) by upper 16 bits."""
    table = torch.tensor(values, dtype=torch.float32)
    borders = (table[1:] + table[:-1]) / 2
    upper = torch.arange(2**16, dtype=torch.int32)
    ends = torch.stack([upper << 16, upper << 16 | 0xFFFF]).view(torch.float32)
    low, high = (reference.nearest(end, table) for end in (ends.amin(0), ends.amax(0)))
    if int((high - low).max()) > 1:
        raise ValueError(f"a map of {len(values)} values has two borders within 1/128: use reference.quantize")
    border = torch.where(high > low, borders[low.clamp(max=len(borders) - 1)], torch.nan)
    return low.to(torch.uint8).to(device), border.to(device)


def codes_of(u: Tensor, scheme: Scheme) -> Tensor:
    """The code (uint8) of the nearest entry of the map for each value of `u` (float32), as `reference.nearest`."""
    low, border = buckets(scheme.map, u.device)
    flat = u.flatten()
    key = (flat.view(torch.int32) >> 16).bitwise_and_(0xFFFF)
    return low.index_select(0, key).add_(flat >= border.index_select(0, key))


def quantize(x: Tensor, scheme: Scheme) -> tuple[Tensor, Tensor]:
    """(codes, scales), as `reference.quantize`."""
    scheme = scheme.of(x.shape)
    x = x.float()
    scales = reference.scales_of(x, scheme.block)
    d = reference.divisors(scales, x.shape, scheme.block)
    codes = codes_of(x / torch.where(d == 0, 1.0, d), scheme)
    if scheme.bits == 4:
        if codes.numel() % 2:
            codes = torch.nn.functional.pad(codes, (0, 1))
        codes = codes[::2] | codes[1::2] << 4
    return codes, scales


@cache
def entries(scheme: Scheme, device: torch.device) -> Tensor:
    """The map [2^bits] (float32) on a device."""
    return torch.tensor(scheme.map, dtype=torch.float32).to(device)


@cache
def _bytes(scheme: Scheme, device: torch.device) -> Tensor:
    """What each byte of codes stands for: [256] values, or [256, 2], the lower half's first."""
    table = entries(scheme, device)
    if scheme.bits == 8:
        return table
    byte = torch.arange(256, device=device)
    return torch.stack([table[byte & 15], table[byte >> 4]], 1)


def dequantize(codes: Tensor, scales: Tensor, shape: torch.Size, scheme: Scheme) -> Tensor:
    """The state (float32) of that shape, as `reference.dequantize`."""
    scheme = scheme.of(shape)
    values = _bytes(scheme, codes.device).index_select(0, codes.to(torch.int32)).flatten()[: math.prod(shape)]
    return values.view(shape) * reference.divisors(scales, shape, scheme.block)
