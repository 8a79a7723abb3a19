"""Convolution and requantization in integers, written out: the meaning of the operators.

    sums[b, n, p] = Σ x · w (+ bias)        y = clip((sums · m + 2^(c − 1)) >> c, low, high)

with a dyadic number m / 2^c for S_x S_w / S_y, one an output channel: an integer product and a shift, no division, no
float. Source: Yao and others (2021, ICML), "HAWQ-V3: dyadic neural network quantization", section 3.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

MANTISSA = 31
"""Bits of a multiplier, so that it fits int32; a sum of int32 times it fits int64 beside the half that is added."""
FURTHEST = 62
WIDEST = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Geometry:
    """Where a kernel lies, (down, across) each; `groups`: of channels, each with outputs of its own."""

    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    def size(self, x: Tensor, codes: Tensor) -> tuple[int, int]:
        """Height and width of the answer for x [B, C, H, W] and codes [N, C / groups, R, S]."""
        at = zip(x.shape[2:], codes.shape[2:], self.stride, self.padding, self.dilation, strict=True)
        down, across = ((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in at)
        return down, across


def dyadic(ratios: Tensor) -> tuple[Tensor, Tensor]:
    """(multipliers int32, shifts int32) with multiplier / 2^shift nearest to each of `ratios` [N], floats: to 2^−31 of
    it, or, below 2^−31, to 2^−63. ValueError for one that is not positive, not finite, or too large (2^30)."""
    wide = ratios.double()
    _, exponent = torch.frexp(wide)
    shift = (MANTISSA - exponent).clamp(max=FURTHEST)
    scaled = torch.round(torch.ldexp(wide, shift))
    over = scaled >= 2.0**MANTISSA  # the mantissa was rounded up to 1
    shift = torch.where(over, shift - 1, shift)
    scaled = torch.where(over, scaled / 2, scaled)
    wrong = ~(wide > 0) | ~wide.isfinite() | (shift < 1)
    if bool(wrong.any()):
        raise ValueError(
            f"a ratio of scales is {float(wide[wrong][0])}, but has to be above 0 and below 2^30: take scales that are"
            " finite and positive, and an output scale that is not so small"
        )
    return scaled.to(torch.int32), shift.to(torch.int32)


def limits(bits: int, relu: bool) -> tuple[int, int]:
    """The least and the largest integer of `bits` in two's complement, from 0 behind a ReLU."""
    return 0 if relu else -(2 ** (bits - 1)), 2 ** (bits - 1) - 1


def requantize(sums: Tensor, multiplier: Tensor, shift: Tensor, low: int, high: int) -> Tensor:
    """int8 of sums [B, N, …], which saturate at int32's ends first; halves go up."""
    each = (-1,) + (1,) * (sums.dim() - 2)
    m, c = (t.to(torch.int64).view(each) for t in (multiplier, shift))
    kept = sums.to(torch.int64).clamp(-WIDEST - 1, WIDEST)
    half = torch.bitwise_left_shift(torch.ones_like(c), c - 1)
    return torch.bitwise_right_shift(kept * m + half, c).clamp(low, high).to(torch.int8)


def sums(x: Tensor, codes: Tensor, at: Geometry) -> Tensor:
    """Σ x · w [B, N, H', W'] (int64) for x [B, C, H, W] and codes [N, C / groups, R, S]; x is 0 outside."""
    (down, across), (rows, inner, height, width) = at.size(x, codes), codes.shape
    padded = torch.nn.functional.pad(x.to(torch.int64), (at.padding[1],) * 2 + (at.padding[0],) * 2)
    w = codes.to(torch.int64).view(at.groups, rows // at.groups, inner, height, width)
    found = torch.zeros(x.shape[0], at.groups, rows // at.groups, down, across, dtype=torch.int64, device=x.device)
    for r in range(height):
        for s in range(width):
            top, left = r * at.dilation[0], s * at.dilation[1]
            seen = padded[:, :, top : top + (down - 1) * at.stride[0] + 1 : at.stride[0],
                          left : left + (across - 1) * at.stride[1] + 1 : at.stride[1]]  # fmt: skip
            apart = seen.reshape(x.shape[0], at.groups, 1, inner, down, across)
            found += (apart * w[None, :, :, :, r, s, None, None]).sum(3)
    return found.view(x.shape[0], rows, down, across)
