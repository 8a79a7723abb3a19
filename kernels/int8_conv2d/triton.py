"""int8_conv2d in Triton: a product of matrices without the matrix, rows of x being found by where a pixel looks.

M are pixels, N outputs of one group, K the channels of one place of the kernel at a time: x and codes lie channels
last, so that K is contiguous. The end is in integers (64 bits: a sum of 32 times a multiplier of 31) or in float32.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels._kernel import Kernel, on
from kernels._tiles import Rule, Tile, Tiles, within_registers, within_shared, within_threads
from kernels._tune import Task, best, limits_of
from kernels.int8_conv2d import reference
from kernels.int8_conv2d.reference import Geometry

OP = "int8_conv2d"


@triton.jit
def conv_kernel(
    x, codes, scales, shifts, bias, out, pixels, tiles, height, width, channels, rows, groups, down, across, tall, wide,
    stride_y, stride_x, pad_y, pad_x, step_y, step_x, low, high,
    INTEGERS: tl.constexpr, BIAS: tl.constexpr, RELU: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr,
    BK: tl.constexpr,
):  # fmt: skip
    """A tile [BM, BN] of out [B, groups · rows, down, across]: `rows` and `channels` are those of one group,
    kernels are `tall` by `wide`; `tiles`: programs for the outputs of a group. INTEGERS: `scales` are multipliers."""
    pid, each = tl.program_id(0), tiles * groups
    g = (pid % each) // tiles
    inside = pid % tiles * BN + tl.arange(0, BN)
    there = inside < rows
    n = g * rows + inside
    m = (pid // each).to(tl.int64) * BM + tl.arange(0, BM)
    given = m < pixels
    sample, place = m // (down * across), (m % (down * across)).to(tl.int32)
    top, left = place // across * stride_y - pad_y, place % across * stride_x - pad_x
    acc = tl.zeros([BM, BN], tl.int32)
    for tap in range(tall * wide):
        y, z = top + tap // wide * step_y, left + tap % wide * step_x
        seen = given & (y >= 0) & (y < height) & (z >= 0) & (z < width)
        from_x = ((sample * height + y) * width + z) * (channels * groups) + g * channels
        from_codes = (n.to(tl.int64) * (tall * wide) + tap) * channels
        for first in range(0, channels, BK):
            k = first + tl.arange(0, BK)
            known = k < channels
            a = tl.load(x + from_x[:, None] + k[None, :], mask=seen[:, None] & known[None, :], other=0)
            b = tl.load(codes + from_codes[None, :] + k[:, None], mask=known[:, None] & there[None, :], other=0)
            acc = tl.dot(a, b, acc, out_dtype=tl.int32)
    to = out + ((sample * (rows * groups))[:, None] + n[None, :]) * (down * across) + place[:, None]
    if INTEGERS:
        total = acc.to(tl.int64)
        if BIAS:
            total += tl.load(bias + n, mask=there, other=0).to(tl.int64)[None, :]
            total = tl.minimum(tl.maximum(total, -2147483648), 2147483647)
        shift = tl.load(shifts + n, mask=there, other=1).to(tl.int64)
        total = total * tl.load(scales + n, mask=there, other=0).to(tl.int64)[None, :]
        half = tl.full([BN], 1, tl.int64) << (shift - 1)
        total = (total + half[None, :]) >> shift[None, :]
        total = tl.minimum(tl.maximum(total, low), high)
        tl.store(to, total.to(tl.int8), mask=given[:, None] & there[None, :])
    else:
        found = acc.to(tl.float32) * tl.load(scales + n, mask=there, other=0.0).to(tl.float32)[None, :]
        if BIAS:
            found += tl.load(bias + n, mask=there, other=0.0).to(tl.float32)[None, :]
        if RELU:
            found = tl.where(found < 0.0, 0.0, found)
        tl.store(to, found.to(out.dtype.element_ty), mask=given[:, None] & there[None, :])


def tile_of(pixels: int, rows: int, channels: int) -> Tile:
    """The tile that is taken where none was tuned, for the outputs and channels of one group."""
    large = 128 if pixels >= 4096 else 64 if pixels >= 512 else 16
    return {
        "BM": large, "BN": min(max(large, 64), max(16, triton.next_power_of_2(rows))),
        "BK": min(64 if large > 16 else 128, max(32, triton.next_power_of_2(channels))),
        "warps": 8 if large == 128 else 4, "stages": 3,
    }  # fmt: skip


def tuning(shape: tuple[int, ...], device: torch.device) -> Task:
    """What `kernels._tune` needs: (batch, channels, height, width, outputs, kernel's size), padded to keep the size."""
    samples, channels, height, width, rows, size = shape
    limits = limits_of(device)
    x = torch.randint(-128, 128, (samples, channels, height, width), device=device, dtype=torch.int8)
    codes = torch.randint(-127, 128, (rows, channels, size, size), device=device, dtype=torch.int8)
    x, codes = (t.contiguous(memory_format=torch.channels_last) for t in (x, codes))
    multiplier, shift = reference.dyadic(torch.rand(rows, device=device) * 2e-3 + 1e-4)
    at = Geometry(padding=(size // 2, size // 2))
    # In float64, where every sum is exact; TF32 and Winograd are float32's.
    sums = torch.nn.functional.conv2d(x.double(), codes.double(), padding=at.padding).to(torch.int64)
    exact = reference.requantize(sums, multiplier, shift, -128, 127)

    def run(tile: Tile) -> tuple[Tensor]:
        return (requantized(x, codes, multiplier, shift, None, at, -128, 127, tile),)

    def wrong(found: tuple[Tensor]) -> str | None:
        off = int((found[0] != exact).sum())
        return f"{off} of {exact.numel()} integers differ" if off else None

    tiles = Tiles(
        {"BM": (16, 32, 64, 128), "BN": (16, 32, 64, 128), "BK": (32, 64, 128), "warps": (4, 8), "stages": (2, 3, 4)},
        (
            within_threads(limits, "warps"),
            within_registers(limits, "BM", "BN", "warps", live=2, spare=64),
            within_shared(limits, ("BM", "BN", "BK", "stages"), lambda m, n, k, s: (m + n) * k * s),
            Rule("no more than twice the pixels", ("BM",), lambda m: m <= max(16, 2 * samples * height * width)),
            Rule("no more than twice the channels", ("BK",), lambda k: k <= max(32, 2 * channels)),
            Rule("no more than twice the outputs", ("BN",), lambda n: n <= max(16, 2 * rows)),
        ),
    )
    return Task(OP, shape, device, tiles, tile_of(samples * height * width, rows, channels), run, wrong)


def scaled(
    x: Tensor, codes: Tensor, scales: Tensor, bias: Tensor | None, at: Geometry, relu: bool, tile: Tile | None = None
) -> Tensor:
    """Sums times `scales`, plus `bias`, in `scales`' dtype [B, N, H', W']."""
    return _launch(x, codes, scales, None, bias, at, scales.dtype, (0, 0), relu, tile)


def requantized(
    x: Tensor, codes: Tensor, multiplier: Tensor, shift: Tensor, bias: Tensor | None, at: Geometry, low: int, high: int,
    tile: Tile | None = None,
) -> Tensor:  # fmt: skip
    """`reference.requantize` of the sums and bias, int8 [B, N, H', W']; shifts are 1 to 62."""
    return _launch(x, codes, multiplier, shift, bias, at, torch.int8, (low, high), False, tile)


def _launch(
    x: Tensor, codes: Tensor, scales: Tensor, shift: Tensor | None, bias: Tensor | None, at: Geometry,
    dtype: torch.dtype, ends: tuple[int, int], relu: bool, tile: Tile | None,
) -> Tensor:  # fmt: skip
    (samples, channels, height, width), (outputs, inner, tall, wide) = x.shape, codes.shape
    down, across = at.size(x, codes)
    out = torch.empty(samples, outputs, down, across, dtype=dtype, device=x.device)
    if not out.numel():
        return out
    # Not `contiguous(channels_last)`: torch counts a tensor of one channel or pixel as that in either order.
    x, codes = (t.permute(0, 2, 3, 1).contiguous() for t in (x, codes))
    rows, pixels = outputs // at.groups, samples * down * across
    shape = (samples, channels, height, width, outputs, tall)
    tile = tile or best(OP, shape, x.device) or tile_of(pixels, rows, inner)
    tiles = triton.cdiv(rows, tile["BN"])
    scales = scales.contiguous()
    with on(x):
        conv_kernel[(triton.cdiv(pixels, tile["BM"]) * tiles * at.groups,)](
            x, codes, scales, scales if shift is None else shift.contiguous(),
            scales if bias is None else bias.contiguous(), out, pixels, tiles, height, width, inner, rows, at.groups,
            down, across, tall, wide, *at.stride, *at.padding, *at.dilation, *ends, INTEGERS=shift is not None,
            BIAS=bias is not None, RELU=relu, BM=tile["BM"], BN=tile["BN"], BK=tile["BK"], num_warps=tile["warps"],
            num_stages=tile["stages"],
        )  # fmt: skip
    return out


def _listed() -> tuple[Kernel, ...]:
    made = []
    for name, ends, pixels in (("int8", "*i32", 16384), ("fp32", "*fp32", 1024), ("fp16", "*fp16", 64)):
        types = dict.fromkeys(conv_kernel.arg_names, "i32") | dict.fromkeys(("scales", "bias"), ends)
        types |= {"x": "*i8", "codes": "*i8", "shifts": "*i32" if name == "int8" else ends}
        types["out"] = "*i8" if name == "int8" else ends
        tile = tile_of(pixels, 256, 256)
        constants = {k: v for k, v in tile.items() if k.startswith("B")}
        constants |= {"INTEGERS": name == "int8", "BIAS": True, "RELU": True}
        given = {k: v for k, v in types.items() if k not in constants}
        options = {"num_warps": tile["warps"], "num_stages": tile["stages"]}
        made.append(Kernel(f"conv_{name}", conv_kernel, given, constants, options))
    return tuple(made)


KERNELS = _listed()
