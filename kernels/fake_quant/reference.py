"""Fake quantization in plain torch: the meaning of the operator, forward and backward, written out.

Every quantizer here is one formula with four numbers (`Levels`), so one reference serves them all:

    u = x / a            q = (round(clip(u, low, high) * steps - shift) + shift) / steps            Q(x) = a * q

`round` is half to even. Sources: LSQ (Esser et al., ICLR 2020, equations 1 to 3); SEQ and the table of
quantizers by width (Liu et al., "ParetoQ", 2025, section 3 and the reference code); STE (Bengio et al., 2013).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

SCALE_FLOOR = 1e-5
"""Scales are kept above this [LSQ, ParetoQ reference code]; a scale at or below 0 has no meaning."""

SEQ_CLIP = 0.99
"""SEQ clips just inside 1, so that rounding cannot reach a level that does not exist [ParetoQ reference code]."""


@dataclass(frozen=True, slots=True)
class Levels:
    """The grid of one quantizer, in units of its scale: clip to [low, high], `steps` a unit, moved by `shift`."""

    low: float
    high: float
    steps: float = 1.0
    shift: float = 0.0

    @property
    def first(self) -> int:
        """The smallest integer index: what `low` rounds to."""
        return round(self.low * self.steps - self.shift)

    @property
    def count(self) -> int:
        """How many values the quantizer can take."""
        return round(self.high * self.steps - self.shift) - self.first + 1

    @property
    def top(self) -> float:
        """The positive end that the scale's gradient factor uses (Qp of LSQ); 1 for the elastic quantizers."""
        return max(1.0, float(math.floor(self.high)))


def lsq(bits: int) -> Levels:
    """LSQ at `bits` (2 or more): {−2^(b−1), …, 2^(b−1) − 1} times the scale."""
    return Levels(-float(2 ** (bits - 1)), float(2 ** (bits - 1) - 1))


def symmetric(bits: int) -> Levels:
    """As `lsq` without the lowest level, so that a negated code is a code: what a folded negative scale needs."""
    return Levels(-float(2 ** (bits - 1) - 1), float(2 ** (bits - 1) - 1))


def unsigned(bits: int) -> Levels:
    """{0, …, 2^b − 1}: activations after a ReLU."""
    return Levels(0.0, float(2**bits - 1))


SEQ2 = Levels(-SEQ_CLIP, SEQ_CLIP, 2.0, 0.5)
"""Stretched elastic, 2 bits: {−.75, −.25, .25, .75} times the scale."""

TERNARY = Levels(-SEQ_CLIP, SEQ_CLIP, 1.5, 0.0)
"""Stretched elastic, three levels (1.58 bits): {−2/3, 0, 2/3} times the scale."""

BINARY = Levels(-1.0, 1.0, 0.5, 0.5)
"""One bit: {−1, 1} times the scale, and 0 goes to +1 (a bare sign would leave a third level)."""


def quantize(x: Tensor, scale: Tensor, levels: Levels) -> Tensor:
    """`Q(x)`, of `x`'s shape. `scale`: [] for the whole tensor or [C] along axis 0. No gradient rule attached."""
    a = expand(scale, x)
    return grid(x / a, levels) * a


def grid(u: Tensor, levels: Levels) -> Tensor:
    """`q` for `u = x / a`: the nearest level, in units of the scale."""
    clipped = u.clamp(levels.low, levels.high)
    return (torch.round(clipped * levels.steps - levels.shift) + levels.shift) / levels.steps


def index(x: Tensor, scale: Tensor, levels: Levels) -> Tensor:
    """Which level each element takes, counted from 0 (int64): what is stored."""
    u = (x / expand(scale, x)).clamp(levels.low, levels.high)
    return (torch.round(u * levels.steps - levels.shift) - levels.first).to(torch.int64)


def backward(grad: Tensor, x: Tensor, scale: Tensor, levels: Levels) -> tuple[Tensor, Tensor]:
    """Straight-through gradients of `Q`: (d/dx, d/dscale).

    d/dx is `grad` inside [low, high] and 0 outside. d/da is `q − u` inside and `q` outside, times `grad_factor`,
    summed over the elements that share a scale.
    """
    u = x / expand(scale, x)
    inside = (u >= levels.low) & (u <= levels.high)
    q = grid(u, levels)
    to_x = grad * inside
    each = torch.where(inside, q - u, q) * grad
    total = each.sum() if scale.dim() == 0 else each.flatten(1).sum(1)
    return to_x, total * grad_factor(x, scale, levels)


def straight_through(grad: Tensor, x: Tensor, scale: Tensor, levels: Levels) -> Tensor:
    """The first half of `backward`, for a scale that is not learned (activations): d/dx alone."""
    u = x / expand(scale, x)
    return grad * ((u >= levels.low) & (u <= levels.high))


def grad_factor(x: Tensor, scale: Tensor, levels: Levels) -> float:
    """1 / sqrt(N · Qp), N = elements that share one scale (LSQ, section 2.2)."""
    shared = x.numel() // max(1, scale.numel())
    return 1.0 / math.sqrt(max(1, shared) * levels.top)


def lsq_scale(x: Tensor, levels: Levels) -> Tensor:
    """Scales [C] that LSQ begins with for `x` [C, n]: 2 E|x| / sqrt(Qp) (LSQ, section 2.1)."""
    return 2.0 * x.abs().mean(dim=1) / math.sqrt(levels.top)


def expand(scale: Tensor, x: Tensor) -> Tensor:
    """`scale` ([] or [C]) shaped to divide `x` ([C, ...]) along axis 0."""
    return scale if scale.dim() == 0 else scale.reshape(-1, *([1] * (x.dim() - 1)))
