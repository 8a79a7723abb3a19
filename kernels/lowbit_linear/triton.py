"""lowbit_linear in Triton: products over bit-planes, unpacked in registers only. README.md has the reckoning.

Few samples (`planes_kernel`): what bounds a product at batch 1 is the planes' bytes, if a bit costs less than half an
instruction of a lane. So x becomes integers of three bytes with a scale for each stretch of columns (`digits_kernel`:
24 bits, a step of 2^-23 of the stretch's largest), and bytes of a plane with all bits but one masked (one instruction
for four of them) are multiplied with those digits by the int8 tensor cores: a byte's place is a column of the product,
so nothing is shuffled. A tile's 8 or 16 columns on the other side are digits, stretches and samples.

Many samples (`tiled_kernel`): tiles of codes as floats, the integers that they stand for exactly, in a product of
floats with float32 sums.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels._choose import interpreting
from kernels._kernel import Kernel, on
from kernels.lowbit_linear.reference import Format

DIGITS = 3
"""Bytes of one input: 24 bits, as many as float32 has."""
DIGITS_: tl.constexpr = tl.constexpr(DIGITS)
ROOM = 16
"""Columns of a tensor core's tile that digits, stretches and samples share."""
WIDE = (128, 64, 32)
"""Bytes of one row of a plane that a program reads at a time; 32 are a sector of memory, 128 a line of the cache."""
ROWS = 64
"""Rows of the weight that a program has at batch 1."""
PROGRAMS = 512
"""Programs that a launch aims at, by dividing the columns: about four for each processor of the largest device."""
LONGEST = 2**17
"""Columns at most: |Σ code · digit| <= 2^7 · 2^7 · columns has to fit int32."""


