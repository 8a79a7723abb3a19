"""Many tensors in one launch: a table of their addresses and sizes, and a list of the chunks that programs work on.

A program reads its chunk [tensor, place in the tensor], then that tensor's row of the table. Both are on the device;
the same tensors give the same table, so that a training builds it once (gradients come back at the same addresses).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Table:
    """`rows` [T, columns] (int64): addresses and sizes of each tensor. `chunks` [C, 2] (int32): tensor, place in it.
    `aligned`: all addresses are multiples of 16 bytes, as a whole load of 128 bits needs."""

    rows: Tensor
    chunks: Tensor
    aligned: bool


def table(
    addresses: Sequence[Sequence[Tensor]], sizes: Sequence[Sequence[int]], chunks: Sequence[int], device: torch.device
) -> Table:
    """The table of T tensors: first the addresses of `addresses` (a sequence of T tensors for each column), then
    `sizes` (T numbers for each column). `chunks`: how many programs each of the T needs."""
    columns = [[t.data_ptr() for t in column] for column in addresses]
    aligned = not any(address % 16 for column in columns for address in column)
    rows = tuple(zip(*columns, *sizes, strict=True))
    return _table(rows, tuple(chunks), device, aligned)


@lru_cache(maxsize=64)
def _table(rows: tuple[tuple[int, ...], ...], counts: tuple[int, ...], device: torch.device, aligned: bool) -> Table:
    each = torch.tensor(counts, dtype=torch.int64)
    which = torch.arange(len(counts)).repeat_interleave(each)
    place = torch.arange(len(which)) - (each.cumsum(0) - each)[which]
    chunks = torch.stack([which, place], 1).to(torch.int32)
    return Table(torch.tensor(rows, dtype=torch.int64).to(device), chunks.to(device), aligned)


def flat(tensors: Sequence[Tensor]) -> list[Tensor]:
    """The tensors as kernels can address them: each contiguous, itself or a copy."""
    return [t.contiguous() for t in tensors]


def give_back(tensors: Sequence[Tensor], worked: Sequence[Tensor]) -> None:
    """What was computed in copies that `flat` made goes where it belongs."""
    for t, w in zip(tensors, worked, strict=True):
        if t.data_ptr() != w.data_ptr() or t.stride() != w.stride():
            t.copy_(w)
