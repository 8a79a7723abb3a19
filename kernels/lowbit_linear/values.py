"""Planes as numbers in plain torch: eight codes at a time by a table of bytes, for a few rows of the weight at once."""

from __future__ import annotations

import torch
from torch import Tensor

from kernels.lowbit_linear.reference import Format

ROWS = 256
"""Rows of the weight that are unpacked at a time, so that they stay in a cache."""


def values(planes: Tensor, columns: int, bipolar: bool, dtype: torch.dtype) -> Tensor:
    """The integers [N, columns] of `reference.unpack` as floats."""
    form = Format(planes.shape[0], bipolar)
    table, flat = TABLE.to(planes.device), planes.reshape(form.bits, -1).to(torch.int32)
    eight = table[0, 0 if form.bits > 1 or bipolar else 1].index_select(0, flat[0])
    for i in range(1, form.bits):
        eight |= table[i, 0 if i < form.bits - 1 or bipolar else 1].index_select(0, flat[i])
    codes = eight.view(torch.uint8).view(planes.shape[1], 8 * planes.shape[2])[:, :columns].to(dtype)
    # With its highest bit turned around, a code of two's complement is the integer less the lowest one.
    return codes.mul_(form.step).add_(form.low)


def _spread() -> Tensor:
    """[8, 2, 256] (int64): bit k of a byte as bit i of byte k of a little-endian word, for each plane i; as it is, and
    turned around."""
    bits = torch.arange(256)[:, None] >> torch.arange(8) & 1
    both = torch.stack([bits, 1 - bits]).to(torch.uint8)
    return torch.stack([(both << i).view(torch.int64).squeeze(-1) for i in range(8)])


TABLE = _spread()
