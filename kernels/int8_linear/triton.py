"""int8_linear in Triton: outlier features listed, rows quantized, and a product of integers with the rest at its end.

Nothing waits for the device: how many outliers there are stays there, and the product loops over their list. They are
few (a per cent of the features at most), so they are added one at a time, in float32.
"""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels._kernel import Kernel, on
from kernels._tiles import Rule, Tile, Tiles, within_registers, within_shared, within_threads
from kernels._tune import Task, best, limits_of

OP = "int8_linear"


@triton.jit
def features_kernel(x, large, samples, columns, threshold, BS: tl.constexpr, BC: tl.constexpr):
    """large [columns] int8: 1 where some |x| reaches the threshold. NaN does not."""
    c = tl.program_id(0) * BC + tl.arange(0, BC)
    found = tl.zeros([BC], tl.int32)
    for first in range(0, samples, BS):
        s = first + tl.arange(0, BS)
        there = (s < samples)[:, None] & (c < columns)[None, :]
        v = tl.load(x + s.to(tl.int64)[:, None] * columns + c[None, :], mask=there, other=0.0).to(tl.float32)
        found = tl.maximum(found, tl.max((there & (tl.abs(v) >= threshold)).to(tl.int32), axis=0))
    tl.store(large + c, found.to(tl.int8), mask=c < columns)


@triton.jit
def list_kernel(large, places, count, columns, BC: tl.constexpr):
    """places: the columns that are marked, ascending; count: how many."""
    total = tl.zeros([], tl.int32)
    for first in range(0, columns, BC):
        c = first + tl.arange(0, BC)
        mark = tl.load(large + c, mask=c < columns, other=0).to(tl.int32)
        place = total + tl.cumsum(mark, axis=0) - mark
        tl.store(places + place, c, mask=mark > 0)
        total += tl.sum(mark, axis=0)
    tl.store(count, total)


@triton.jit
def rows_kernel(x, large, codes, scales, columns, OUTLIERS: tl.constexpr, BC: tl.constexpr):
    """Codes and scale of one row, outliers counted as 0; scale: max / 127, 1 / 127 of zeros, NaN with a NaN."""
    row = tl.program_id(0).to(tl.int64)
    top = tl.zeros([BC], tl.float32)
    bad = tl.zeros([BC], tl.int32)
    for first in range(0, columns, BC):
        v = _kept(x, large, row, first + tl.arange(0, BC), columns, OUTLIERS)
        bad = tl.maximum(bad, (v != v).to(tl.int32))  # noqa: PLR0124  # NaN, that is
        top = tl.maximum(top, tl.where(v == v, tl.abs(v), 0.0))  # noqa: PLR0124
    most = tl.max(top, axis=0)
    safe = tl.where(most == 0.0, 1.0, most)
    for first in range(0, columns, BC):
        c = first + tl.arange(0, BC)
        u = tl.div_rn(_kept(x, large, row, c, columns, OUTLIERS) * 127.0, safe)
        u = tl.where(u == u, u, 0.0)  # noqa: PLR0124
        u = tl.minimum(tl.maximum(u, -127.0), 127.0)
        u = (u + 12582912.0) - 12582912.0  # half to even: 1.5 · 2^23 has no place for a fraction
        tl.store(codes + row * columns + c, u.to(tl.int8), mask=c < columns)
    scale = tl.where(tl.max(bad, axis=0) > 0, float("nan"), tl.div_rn(safe, 127.0))
    tl.store(scales + row, scale)


@triton.jit
def _kept(x, large, row, c, columns, OUTLIERS: tl.constexpr):
    v = tl.load(x + row * columns + c, mask=c < columns, other=0.0).to(tl.float32)
    if OUTLIERS:
        v = tl.where(tl.load(large + c, mask=c < columns, other=0) > 0, 0.0, v)
    return v


