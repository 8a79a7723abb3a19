"""Double rounding: one set of high-precision integer weights, from which every lower width comes by a shift.

    W_h = clip(round(W / s), −2^(h−1), 2^(h−1) − 1)            stored once, with the scale s of h bits
    W_l = clip(round(W_h / 2^(h−l)), −2^(l−1), 2^(l−1) − 1)    when it is asked for;   Q_l(W) = W_l · s · 2^(h−l)

Both roundings are half up, so that the second is an integer add and an arithmetic shift, bit for bit on any device.
Source: Huang et al., "Nearly Lossless Adaptive Bit Switching", 2025 (Double Rounding, ALRS).
"""

from __future__ import annotations

import torch
from torch import Tensor

from kernels.fake_quant import SCALE_FLOOR, double, fake_quant, lsq
from kernels.fake_quant.reference import expand
from spaces.errors import SpaceError

HIGH = 8
"""Bits of the stored integers, where nothing else is said."""


def stored(w: Tensor, scale: Tensor, high: int = HIGH) -> Tensor:
    """`W_h` of `w` [C, ...] (int32, half up). `scale`: [] for the whole tensor or [C] along axis 0, positive."""
    bounds = lsq(_checked(high, high))
    u = torch.floor(w / expand(scale, w) + 0.5)
    return u.clamp(bounds.low, bounds.high).to(torch.int32)


def shifted(codes: Tensor, bits: int, high: int = HIGH) -> Tensor:
    """`W_l` at `bits` of stored integers `codes` (any integer dtype, any shape): (codes + half) >> (high − bits),
    clipped."""
    shift, bounds = high - _checked(bits, high), lsq(bits)
    wide = codes.to(torch.int32)
    if shift:
        wide = (wide + (1 << (shift - 1))) >> shift
    return wide.clamp(int(bounds.low), int(bounds.high)).to(codes.dtype)


def restored(codes: Tensor, scale: Tensor, bits: int, high: int = HIGH) -> Tensor:
    """The float weights [C, ...] that integers of `bits` stand for: `codes · scale · 2^(high − bits)`."""
    step = expand(scale, codes) * float(2 ** (high - _checked(bits, high)))
    return codes.to(step.dtype) * step


def double_round(w: Tensor, scale: Tensor, bits: int, high: int = HIGH) -> Tensor:
    """`w` [C, ...] as it is at `bits` from integers of `high` bits, for training.

    Gradients: straight through to `w` inside the clip range of `bits`, LSQ's to `scale` ([] or [C], one for all
    widths), in steps of `bits`. SpaceError unless 2 <= bits <= high.
    """
    return fake_quant(w, scale, double(_checked(bits, high), high))


def scale_rate(bits: int, high: int = HIGH) -> float:
    """What a scale's learning rate is multiplied by at `bits` (ALRS): 10^(−D/2) for an even D = high − bits, else
    5 · 10^(−(D + 1)/2). The scales of few bits see large errors, and all widths share them."""
    d = high - _checked(bits, high)
    return 10.0 ** (-d // 2) if d % 2 == 0 else 5.0 * 10.0 ** (-(d + 1) // 2)


def first_scale(w: Tensor, high: int = HIGH) -> Tensor:
    """Scales [C] to begin with: max |w| over the largest code of `high` bits."""
    return (w.flatten(1).abs().amax(dim=1) / lsq(high).high).clamp_min(SCALE_FLOOR)


def _checked(bits: int, high: int) -> int:
    if not 2 <= bits <= high <= 24:
        raise SpaceError(f"{bits} bits from {high} cannot be: the rule is 2 <= bits <= high <= 24; lower bits")
    return bits
