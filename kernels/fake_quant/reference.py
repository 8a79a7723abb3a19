"""Fake quantization in plain torch: the meaning of the operator, forward and backward, written out.

Every quantizer here is one formula with five numbers (`Levels`), so one reference serves them all:

    u = x / a            q = (round(clip(u, low, high) * steps - shift) + shift) / steps            Q(x) = a * q

and, where `fine` > 0, double rounding, by integers of `fine` steps a level (half up, twice):

    c = clip(floor(u + .5), low * fine, (high + 1) * fine - 1)    q = clip(floor(c / fine + .5), low, high)
    Q(x) = (a * fine) * q

`round` is half to even. The numbers are of the whole tensor (a `Levels`) or rows of data (a tensor [C, 5], `table`).
Sources: LSQ (Esser et al., ICLR 2020, equations 1 to 3); SEQ and the table of quantizers by width (Liu et al.,
"ParetoQ", 2025, section 3 and the reference code); double rounding (Huang et al., "Nearly Lossless Adaptive Bit
Switching", 2025); STE (Bengio et al., 2013).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

SCALE_FLOOR = 1e-5
"""Scales are kept above this [LSQ, ParetoQ reference code]; a scale at or below 0 has no meaning."""

SEQ_CLIP = 0.99
"""SEQ clips just inside 1, so that rounding cannot reach a level that does not exist [ParetoQ reference code]."""


@dataclass(frozen=True, slots=True)
class Levels:
    """The grid of one quantizer, in units of its scale: clip to [low, high], `steps` a unit, moved by `shift`.

    `fine` > 0: double rounding, a unit being `fine` = 2^n scales (then `steps` is 1 and `shift` 0).
    """

    low: float
    high: float
    steps: float = 1.0
    shift: float = 0.0
    fine: float = 0.0

    @property
    def numbers(self) -> tuple[float, float, float, float, float]:
        """low, high, steps, shift, fine (`dataclasses.astuple` takes as long as a small operator)."""
        return self.low, self.high, self.steps, self.shift, self.fine

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


def double(bits: int, high: int) -> Levels:
    """`lsq(bits)` by double rounding from integers of `high` bits, whose scale is the scale; 2 <= bits <= high <= 24:
    float32 holds no more."""
    if not 2 <= bits <= high <= 24:
        raise ValueError(f"{bits} bits from {high} cannot be: the rule is 2 <= bits <= high <= 24; lower bits")
    grid = lsq(bits)
    return Levels(grid.low, grid.high, fine=float(2 ** (high - bits)))


def table(rows: Sequence[Levels], each: int = 1) -> Tensor:
    """`rows` as data [len(rows) * each, 5] (float32): low, high, steps, shift, fine; `each` times every one in turn,
    for networks that lie behind each other in a pack."""
    return torch.tensor([r.numbers for r in rows], dtype=torch.float32).reshape(-1, 5).repeat_interleave(each, 0)


SEQ2 = Levels(-SEQ_CLIP, SEQ_CLIP, 2.0, 0.5)
"""Stretched elastic, 2 bits: {−.75, −.25, .25, .75} times the scale."""

TERNARY = Levels(-SEQ_CLIP, SEQ_CLIP, 1.5, 0.0)
"""Stretched elastic, three levels (1.58 bits): {−2/3, 0, 2/3} times the scale."""

BINARY = Levels(-1.0, 1.0, 0.5, 0.5)
"""One bit: {−1, 1} times the scale, and 0 goes to +1 (a bare sign would leave a third level)."""


def quantize(x: Tensor, scale: Tensor, levels: Levels | Tensor, group: int = 0) -> Tensor:
    """`Q(x)`, of `x`'s shape. No gradient rule attached.

    `scale`: [] for the whole tensor, [C] along axis 0, or [C, G] for `group` elements each of what a channel flattens
    to (the last may be shorter). `levels`: one of all, or rows [C, 5] or [1, 5].
    """
    if group:
        return _join(quantize(*_split(x, scale, levels, group)), x, group)
    a, row = expand(scale, x), _numbers(levels, x)
    unit = a * _unit(row) if _doubled(row) else a
    return _grid(x / a, row) * unit


def index(x: Tensor, scale: Tensor, levels: Levels) -> Tensor:
    """Which level each element takes, counted from 0 (int64): what is stored."""
    u, row = x / expand(scale, x), levels.numbers
    if levels.fine:
        return (_grid(u, row) - levels.first).to(torch.int64)
    return (torch.round(u.clamp(levels.low, levels.high) * levels.steps - levels.shift) - levels.first).to(torch.int64)


def backward(
    grad: Tensor, x: Tensor, scale: Tensor, levels: Levels | Tensor, group: int = 0
) -> tuple[Tensor, Tensor]:
    """Straight-through gradients of `Q`: (d/dx, d/dscale).

    d/dx is `grad` inside [low, high] and 0 outside. d/da is `q − u` inside and `q` outside, times `grad_factor`,
    summed over the elements that share a scale. With `fine`, u is x / a / fine and d/da has a factor `fine`.
    """
    if group:
        rows, flat, numbers = _split(x, scale, levels, group)
        to_x, to_scale = backward(_rows(grad, group), rows, flat, numbers)
        return _join(to_x, x, group), to_scale.reshape(scale.shape)
    row = _numbers(levels, x)
    u = x / expand(scale, x)
    q = _grid(u, row)
    if _doubled(row):
        u = u / _unit(row)
    inside = (u >= row[0]) & (u <= row[1])
    each = torch.where(inside, q - u, q)
    if _doubled(row):
        each = each * _unit(row)
    each = each * grad
    total = each.sum() if scale.dim() == 0 else each.flatten(1).sum(1)
    if isinstance(levels, Levels) and levels.fine:  # a division, as it was before this was one formula: the same bits
        return grad * inside, total / math.sqrt(max(1, x.numel() // max(1, scale.numel())) * levels.top)
    return grad * inside, total * grad_factor(x, scale, levels)


def straight_through(grad: Tensor, x: Tensor, scale: Tensor, levels: Levels | Tensor, group: int = 0) -> Tensor:
    """The first half of `backward`, for a scale that is not learned (activations): d/dx alone."""
    if group:
        return _join(straight_through(_rows(grad, group), *_split(x, scale, levels, group)), x, group)
    row = _numbers(levels, x)
    u = x / expand(scale, x)
    if _doubled(row):
        u = u / _unit(row)
    return grad * ((u >= row[0]) & (u <= row[1]))


def grad_factor(x: Tensor, scale: Tensor, levels: Levels | Tensor) -> float | Tensor:
    """1 / sqrt(N · Qp), N = elements that share one scale (LSQ, section 2.2); [C] where there are rows of levels."""
    shared = max(1, x.numel() // max(1, scale.numel()))
    if isinstance(levels, Levels):
        return 1.0 / math.sqrt(shared * levels.top)
    factor = 1.0 / (shared * levels[:, 1].to(x.dtype).floor().clamp_min(1.0)).sqrt()
    return factor.reshape(scale.shape if scale.numel() == 1 else -1)


def lsq_scale(x: Tensor, levels: Levels) -> Tensor:
    """Scales [C] that LSQ begins with for `x` [C, n]: 2 E|x| / sqrt(Qp) (LSQ, section 2.1)."""
    return 2.0 * x.abs().mean(dim=1) / math.sqrt(levels.top)


def expand(scale: Tensor, x: Tensor) -> Tensor:
    """`scale` ([] or [C]) shaped to divide `x` ([C, ...]) along axis 0."""
    return scale if scale.dim() == 0 else scale.reshape(-1, *([1] * (x.dim() - 1)))


Numbers = tuple[float | Tensor, ...]


def _numbers(levels: Levels | Tensor, x: Tensor) -> Numbers:
    """low, high, steps, shift, fine, each to be broadcast with `x`."""
    if isinstance(levels, Levels):
        return levels.numbers
    return tuple(n.to(x.dtype).reshape(-1, *([1] * (x.dim() - 1))) for n in levels.unbind(1))


def _doubled(row: Numbers) -> bool:
    return isinstance(row[4], Tensor) or row[4] > 0


def _unit(row: Numbers) -> float | Tensor:
    """How many scales the unit of `q` is."""
    fine = row[4]
    return torch.where(fine > 0, fine, 1.0) if isinstance(fine, Tensor) else fine or 1.0


def _grid(u: Tensor, row: Numbers) -> Tensor:
    """`q` for `u = x / a`: the nearest level."""
    low, high, steps, shift, fine = row
    doubled = _twice(u, low, high, _unit(row)) if _doubled(row) else u
    if not isinstance(fine, Tensor) and fine > 0:
        return doubled
    once = (torch.round(_clamp(u, low, high) * steps - shift) + shift) / steps
    return torch.where(fine > 0, doubled, once) if isinstance(fine, Tensor) else once


def _twice(u: Tensor, low: float | Tensor, high: float | Tensor, fine: float | Tensor) -> Tensor:
    codes = _clamp(torch.floor(u + 0.5), low * fine, (high + 1.0) * fine - 1.0)
    return _clamp(torch.floor(codes / fine + 0.5), low, high)


def _clamp(u: Tensor, low: Any, high: Any) -> Tensor:
    """Two floats or two tensors: torch has no signature for either."""
    return torch.clamp(u, low, high)


def _rows(x: Tensor, group: int) -> Tensor:
    """[C, ...] as [C · G, group], the last group of each channel filled with 0."""
    flat = x.reshape(x.shape[0], math.prod(x.shape[1:]))
    return functional.pad(flat, (0, -flat.shape[1] % group)).reshape(-1, group)


def _split(
    x: Tensor, scale: Tensor, levels: Levels | Tensor, group: int
) -> tuple[Tensor, Tensor, Levels | Tensor]:
    """A channel for each group."""
    if isinstance(levels, Tensor) and levels.shape[0] > 1:
        levels = levels.repeat_interleave(scale.shape[1], 0)
    return _rows(x, group), scale.reshape(-1), levels


def _join(rows: Tensor, x: Tensor, group: int) -> Tensor:
    """What `_rows` made of `x`, in its shape."""
    columns = math.prod(x.shape[1:])
    return rows.reshape(x.shape[0], columns + -columns % group)[:, :columns].reshape(x.shape)