@triton.jit
def product_kernel(
    mine, mine_scales, codes, scales, x, kept, bias, places, count, out, samples, rows, columns,
    OUTLIERS: tl.constexpr, KEPT: tl.constexpr, BIAS: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr,
    BK: tl.constexpr,
):  # fmt: skip
    """A tile [BM, BN] of out: int32 sums of codes, times both scales, plus outliers (of the float weight where it is
    KEPT, else of the codes) and bias."""
    m = tl.program_id(1) * BM + tl.arange(0, BM)
    n = tl.program_id(0) * BN + tl.arange(0, BN)
    given, there = m < samples, n < rows
    left, right = m.to(tl.int64)[:, None] * columns, n.to(tl.int64)[None, :] * columns
    acc = tl.zeros([BM, BN], tl.int32)
    for first in range(0, columns, BK):
        k = first + tl.arange(0, BK)
        inside = k < columns
        a = tl.load(mine + left + k[None, :], mask=given[:, None] & inside[None, :], other=0)
        b = tl.load(codes + right + k[:, None], mask=inside[:, None] & there[None, :], other=0)
        acc = tl.dot(a, b, acc, out_dtype=tl.int32)
    scale = tl.load(scales + n, mask=there, other=0.0).to(tl.float32)
    y = acc.to(tl.float32) * tl.load(mine_scales + m, mask=given, other=0.0)[:, None] * scale[None, :]
    if OUTLIERS:
        outlying = tl.zeros([BM, BN], tl.float32)
        for i in range(tl.load(count)):
            k = tl.load(places + i)
            v = tl.load(x + m.to(tl.int64) * columns + k, mask=given, other=0.0).to(tl.float32)
            if KEPT:
                w = tl.load(kept + n.to(tl.int64) * columns + k, mask=there, other=0.0).to(tl.float32)
            else:
                w = tl.load(codes + n.to(tl.int64) * columns + k, mask=there, other=0).to(tl.float32) * scale
            outlying += v[:, None] * w[None, :]
        y += outlying
    if BIAS:
        y += tl.load(bias + n, mask=there, other=0.0).to(tl.float32)[None, :]
    to = out + m.to(tl.int64)[:, None] * rows + n[None, :]
    tl.store(to, y.to(out.dtype.element_ty), mask=given[:, None] & there[None, :])


def tile_of(samples: int, rows: int, columns: int) -> Tile:  # noqa: ARG001
    """The tile that is taken where none was tuned: narrow for few samples, which the bytes of the codes bound."""
    if samples <= 16:
        return {"BM": 16, "BN": 32, "BK": 256, "warps": 4, "stages": 4}
    if samples <= 64:
        return {"BM": 64, "BN": 64, "BK": 128, "warps": 4, "stages": 3}
    return {"BM": 128, "BN": 128, "BK": 64, "warps": 8, "stages": 3}


def tuning(shape: tuple[int, ...], device: torch.device) -> Task:
    """What `kernels._tune` needs: (samples, outputs, columns), without outliers."""
    samples, rows, columns = shape
    limits = limits_of(device)
    # Integers up to 127, one of them in each row, are quantized exactly, so that the sums are theirs.
    x = torch.randint(-127, 128, (samples, columns), device=device, dtype=torch.int8)
    x[:, 0] = 127
    codes = torch.randint(-127, 128, (rows, columns), device=device, dtype=torch.int8)
    scales = torch.rand(rows, device=device) + 0.5
    exact = torch.stack([row.double() @ codes.double().T for row in x]) * scales.double()
    room = 4 * torch.finfo(torch.float32).eps

    def run(tile: Tile) -> tuple[Tensor]:
        return (linear(x.float(), codes, scales, None, None, 0.0, tile),)

    def wrong(found: tuple[Tensor]) -> str | None:
        off = float(((found[0].double() - exact).abs() / exact.abs().clamp(min=1.0)).max())
        return None if off <= room else f"off by {off:.1e} of the sum"

    tiles = Tiles(
        {"BM": (16, 32, 64, 128), "BN": (16, 32, 64, 128, 256), "BK": (32, 64, 128, 256), "warps": (4, 8),
         "stages": (2, 3, 4)},
        (
            within_threads(limits, "warps"),
            within_registers(limits, "BM", "BN", "warps", live=1, spare=64),
            within_shared(limits, ("BM", "BN", "BK", "stages"), lambda m, n, k, s: (m + n) * k * s),
            Rule("no more than twice the samples", ("BM",), lambda m: m <= max(16, 2 * samples)),
        ),
    )  # fmt: skip
    return Task(OP, shape, device, tiles, tile_of(samples, rows, columns), run, wrong)


