"""Fake quantization in Triton: forward, and backward with both gradients in one pass over memory.

Every case is S scales of `group` elements each, the tensor read as rows of `columns`: scale s is row s // groups, from
column (s % groups) * group on. One scale for the whole tensor is one row; one a channel is a group a row. Levels are
arguments (`low` … `fine`) or a table in memory, a row a channel: no width is compiled in.

The gradient of a scale is a sum in a fixed order, without atomics: each program adds up its tile, and where a scale has
several tiles a second kernel adds those. Divisions and roundings are IEEE's, so elementwise results are torch's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels._kernel import Kernel, on
from kernels._tiles import Tile, Tiles, at_least_a_thread_each, within_registers, within_shared, within_threads
from kernels._tune import Task, best, limits_of
from kernels.fake_quant import reference
from kernels.fake_quant.reference import Levels

OP = "fake_quant"
WIDEST = 2048
"""Elements of a tile at most: 16 a thread of four warps, read once and written once."""
PARTS = 1024
"""Tiles of one scale that the second kernel adds at a time."""


@triton.jit
def _even(v):
    """Round half to even: no device function, so that it also runs interpreted."""
    f = tl.floor(v)
    over = v - f
    odd = f - 2.0 * tl.floor(f * 0.5)
    return tl.where((over > 0.5) | ((over == 0.5) & (odd == 1.0)), f + 1.0, f)


@triton.jit
def _clip(v, low, high):
    """NaN stays NaN."""
    return tl.where(v < low, low, tl.where(v > high, high, v))


@triton.jit
def _grid(u, low, high, steps, shift, fine, unit, DOUBLE: tl.constexpr):
    """`q` of the reference, in units of `unit` scales."""
    q = tl.div_rn(_even(_clip(u, low, high) * steps - shift) + shift, steps)
    if DOUBLE:
        codes = _clip(tl.floor(u + 0.5), low * unit, (high + 1.0) * unit - 1.0)
        q = tl.where(fine > 0, _clip(tl.floor(codes * (1.0 / unit) + 0.5), low, high), q)
    return q


@triton.jit
def _tile(scales, groups, group, columns, tiles, BS: tl.constexpr, BK: tl.constexpr):
    """This program's scales [BS, 1], rows, offsets [BS, BK] and which of them there are."""
    pid = tl.program_id(0)
    s = (pid // tiles).to(tl.int64) * BS + tl.arange(0, BS)[:, None]
    j = (pid % tiles).to(tl.int64) * BK + tl.arange(0, BK)[None, :]
    row = s // groups
    column = (s % groups) * group + j
    there = (s < scales) & (j < group) & (column < columns)
    return s, row, row * columns + column, there


@triton.jit
def _numbers(table, row, there, step, low, high, steps, shift, fine, ROWS: tl.constexpr):
    """low, high, steps, shift, fine: the arguments, or those of each row [BS, 1]."""
    if ROWS:
        at = table + row * step
        low = tl.load(at, mask=there, other=-1.0)
        high = tl.load(at + 1, mask=there, other=1.0)
        steps = tl.load(at + 2, mask=there, other=1.0)
        shift = tl.load(at + 3, mask=there, other=0.0)
        fine = tl.load(at + 4, mask=there, other=0.0)
    return low, high, steps, shift, fine


@triton.jit
def forward_kernel(
    x, scale, table, out, low, high, steps, shift, fine, step, scales, groups, group, columns, tiles,
    ROWS: tl.constexpr, DOUBLE: tl.constexpr, BS: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """out = Q(x)."""
    s, row, at, there = _tile(scales, groups, group, columns, tiles, BS, BK)
    low, high, steps, shift, fine = _numbers(table, row, s < scales, step, low, high, steps, shift, fine, ROWS)
    a = tl.load(scale + s, mask=s < scales, other=1.0).to(tl.float32)
    u = tl.div_rn(tl.load(x + at, mask=there, other=0.0).to(tl.float32), a)
    unit = tl.where(fine > 0, fine, 1.0)
    q = _grid(u, low, high, steps, shift, fine, unit, DOUBLE)
    tl.store(out + at, (q * (a * unit)).to(out.dtype.element_ty), mask=there)


@triton.jit
def backward_kernel(
    grad, x, scale, table, to_x, to_scale, low, high, steps, shift, fine, shared, step, scales, groups, group, columns,
    tiles, ROWS: tl.constexpr, DOUBLE: tl.constexpr, LEARNED: tl.constexpr, ONE: tl.constexpr, BS: tl.constexpr,
    BK: tl.constexpr,
):  # fmt: skip
    """to_x = d/dx, and the tile's part of d/dscale: `to_scale` [scales, tiles], or the whole of it when ONE tile has
    all of a scale."""
    s, row, at, there = _tile(scales, groups, group, columns, tiles, BS, BK)
    low, high, steps, shift, fine = _numbers(table, row, s < scales, step, low, high, steps, shift, fine, ROWS)
    a = tl.load(scale + s, mask=s < scales, other=1.0).to(tl.float32)
    g = tl.load(grad + at, mask=there, other=0.0).to(tl.float32)
    u = tl.div_rn(tl.load(x + at, mask=there, other=0.0).to(tl.float32), a)
    unit = tl.where(fine > 0, fine, 1.0)
    v = u * (1.0 / unit)
    inside = (v >= low) & (v <= high)
    tl.store(to_x + at, (g * tl.where(inside, 1.0, 0.0)).to(to_x.dtype.element_ty), mask=there)
    if LEARNED:
        q = _grid(u, low, high, steps, shift, fine, unit, DOUBLE)
        each = tl.where(inside, q - v, q) * unit * g
        total = tl.sum(tl.where(there, each, 0.0), axis=1, keep_dims=True)
        if ONE:
            total = total * _factor(shared, high)
        part = to_scale + s * tiles + tl.program_id(0) % tiles
        tl.store(part, total.to(to_scale.dtype.element_ty), mask=s < scales)


@triton.jit
def _factor(shared, high):
    """LSQ's 1 / sqrt(N · Qp)."""
    top = tl.floor(high)
    return tl.div_rn(1.0, tl.sqrt_rn(shared * tl.where(top > 1.0, top, 1.0)))


@triton.jit
def total_kernel(
    parts, table, to_scale, low, high, steps, shift, fine, shared, step, groups, tiles, ROWS: tl.constexpr,
    BT: tl.constexpr,
):  # fmt: skip
    """d/dscale of one scale a program: its tiles' parts, added in their order, times the factor."""
    s = tl.program_id(0).to(tl.int64)
    sums = tl.zeros([BT], tl.float32)
    for first in range(0, tiles, BT):
        i = first + tl.arange(0, BT)
        sums += tl.load(parts + s * tiles + i, mask=i < tiles, other=0.0)
    _, high, _, _, _ = _numbers(table, s // groups, s >= 0, step, low, high, steps, shift, fine, ROWS)
    tl.store(to_scale + s, (tl.sum(sums, axis=0) * _factor(shared, high)).to(to_scale.dtype.element_ty))


@dataclass(frozen=True, slots=True)
class _Shape:
    """How a tensor is read, and cut into tiles of BS scales by BK of their elements, with so many warps."""

    scales: int
    groups: int
    group: int
    columns: int
    BS: int
    BK: int
    warps: int

    @property
    def tiles(self) -> int:
        return -(-self.group // self.BK)

    @property
    def programs(self) -> int:
        return -(-self.scales // self.BS) * self.tiles


def _shape(x: Tensor, scale: Tensor, group: int, tile: Tile | None) -> _Shape:
    columns = x.numel() if scale.dim() == 0 else math.prod(x.shape[1:])
    group, groups = (group, scale.shape[1]) if group else (columns, 1)
    sizes = (scale.numel(), group)
    tile = tile or best(OP, sizes, x.device) or tile_of(*sizes)
    return _Shape(scale.numel(), groups, group, columns, tile["BS"], tile["BK"], tile["warps"])


def tile_of(scales: int, group: int) -> Tile:
    """The tile that is taken where none was tuned."""
    wide = min(WIDEST, triton.next_power_of_2(group))
    return {"BS": max(1, min(WIDEST // wide, triton.next_power_of_2(scales))), "BK": wide, "warps": 4}


def tuning(shape: tuple[int, ...], device: torch.device) -> Task:
    """What `kernels._tune` needs: (scales, elements of one), forward and backward together, at 4 bits."""
    scales, group = shape
    limits, levels = limits_of(device), reference.lsq(4)
    x, grad = (torch.randn(scales, group, device=device) for _ in range(2))
    scale = torch.rand(scales, device=device) * 0.2 + 0.1
    out, (to_x, to_scale) = reference.quantize(x, scale, levels), reference.backward(grad, x, scale, levels)
    largest = (grad.abs().sum(1) * 16).clamp_min(1e-30) * float(reference.grad_factor(x, scale, levels))

    def run(tile: Tile) -> tuple[Tensor, Tensor, Tensor]:
        return forward(x, scale, levels, 0, tile), *backward(grad, x, scale, levels, 0, tile)

    def wrong(found: tuple[Tensor, Tensor, Tensor]) -> str | None:
        if not (torch.equal(found[0], out) and torch.equal(found[1], to_x)):
            return "the output or d/dx is not the reference's"
        # Terms of up to 16 |grad| in float32, added in two orders: some 40 roundings of their sum.
        off = ((found[2] - to_scale).abs() / largest).max()
        return None if off <= 40 * torch.finfo(torch.float32).eps else f"d/dscale is off by {float(off):.1e} of terms"

    tiles = Tiles(
        {"BS": (1, 2, 4, 8, 16, 32), "BK": (32, 64, 128, 256, 512, 1024, 2048, 4096), "warps": (1, 2, 4, 8)},
        (
            within_threads(limits, "warps"),
            at_least_a_thread_each("BS", "BK", "warps"),
            within_registers(limits, "BS", "BK", "warps", live=6),
            within_shared(limits, ("BS", "warps"), lambda rows, warps: 4 * rows * warps),
        ),
    )
    return Task(OP, shape, device, tiles, tile_of(scales, group), run, wrong)


def _in_memory(x: Tensor, scale: Tensor, group: int) -> bool:
    """Whether the rows of `x` lie behind each other as they are, whatever the order within: nothing is to be moved."""
    if x.is_contiguous():
        return True
    dense = sorted((st, n) for st, n in zip(x.stride(), x.shape, strict=True) if n > 1)
    wanted = 1
    for stride, n in dense:
        if stride != wanted:
            return False
        wanted *= n
    outer = scale.numel() == 1 or x.shape[0] == 1 or x.stride(0) == x.numel() // x.shape[0]
    return outer and not group


def _arguments(levels: Levels | Tensor, scale: Tensor) -> tuple[Tensor, tuple[float, ...], int, bool, bool]:
    """Where the table is (anything, if there is none), the five numbers, the table's step, ROWS, DOUBLE."""
    if isinstance(levels, Levels):
        return scale, levels.numbers, 0, False, levels.fine > 0
    return levels.contiguous(), (0.0,) * 5, 5 if levels.shape[0] > 1 else 0, True, True


def forward(
    x: Tensor, scale: Tensor, levels: Levels | Tensor, group: int = 0, tile: Tile | None = None
) -> Tensor:
    """`reference.quantize` in `x`'s dtype and memory format. `tile`: BS, BK (powers of two) and warps, to override."""
    out = torch.empty_like(x)
    if not x.numel():
        return out
    plain = _in_memory(x, scale, group) and out.stride() == x.stride()
    source, made = (x, out) if plain else (x.contiguous(), torch.empty(x.shape, dtype=x.dtype, device=x.device))
    shape = _shape(x, scale, group, tile)
    table, numbers, step, rows, twice = _arguments(levels, scale)
    with on(x):
        forward_kernel[(shape.programs,)](
            source, scale.contiguous(), table, made, *numbers, step, shape.scales, shape.groups, shape.group,
            shape.columns, shape.tiles, ROWS=rows, DOUBLE=twice, BS=shape.BS, BK=shape.BK, num_warps=shape.warps,
        )  # fmt: skip
    return out if plain else out.copy_(made)


def backward(
    grad: Tensor, x: Tensor, scale: Tensor, levels: Levels | Tensor, group: int = 0,
    tile: Tile | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """`reference.backward`: d/dx like `grad`, d/dscale like `scale`."""
    to_scale = torch.empty_like(scale, memory_format=torch.contiguous_format)
    if not x.numel():
        return torch.empty_like(grad), to_scale.zero_()
    return _both(grad, x, scale, levels, group, tile, to_scale), to_scale


def straight_through(
    grad: Tensor, x: Tensor, scale: Tensor, levels: Levels | Tensor, group: int = 0,
    tile: Tile | None = None,
) -> Tensor:  # fmt: skip
    """`reference.straight_through`: d/dx alone."""
    return _both(grad, x, scale, levels, group, tile, None) if x.numel() else torch.empty_like(grad)


def _both(
    grad: Tensor, x: Tensor, scale: Tensor, levels: Levels | Tensor, group: int, tile: Tile | None,
    to_scale: Tensor | None,
) -> Tensor:  # fmt: skip
    out = torch.empty_like(grad)
    plain = _in_memory(x, scale, group) and x.stride() == grad.stride() == out.stride()
    made = out if plain else torch.empty(x.shape, dtype=grad.dtype, device=x.device)
    source, given = (x, grad) if plain else (x.contiguous(), grad.contiguous())
    shape = _shape(x, scale, group, tile)
    table, numbers, step, rows, twice = _arguments(levels, scale)
    one = shape.tiles == 1
    parts = to_scale
    if parts is None or not one:
        parts = torch.empty(shape.scales if one else shape.scales * shape.tiles, dtype=torch.float32, device=x.device)
    with on(x):
        shared = float(group if group else max(1, x.numel() // scale.numel()))
        backward_kernel[(shape.programs,)](
            given, source, scale.contiguous(), table, made, parts, *numbers, shared, step, shape.scales, shape.groups,
            shape.group, shape.columns, shape.tiles, ROWS=rows, DOUBLE=twice, LEARNED=to_scale is not None, ONE=one,
            BS=shape.BS, BK=shape.BK, num_warps=shape.warps,
        )  # fmt: skip
        if to_scale is not None and not one:
            total_kernel[(shape.scales,)](
                parts, table, to_scale, *numbers, shared, step, shape.groups, shape.tiles, ROWS=rows, BT=PARTS,
                num_warps=4,
            )  # fmt: skip
    return out if plain else out.copy_(made)


_NUMBERS = dict.fromkeys(("low", "high", "steps", "shift", "fine"), "fp32")
_SIZES = dict.fromkeys(("step", "scales", "groups", "group", "columns", "tiles"), "i32")


def _listed(dtype: str, rows: bool, twice: bool) -> tuple[Kernel, ...]:
    name = f"{dtype[1:]}{'_rows' if rows else ''}{'_double' if twice else ''}"
    table = {"table": "*fp32" if rows else dtype}
    tile = {"ROWS": rows, "DOUBLE": twice, "BS": 2, "BK": 1024}
    inputs = dict.fromkeys(("x", "scale", "out"), dtype) | table | _NUMBERS | _SIZES
    grads = {"grad": dtype, "x": dtype, "scale": dtype, "to_x": dtype, "shared": "fp32"} | table | _NUMBERS | _SIZES
    sums = {"parts": "*fp32", "to_scale": dtype, "shared": "fp32"} | table | _NUMBERS | _SIZES
    both = [
        Kernel(f"backward_{name}_{word}", backward_kernel, grads | {"to_scale": dtype if one else "*fp32"},
               tile | {"LEARNED": learned, "ONE": one}, {"num_warps": 4})
        for word, learned, one in (("one", True, True), ("parts", True, False), ("inside", False, True))
    ]  # fmt: skip
    return (
        Kernel(f"forward_{name}", forward_kernel, inputs, tile, {"num_warps": 4}),
        *both,
        Kernel(f"total_{name}", total_kernel, sums, {"ROWS": rows, "BT": PARTS}, {"num_warps": 4}),
    )


KERNELS = (
    *_listed("*fp32", rows=False, twice=False),
    *_listed("*fp32", rows=False, twice=True),
    *_listed("*fp32", rows=True, twice=True),
    *_listed("*bf16", rows=False, twice=False),
    *_listed("*fp16", rows=True, twice=True),
)
