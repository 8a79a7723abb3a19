"""lowbit_linear, of floats and of integers, in C++ on a CPU: how `simd/linear.cpp` is called. README.md has the
reckoning and what was measured."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from ctypes import CDLL, c_int, c_int64, c_void_p
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from kernels._build import LEVELS, level, library

SOURCE = Path(__file__).parent / "simd" / "linear.cpp"
MATRIX = 48
"""Samples from which on weights are made floats once and multiplied by torch."""
TILE = 64
"""Rows of floats that are made at a time: 1,024 columns of them fit a core's cache."""
SHARE = 2**20
"""Weights times samples for which another thread is worth its start."""

Way = Literal["likely", "codes", "tables", "matrix"]


@functools.cache
def _built(at: str) -> CDLL:
    found = library(SOURCE, at)
    found.lowbit_linear.argtypes = [c_void_p] * 5 + [c_int64] * 10
    found.lowbit_linear.restype = c_int
    found.lowbit_integers.argtypes = [c_void_p] * 6 + [c_int64] * 14
    found.lowbit_integers.restype = c_int
    found.lowbit_weights.argtypes = [c_void_p] * 3 + [c_int64] * 8
    found.lowbit_weights.restype = None
    found.lowbit_product.argtypes = [c_void_p] * 3 + [c_int64] * 8
    found.lowbit_product.restype = c_int
    return found


def linear(
    x: Tensor, planes: Tensor, scales: Tensor, bias: Tensor | None, *, bipolar: bool, group: int, relu: bool,
    way: Way = "likely", at: str | None = None, threads: int | None = None,
) -> Tensor:  # fmt: skip
    """`reference.linear` in `x`'s dtype. `way`: by codes, by tables where they can be, by torch's product with a matrix
    of floats, or what is likely to be faster; `at`: the instruction set, a key of `LEVELS`. BuildError where there is
    no compiler."""
    at = at or level()
    built = _built(at)
    (*before, columns), (bits, rows, _) = x.shape, planes.shape
    samples = math.prod(before)
    inputs, planes, scales = _plain(x), planes.contiguous(), _plain(scales)
    bias = None if bias is None else _plain(bias)
    form = (bits, bipolar, group or max(columns, 1), scales.shape[1])
    out = torch.empty(*before, rows)
    if not samples or not rows:
        return out.to(x.dtype)
    if way == "matrix" or (way == "likely" and samples >= MATRIX):
        flat = inputs.view(samples, columns), out.view(samples, rows)
        _by_matrix(built, flat[0], planes, scales, bias, flat[1], form, relu, 8 * LEVELS[at][0])
    else:
        threads = threads or max(1, min(torch.get_num_threads(), samples * rows * columns // SHARE))
        failed = built.lowbit_linear(
            inputs.data_ptr(), planes.data_ptr(), scales.data_ptr(), 0 if bias is None else bias.data_ptr(),
            out.data_ptr(), samples, columns, rows, *form, relu, threads, {"codes": 1, "tables": 2}.get(way, 0),
        )  # fmt: skip
        if failed:
            raise MemoryError(f"lowbit_linear found no memory or thread for {samples} samples of {columns} columns")
    return out if x.dtype == torch.float32 else out.to(x.dtype)


def linear_of_integers(
    x: Tensor, x_scale: Tensor, planes: Tensor, scales: Tensor, bias: Tensor | None, *, bipolar: bool, group: int,
    relu: bool, levels: Sequence[int] = (), at: str | None = None, threads: int | None = None,
) -> Tensor:  # fmt: skip
    """`reference.linear_of_integers` in the dtype of `x_scale`, for any number of samples; with `levels` (low, high,
    zero) of x in floats, `reference.rounded` to them. BuildError where there is no compiler."""
    built = _built(at or level())
    (*before, columns), (bits, rows, _) = x.shape, planes.shape
    samples = math.prod(before)
    inputs, planes, scales, steps = x.contiguous(), planes.contiguous(), _plain(scales), _plain(x_scale)
    inputs = _plain(inputs) if levels else inputs
    bias = None if bias is None else _plain(bias)
    out = torch.empty(*before, rows)
    if samples and rows:
        threads = threads or max(1, min(torch.get_num_threads(), samples * rows * columns // (4 * SHARE)))
        failed = built.lowbit_integers(
            inputs.data_ptr(), steps.data_ptr(), planes.data_ptr(), scales.data_ptr(),
            0 if bias is None else bias.data_ptr(), out.data_ptr(), int(steps.dim() > 0), samples, columns, rows, bits,
            bipolar, group or max(columns, 1), scales.shape[1], relu, threads, len(levels), *(levels or (0, 0, 0)),
        )  # fmt: skip
        if failed:
            raise MemoryError(f"lowbit_linear found no memory or thread for {samples} samples of {columns} columns")
    return out.to(x_scale.dtype)


def _plain(t: Tensor) -> Tensor:
    return t if t.dtype == torch.float32 and t.is_contiguous() else t.to(torch.float32).contiguous()


def _by_matrix(
    built: CDLL, x: Tensor, planes: Tensor, scales: Tensor, bias: Tensor | None, out: Tensor,
    form: tuple[int, bool, int, int], relu: bool, block: int,
) -> None:  # fmt: skip
    (samples, columns), rows = x.shape, planes.shape[1]
    filled = torch.nn.functional.pad(x, (0, -columns % block))
    ordered = filled.view(samples, -1, block // 8, 8).transpose(2, 3).reshape(filled.shape)
    w = torch.empty(min(TILE, rows), filled.shape[1])
    for first in range(0, rows, TILE):
        last = min(first + TILE, rows)
        built.lowbit_weights(
            planes.data_ptr(), scales.data_ptr(), w.data_ptr(), columns, rows, *form, first, last
        )  # fmt: skip
        out[:, first:last] = ordered @ w[: last - first].T
    if scales.shape[1] == 1:
        out *= scales[:, 0]
    if bias is not None:
        out += bias
    if relu:
        out.clamp_min_(0)


def product(
    a: Tensor, b: Tensor, columns: int, *, a_bipolar: bool, b_bipolar: bool, at: str | None = None,
    threads: int | None = None,
) -> Tensor:  # fmt: skip
    """`reference.product` as int32 [A, B], of planes [bits, A, bytes] and [bits, B, bytes]."""
    a, b = a.contiguous(), b.contiguous()
    out = torch.empty(a.shape[1], b.shape[1], dtype=torch.int32)
    if threads is None:
        bits = a.shape[0] * b.shape[0]
        threads = max(1, min(torch.get_num_threads(), bits * out.numel() * columns // (16 * SHARE)))
    failed = out.numel() and _built(at or level()).lowbit_product(
        a.data_ptr(), b.data_ptr(), out.data_ptr(), *a.shape[:2], a_bipolar, *b.shape[:2], b_bipolar, columns, threads
    )
    if failed:
        raise MemoryError(f"plane_product found no thread for [{a.shape[1]}, {columns}] by [{b.shape[1]}, {columns}]")
    return out