def linear(
    x: Tensor, codes: Tensor, scales: Tensor, kept: Tensor | None, bias: Tensor | None, threshold: float,
    tile: Tile | None = None,
) -> Tensor:  # fmt: skip
    """`reference.linear` in `x`'s dtype, [..., N]. `tile`: BM, BN, BK (powers of two, 16 or more), warps, stages."""
    rows, columns = codes.shape
    samples = math.prod(x.shape[:-1])
    out = torch.empty(*x.shape[:-1], rows, dtype=x.dtype, device=x.device)
    if not out.numel():
        return out
    x, codes, scales = x.reshape(samples, columns).contiguous(), codes.contiguous(), scales.contiguous()
    tile = tile or best(OP, (samples, rows, columns), x.device) or tile_of(samples, rows, columns)
    mine = torch.empty(samples, columns, dtype=torch.int8, device=x.device)
    mine_scales = torch.empty(samples, dtype=torch.float32, device=x.device)
    large = torch.empty(columns, dtype=torch.int8, device=x.device)
    places = torch.empty(columns, dtype=torch.int32, device=x.device)
    count = torch.empty(1, dtype=torch.int32, device=x.device)
    outliers = threshold > 0 and columns > 0
    ends = {"OUTLIERS": outliers, "KEPT": kept is not None, "BIAS": bias is not None}
    kept, bias = scales if kept is None else kept.contiguous(), scales if bias is None else bias.contiguous()
    grid = (triton.cdiv(rows, tile["BN"]), triton.cdiv(samples, tile["BM"]))
    with on(x):
        if outliers:
            features_kernel[(triton.cdiv(columns, 128),)](
                x, large, samples, columns, threshold, BS=32, BC=128, num_warps=4
            )
            list_kernel[(1,)](large, places, count, columns, BC=1024, num_warps=4)
        rows_kernel[(samples,)](x, large, mine, mine_scales, columns, OUTLIERS=outliers, BC=1024, num_warps=4)
        product_kernel[grid](
            mine, mine_scales, codes, scales, x, kept, bias, places, count, out, samples, rows, columns, **ends,
            BM=tile["BM"], BN=tile["BN"], BK=tile["BK"], num_warps=tile["warps"], num_stages=tile["stages"],
        )  # fmt: skip
    return out


def _listed() -> tuple[Kernel, ...]:
    sizes = dict.fromkeys(("samples", "rows", "columns"), "i32")
    made = [Kernel("list", list_kernel, {"large": "*i8", "places": "*i32", "count": "*i32", "columns": "i32"},
                   {"BC": 1024}, {"num_warps": 4})]  # fmt: skip
    for dtype, samples in (("*fp16", 1), ("*bf16", 64), ("*fp32", 128)):
        name, floats = dtype[1:], dict.fromkeys(("x", "scales", "kept", "bias", "out"), dtype)
        integers = {"large": "*i8", "codes": "*i8", "mine": "*i8", "places": "*i32", "count": "*i32"}
        types = floats | integers | sizes | {"mine_scales": "*fp32", "threshold": "fp32"}
        tile = tile_of(samples, 4096, 4096)
        blocks = {k: v for k, v in tile.items() if k.startswith("B")}
        for kernel, more, constants, options in (
            (features_kernel, {}, {"BS": 32, "BC": 128}, {"num_warps": 4}),
            (rows_kernel, {"scales": "*fp32"}, {"OUTLIERS": True, "BC": 1024}, {"num_warps": 4}),
            (product_kernel, {}, {"OUTLIERS": True, "KEPT": samples == 64, "BIAS": True} | blocks,
             {"num_warps": tile["warps"], "num_stages": tile["stages"]}),
        ):  # fmt: skip
            given = {k: v for k, v in (types | more).items() if k in kernel.arg_names}
            called = kernel.fn.__name__.removesuffix("_kernel")
            made.append(Kernel(f"{called}_{name}", kernel, given, constants, options))
    return tuple(made)


KERNELS = _listed()