@triton.jit
def digits_kernel(
    x, digits, scales, sums, columns, samples,
    SEG: tl.constexpr, SEGS: tl.constexpr, KB: tl.constexpr, NB: tl.constexpr,
):  # fmt: skip
    """digits [tiles, 8, NB, KB] int8 and, for each of the NB columns of a tile, their scale (float32) and sum (int32).

    One program for a stretch of SEG columns of one sample: x = scale · (65536 d₀ + 256 d₁ + d₂). Digit [t, j, n, b] is
    of column 8 (t KB + b) + j; it is 0 outside the stretch of n. Programs past the last sample fill up with 0.
    """
    t, p = tl.program_id(0).to(tl.int64), tl.program_id(1)
    b, j = tl.arange(0, KB)[:, None], tl.arange(0, 8)[None, :]
    inside = 8 * b + j
    seg = p % SEGS
    at = t * (8 * KB) + inside
    there = (inside // SEG == seg) & (at < columns) & (p < samples * SEGS)
    v = tl.load(x + (p // SEGS).to(tl.int64) * columns + at, mask=there, other=0.0).to(tl.float32)
    finite = tl.abs(v) <= 3.4028234663852886e38
    bad = tl.sum(tl.where(finite, 0.0, 1.0)) > 0.0
    top = tl.max(tl.where(finite, tl.abs(v), 0.0))
    # Below 2^-100 a step would be no normal number; such a stretch is 0 beside anything that float32 adds to it.
    scale = tl.where(top > 7.9e-31, tl.div_rn(top, 8355711.0), 1.0)
    v = tl.where(finite, tl.div_rn(v, scale), 0.0)
    v = tl.minimum(tl.maximum(v, -8355711.0), 8355711.0)  # two roundings may reach .5 further, a fourth digit
    q = tl.where(v < 0.0, -tl.floor(0.5 - v), tl.floor(v + 0.5)).to(tl.int32)
    for d in tl.static_range(DIGITS_):
        low = ((q + 128) & 255) - 128
        q = (q - low) >> 8
        n = p * DIGITS_ + d
        to = ((t * 8 + j) * NB + n) * KB + b
        tl.store(digits + to, low.to(tl.int8), mask=(to >= 0) & (n < NB))
        factor = scale * (1.0 if d == 0 else (256.0 if d == 1 else 65536.0))
        factor = tl.where(p < samples * SEGS, tl.where(bad, float("nan"), factor), 0.0)
        tl.store(scales + t * NB + n, factor, mask=n < NB)
        tl.store(sums + t * NB + n, tl.sum(low), mask=n < NB)


@triton.jit
def planes_kernel(
    planes, x, digits, scales, sums, weights, bias, out, columns, rows, wide, plane, tiles, share, group, groups,
    BITS: tl.constexpr, STEP: tl.constexpr, LOW: tl.constexpr, TWOS: tl.constexpr, GROUPED: tl.constexpr,
    SEG: tl.constexpr, SEGS: tl.constexpr, SAMPLES: tl.constexpr, BIAS: tl.constexpr, RELU: tl.constexpr,
    ONE: tl.constexpr, BN: tl.constexpr, KB: tl.constexpr, NB: tl.constexpr, PACKED: tl.constexpr,
):  # fmt: skip
    """BN rows of the weight times all samples over `share` tiles of columns: out [SAMPLES, rows] where ONE program has
    all tiles, else its part of the sum, out [programs of a row, SAMPLES, rows] in float32.

    Plane i counts STEP · 2^i, the highest of two's complement (TWOS) negative; `sums` of the digits turn LOW, the value
    of a code of zeros, into a sum over columns. Digits have no infinity, so a sample that is not finite is added once
    more, from x itself.
    """
    row = tl.program_id(0) * BN + tl.arange(0, BN)
    mine = row < rows
    n = tl.arange(0, NB)
    b = tl.arange(0, KB)
    first = tl.program_id(1) * share
    total = tl.zeros([BN, NB], tl.float32)
    for t in range(first, tl.minimum(first + share, tiles)):
        byte = t * KB + b
        there = mine[:, None] & (byte < wide)[None, :]
        at = row.to(tl.int64)[:, None] * wide + byte[None, :]
        source = digits + t * (8 * NB * KB) + n[None, :] * KB + b[:, None]
        each = tl.zeros([BN, NB], tl.float32) + (LOW * tl.load(sums + t * NB + n))[None, :].to(tl.float32)
        for i in tl.static_range(BITS):
            held = tl.load(planes + i * plane + at, mask=there, other=0)
            dots = tl.zeros([BN, NB], tl.int32)
            for j in tl.static_range(8):
                bit = _bit(held, j, PACKED)
                one = tl.dot(bit, tl.load(source + j * (NB * KB)), out_dtype=tl.int32)
                # Bit j counts 2^j in its byte (−2^7 the highest, as int8): 2^7 for each here.
                dots = dots - one if j == 7 else dots + (one << (7 - j))
            counts = -(STEP << i) if TWOS and i == BITS - 1 else STEP << i
            each += dots.to(tl.float32) * (counts / 128)
        factor = tl.load(scales + t * NB + n)[None, :]
        if GROUPED:
            g = (t * (8 * KB) + (n // DIGITS_ % SEGS) * SEG) // group
            known = mine[:, None] & (g < groups)[None, :]
            w = tl.load(weights + row.to(tl.int64)[:, None] * groups + g[None, :], mask=known, other=0.0)
            factor = factor * w.to(tl.float32)
        total += each * factor
    for sample in tl.static_range(SAMPLES):
        y = tl.sum(tl.where((n // (DIGITS_ * SEGS) == sample)[None, :], total, 0.0), axis=1)
        if tl.max((y != y).to(tl.int32), axis=0) > 0:  # noqa: PLR0124  # NaN, that is
            y = _plainly(
                planes, x + tl.cast(sample, tl.int64) * columns, weights, row, mine, first * (8 * KB),
                tl.minimum((first + share) * (8 * KB), columns), wide, plane, group, groups, BITS, STEP, LOW, TWOS,
                GROUPED, BN,
            )  # fmt: skip
        if ONE:
            y = _finish(y, weights, bias, row, mine, GROUPED, BIAS, RELU)
            tl.store(out + sample * rows + row, y.to(out.dtype.element_ty), mask=mine)
        else:
            part = tl.program_id(1).to(tl.int64) * SAMPLES + sample
            tl.store(out + part * rows + row, y, mask=mine)


@triton.jit
def _plainly(
    planes, x, weights, row, mine, first, last, wide, plane, group, groups,
    BITS: tl.constexpr, STEP: tl.constexpr, LOW: tl.constexpr, TWOS: tl.constexpr, GROUPED: tl.constexpr,
    BN: tl.constexpr,
):  # fmt: skip
    """What columns [first, last) of one sample add to BN rows, as floats: what infinity and NaN make of a weight.
    Few columns at a time, for this is rare, and registers are the kernel's."""
    y = tl.zeros([BN], tl.float32)
    for k0 in range(first, last, 16):
        k = k0 + tl.arange(0, 16)
        inside = mine[:, None] & (k < last)[None, :]
        at = row.to(tl.int64)[:, None] * wide + (k // 8)[None, :]
        w = tl.full([BN, 16], LOW, tl.int32)
        for i in tl.static_range(BITS):
            bit = (tl.load(planes + i * plane + at, mask=inside, other=0).to(tl.int32) >> (k % 8)[None, :]) & 1
            w += bit * (-(STEP << i) if TWOS and i == BITS - 1 else STEP << i)
        each = w.to(tl.float32) * tl.load(x + k, mask=k < last, other=0.0).to(tl.float32)[None, :]
        if GROUPED:
            g = row.to(tl.int64)[:, None] * groups + (k // group)[None, :]
            each = each * tl.load(weights + g, mask=inside, other=0.0).to(tl.float32)
        y += tl.sum(tl.where(inside, each, 0.0), axis=1)
    return y


@triton.jit
def _bit(held, j: tl.constexpr, PACKED: tl.constexpr):
    """Bit j of each byte, left at its place, as int8. PACKED: one instruction for four bytes (the compiler would take
    them apart, and NumPy, which interprets kernels, has no such instruction)."""
    if PACKED:
        return tl.inline_asm_elementwise(_and(j), "=r,r", [held], dtype=tl.int8, is_pure=True, pack=4)
    return (held & (1 << j)).to(tl.int8, bitcast=True)


@triton.constexpr_function
def _and(j):
    return f"and.b32 $0, $1, {0x01010101 << j};"


@triton.jit
def _finish(y, weights, bias, row, mine, GROUPED: tl.constexpr, BIAS: tl.constexpr, RELU: tl.constexpr):
    """Scale of a row, bias and ReLU; NaN stays NaN."""
    if not GROUPED:
        y = y * tl.load(weights + row, mask=mine, other=0.0).to(tl.float32)
    if BIAS:
        y = y + tl.load(bias + row, mask=mine, other=0.0).to(tl.float32)
    if RELU:
        y = tl.where(y < 0.0, 0.0, y)
    return y


@triton.jit
def total_kernel(
    parts, weights, bias, out, rows, samples, count,
    GROUPED: tl.constexpr, BIAS: tl.constexpr, RELU: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    """The parts [count, samples, rows] of one sample added in their order, then what ends a row."""
    row = tl.program_id(0) * BN + tl.arange(0, BN)
    mine = row < rows
    sample = tl.program_id(1).to(tl.int64)
    y = tl.zeros([BN], tl.float32)
    for i in range(count):
        y += tl.load(parts + (i * samples + sample) * rows + row, mask=mine, other=0.0)
    y = _finish(y, weights, bias, row, mine, GROUPED, BIAS, RELU)
    tl.store(out + sample * rows + row, y.to(out.dtype.element_ty), mask=mine)


@triton.jit
def _codes(planes, row, k, there, wide, plane, BITS: tl.constexpr, FLIP: tl.constexpr):
    """The codes [columns `k`, rows `row`] of a tile, their bits gathered from the planes; FLIP where not `there`."""
    at = row.to(tl.int64)[None, :] * wide + (k // 8)[:, None]
    code = tl.zeros_like(at).to(tl.int32) + FLIP
    for i in tl.static_range(BITS):
        byte = tl.load(planes + i * plane + at, mask=there, other=0).to(tl.int32)
        code = code ^ (((byte >> (k % 8)[:, None]) & 1) << i)
    return code


@triton.jit
def tiled_kernel(
    x, planes, weights, bias, out, samples, columns, rows, wide, plane, group, groups,
    BITS: tl.constexpr, STEP: tl.constexpr, LOW: tl.constexpr, FLIP: tl.constexpr, BIAS: tl.constexpr,
    RELU: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, NARROW: tl.constexpr,
):  # fmt: skip
    """A tile [BM, BN] of out. Values of codes are exact in x's dtype (|v| <= 255), sums are float32's; the scale of a
    group multiplies the group's sum. NARROW: factors in x's dtype (the interpreter has no product of bfloat16)."""
    m = tl.program_id(1) * BM + tl.arange(0, BM)
    row = tl.program_id(0) * BN + tl.arange(0, BN)
    mine, given = row < rows, m < samples
    total = tl.zeros([BM, BN], tl.float32)
    for g in range(groups):
        end = tl.minimum((g + 1) * group, columns)
        acc = tl.zeros([BM, BN], tl.float32)
        for k0 in range(g * group, end, BK):
            k = k0 + tl.arange(0, BK)
            v = tl.load(
                x + m.to(tl.int64)[:, None] * columns + k[None, :], mask=given[:, None] & (k < end)[None, :], other=0.0
            )
            there = (k < end)[:, None] & mine[None, :]
            code = _codes(planes, row, k, there, wide, plane, BITS, FLIP)
            w = (code * STEP + LOW).to(tl.float32)
            if NARROW:
                w = w.to(v.dtype)
            else:
                v = v.to(tl.float32)
            acc = tl.dot(v, w, acc, input_precision="ieee")
        scale = tl.load(weights + row.to(tl.int64) * groups + g, mask=mine, other=0.0).to(tl.float32)
        total += acc * scale[None, :]
    if BIAS:
        total += tl.load(bias + row, mask=mine, other=0.0).to(tl.float32)[None, :]
    if RELU:
        total = tl.where(total < 0.0, 0.0, total)
    to = out + m.to(tl.int64)[:, None] * rows + row[None, :]
    tl.store(to, total.to(out.dtype.element_ty), mask=given[:, None] & mine[None, :])


@dataclass(frozen=True, slots=True)
class Cut:
    """How `planes_kernel` reads columns: KB bytes of a row at a time, in SEGS stretches of SEG columns."""

    KB: int
    SEG: int
    SEGS: int
    NB: int


def cut(samples: int, columns: int, group: int) -> Cut | None:
    """The widest cut for which digits, stretches and samples fit `ROOM`; None: it is `tiled_kernel`'s."""
    if samples > ROOM // DIGITS or columns > LONGEST:
        return None
    for wide in WIDE:
        stretch = 8 * wide if group == 0 or group % (8 * wide) == 0 else group
        if (8 * wide) % stretch == 0 and samples * (8 * wide // stretch) * DIGITS <= ROOM:
            segs = 8 * wide // stretch
            return Cut(wide, stretch, segs, 8 if samples * segs * DIGITS <= 8 else ROOM)
    return None


def _form(bits: int, bipolar: bool) -> dict[str, int | bool]:
    """What `planes_kernel` has to know of a format."""
    form = Format(bits, bipolar)
    return {"BITS": bits, "STEP": form.step, "LOW": form.offset, "TWOS": not bipolar}


def linear(
    x: Tensor, planes: Tensor, scales: Tensor, bias: Tensor | None, *, bipolar: bool, group: int, relu: bool,
    splits: int | None = None, tiled: bool = False,
) -> Tensor:  # fmt: skip
    """`reference.linear` in `x`'s dtype. `splits`: programs that share a row; `tiled`: that kernel for any batch."""
    columns, rows, bits = x.shape[-1], planes.shape[1], planes.shape[0]
    samples = math.prod(x.shape[:-1])
    out = torch.empty(*x.shape[:-1], rows, dtype=x.dtype, device=x.device)
    if not out.numel():
        return out
    flat, planes, scales = x.reshape(samples, columns).contiguous(), planes.contiguous(), scales.contiguous()
    if scales.shape[1] == 1:
        group = 0
    end = {"BIAS": bias is not None, "RELU": relu}
    bias = scales if bias is None else bias.contiguous()
    how = None if tiled else cut(samples, columns, group)
    with on(x):
        if how is None:
            _tiled(flat, planes, scales, bias, out, bipolar, group, end)
        else:
            _planes(flat, planes, scales, bias, out, _form(bits, bipolar), group, end, how, splits)
    return out


def _tiled(
    x: Tensor, planes: Tensor, scales: Tensor, bias: Tensor, out: Tensor, bipolar: bool, group: int,
    end: dict[str, bool],
) -> None:  # fmt: skip
    samples, columns, rows, bits = x.shape[0], x.shape[1], planes.shape[1], planes.shape[0]
    form = Format(bits, bipolar)
    tile = {"BM": 64 if samples > 32 else 16, "BN": 64, "BK": 32}
    grid = (triton.cdiv(rows, tile["BN"]), triton.cdiv(samples, tile["BM"]))
    tiled_kernel[grid](
        x, planes, scales, bias, out, samples, columns, rows, planes.shape[2], planes.stride(0), group or columns,
        scales.shape[1], BITS=bits, STEP=form.step, LOW=form.low, FLIP=0 if bipolar else 1 << (bits - 1), **end,
        **tile, NARROW=not interpreting(), num_warps=4,
    )  # fmt: skip


def _planes(
    x: Tensor, planes: Tensor, scales: Tensor, bias: Tensor, out: Tensor, form: dict[str, int | bool], group: int,
    end: dict[str, bool], how: Cut, splits: int | None,
) -> None:  # fmt: skip
    samples, columns, rows, device = x.shape[0], x.shape[1], planes.shape[1], x.device
    tiles = max(1, triton.cdiv(columns, 8 * how.KB))
    blocks = triton.cdiv(rows, ROWS)
    share = triton.cdiv(tiles, min(tiles, splits or max(1, PROGRAMS // blocks)))
    splits = triton.cdiv(tiles, share)
    digits = torch.empty(tiles, 8, how.NB, how.KB, dtype=torch.int8, device=device)
    factors = torch.empty(tiles, how.NB, dtype=torch.float32, device=device)
    sums = torch.empty(tiles, how.NB, dtype=torch.int32, device=device)
    digits_kernel[(tiles, triton.cdiv(how.NB, DIGITS))](
        x, digits, factors, sums, columns, samples, SEG=how.SEG, SEGS=how.SEGS, KB=how.KB, NB=how.NB, num_warps=4
    )
    one = splits == 1
    into = out if one else torch.empty(splits, samples, rows, dtype=torch.float32, device=device)
    planes_kernel[(blocks, splits)](
        planes, x, digits, factors, sums, scales, bias, into, columns, rows, planes.shape[2], planes.stride(0), tiles,
        share, max(1, group), scales.shape[1], **form, GROUPED=group > 0, SEG=how.SEG, SEGS=how.SEGS, SAMPLES=samples,
        **end, ONE=one, BN=ROWS, KB=how.KB, NB=how.NB, PACKED=not interpreting(), num_warps=4,
    )  # fmt: skip
    if not one:
        total_kernel[(triton.cdiv(rows, 256), samples)](
            into, scales, bias, out, rows, samples, splits, GROUPED=group > 0, **end, BN=256, num_warps=4
        )


def _listed() -> tuple[Kernel, ...]:
    sizes = dict.fromkeys(
        ("columns", "rows", "wide", "plane", "tiles", "share", "group", "groups", "samples", "count"), "i32"
    )
    warps = {"num_warps": 4}

    def types(kernel, **own: str) -> dict[str, str]:
        return own | {n: t for n, t in sizes.items() if n in kernel.arg_names}

    data = {"digits": "*i8", "scales": "*fp32", "sums": "*i32"}
    made = []
    for dtype in ("*fp16", "*bf16", "*fp32"):
        made.append(Kernel(f"digits_{dtype[1:]}", digits_kernel, types(digits_kernel, x=dtype, **data),
                           {"SEG": 128, "SEGS": 2, "KB": 32, "NB": ROOM}, warps))  # fmt: skip
        floats = dict.fromkeys(("x", "weights", "bias", "out"), dtype)
        made.append(Kernel(f"tiled_{dtype[1:]}", tiled_kernel, types(tiled_kernel, planes="*u8", **floats),
                           {"BITS": 3, "STEP": 1, "LOW": -4, "FLIP": 4, "BIAS": True, "RELU": True, "BM": 64, "BN": 64,
                            "BK": 32, "NARROW": True}, warps))  # fmt: skip
    for bits in range(1, 9):
        grouped = bits % 2 == 0
        how = cut(1, 4096, 128 if grouped else 0)
        assert how is not None
        cuts = {"KB": how.KB, "SEG": how.SEG, "SEGS": how.SEGS, "NB": how.NB, "BN": ROWS, "SAMPLES": 1, "PACKED": True}
        given = types(planes_kernel, planes="*u8", x="*fp16", weights="*fp16", bias="*fp16", out="*fp32", **data)
        ends = {"GROUPED": grouped, "BIAS": True, "RELU": True, "ONE": False}
        made.append(Kernel(f"planes_{bits}", planes_kernel, given, {**_form(bits, bits < 3), **cuts, **ends}, warps))
    last = {"GROUPED": False, "BIAS": True, "RELU": True, "BN": 256}
    parts = {"parts": "*fp32", "weights": "*fp16", "bias": "*fp16", "out": "*fp16"}
    made.append(Kernel("total", total_kernel, types(total_kernel, **parts), last, warps))
    return tuple(made)


KERNELS = _listed()
