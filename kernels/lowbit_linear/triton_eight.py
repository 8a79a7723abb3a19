"""lowbit_linear of int8 inputs in Triton: the kernels of `triton.py`, with inputs that are digits already.

Few samples (`planes_int8_kernel`): bits of planes times x by the int8 tensor cores, as there, but one column of the
product a stretch and sample where three digits were, so that up to 16 samples share it. Many (`tiled_int8_kernel`):
tiles of codes as int8, less half their range so that those of 8 bits fit. Sums of a group stay int32 until its scale:
exact where the whole fits, for int32 wraps; `lowbit_linear` refuses what may not.
"""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels._choose import interpreting
from kernels._kernel import Kernel, on
from kernels.lowbit_linear.reference import Format
from kernels.lowbit_linear.triton import PROGRAMS, ROOM, ROWS, WIDE, Cut, _bit, _codes, _form


@triton.jit
def placed_kernel(
    x, placed, sums, columns, samples, SEG: tl.constexpr, SEGS: tl.constexpr, KB: tl.constexpr, NB: tl.constexpr
):
    """placed [tiles, 8, NB, KB] int8 and, for each of the NB columns of a tile, their sum (int32): [t, j, n, b] is x in
    column 8 (t KB + b) + j, 0 outside the stretch of n and past the last sample."""
    t, n = tl.program_id(0).to(tl.int64), tl.program_id(1)
    b, j = tl.arange(0, KB)[:, None], tl.arange(0, 8)[None, :]
    inside = 8 * b + j
    at = t * (8 * KB) + inside
    there = (inside // SEG == n % SEGS) & (at < columns) & (n < samples * SEGS)
    v = tl.load(x + (n // SEGS).to(tl.int64) * columns + at, mask=there, other=0)
    tl.store(placed + ((t * 8 + j) * NB + n) * KB + b, v)
    tl.store(sums + t * NB + n, tl.sum(v.to(tl.int32)))


@triton.jit
def planes_int8_kernel(
    planes, placed, sums, weights, x_scale, bias, out, rows, wide, plane, tiles, share, per, group, groups, each,
    BITS: tl.constexpr, STEP: tl.constexpr, LOW: tl.constexpr, TWOS: tl.constexpr, GROUPED: tl.constexpr,
    SEG: tl.constexpr, SEGS: tl.constexpr, SAMPLES: tl.constexpr, BIAS: tl.constexpr, RELU: tl.constexpr,
    ONE: tl.constexpr, BN: tl.constexpr, KB: tl.constexpr, NB: tl.constexpr, PACKED: tl.constexpr,
):  # fmt: skip
    """BN rows of the weight times all samples over `share` tiles of columns: out [SAMPLES, rows] where ONE program has
    all tiles, else its part of the sum, out [programs of a row, SAMPLES, rows], int32 or, of groups, float32.

    `per` tiles are of one group, or all; `each`: how far the scales of samples are apart, 0 or 1."""
    row = tl.program_id(0) * BN + tl.arange(0, BN)
    mine = row < rows
    n = tl.arange(0, NB)
    b = tl.arange(0, KB)
    first = tl.program_id(1) * share
    last = tl.minimum(first + share, tiles)
    whole = tl.zeros([BN, NB], tl.int32)
    scaled = tl.zeros([BN, NB], tl.float32)
    for t0 in range(first, last, per):
        for t in range(t0, tl.minimum(t0 + per, last)):
            byte = t * KB + b
            there = mine[:, None] & (byte < wide)[None, :]
            at = row.to(tl.int64)[:, None] * wide + byte[None, :]
            source = placed + t * (8 * NB * KB) + n[None, :] * KB + b[:, None]
            whole += (LOW * tl.load(sums + t * NB + n))[None, :]
            for i in tl.static_range(BITS):
                held = tl.load(planes + i * plane + at, mask=there, other=0)
                dots = tl.zeros([BN, NB], tl.int32)
                for j in tl.static_range(8):
                    bit = _bit(held, j, PACKED)
                    one = tl.dot(bit, tl.load(source + j * (NB * KB)), out_dtype=tl.int32)
                    # Bit j counts 2^j in its byte (−2^7 the highest, as int8): 2^7 for each here.
                    dots = dots - one if j == 7 else dots + (one << (7 - j))
                counts = -(STEP << i) if TWOS and i == BITS - 1 else STEP << i
                whole += (dots >> 7) * counts  # |dots| <= 2^7 · 2^7 · 8 KB, and a multiple of 2^7
        if GROUPED:
            g = (t0 * (8 * KB) + (n % SEGS) * SEG) // group
            known = mine[:, None] & (g < groups)[None, :]
            w = tl.load(weights + row.to(tl.int64)[:, None] * groups + g[None, :], mask=known, other=0.0)
            scaled += whole.to(tl.float32) * w.to(tl.float32)
            whole = tl.zeros([BN, NB], tl.int32)
    for sample in tl.static_range(SAMPLES):
        own = (n // SEGS == sample)[None, :]
        y = tl.sum(tl.where(own, scaled if GROUPED else whole, 0), axis=1)
        if ONE:
            s = tl.load(x_scale + sample * each).to(tl.float32)
            y = _ended(y.to(tl.float32), s, weights, bias, row, mine, GROUPED, BIAS, RELU)
            tl.store(out + sample * rows + row, y.to(out.dtype.element_ty), mask=mine)
        else:
            part = tl.program_id(1).to(tl.int64) * SAMPLES + sample
            tl.store(out + part * rows + row, y, mask=mine)


@triton.jit
def _ended(y, s, weights, bias, row, mine, GROUPED: tl.constexpr, BIAS: tl.constexpr, RELU: tl.constexpr):
    """The scales of a row and of its sample, bias and ReLU; NaN stays NaN."""
    if not GROUPED:
        y = y * tl.load(weights + row, mask=mine, other=0.0).to(tl.float32)
    y = y * s
    if BIAS:
        y = y + tl.load(bias + row, mask=mine, other=0.0).to(tl.float32)
    if RELU:
        y = tl.where(y < 0.0, 0.0, y)
    return y


@triton.jit
def total_int8_kernel(
    parts, weights, x_scale, bias, out, rows, samples, count, each,
    GROUPED: tl.constexpr, BIAS: tl.constexpr, RELU: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    """The parts [count, samples, rows] of one sample added in their order, then what ends a row."""
    row = tl.program_id(0) * BN + tl.arange(0, BN)
    mine = row < rows
    sample = tl.program_id(1).to(tl.int64)
    y = tl.zeros([BN], parts.dtype.element_ty)
    for i in range(count):
        y += tl.load(parts + (i * samples + sample) * rows + row, mask=mine, other=0)
    s = tl.load(x_scale + sample * each).to(tl.float32)
    y = _ended(y.to(tl.float32), s, weights, bias, row, mine, GROUPED, BIAS, RELU)
    tl.store(out + sample * rows + row, y.to(out.dtype.element_ty), mask=mine)


@triton.jit
def tiled_int8_kernel(
    x, planes, weights, x_scale, bias, out, samples, columns, rows, wide, plane, group, groups, each,
    BITS: tl.constexpr, STEP: tl.constexpr, FLIP: tl.constexpr, BIAS: tl.constexpr, RELU: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """A tile [BM, BN] of out. An integer is STEP · e, or 2 e + 1 where STEP is 2 (bipolar), for e the code (its highest
    bit turned by FLIP) less half the number of codes."""
    m = tl.program_id(1) * BM + tl.arange(0, BM)
    row = tl.program_id(0) * BN + tl.arange(0, BN)
    mine, given = row < rows, m < samples
    scaled = tl.zeros([BM, BN], tl.float32)
    for g in range(groups):
        end = tl.minimum((g + 1) * group, columns)
        acc = tl.zeros([BM, BN], tl.int32)
        all_x = tl.zeros([BM], tl.int32)
        for k0 in range(g * group, end, BK):
            k = k0 + tl.arange(0, BK)
            v = tl.load(
                x + m.to(tl.int64)[:, None] * columns + k[None, :], mask=given[:, None] & (k < end)[None, :], other=0
            )
            there = (k < end)[:, None] & mine[None, :]
            code = _codes(planes, row, k, there, wide, plane, BITS, FLIP)
            acc = tl.dot(v, (code - (1 << (BITS - 1))).to(tl.int8), acc, out_dtype=tl.int32)
            if STEP == 2:
                all_x += tl.sum(v.to(tl.int32), axis=1)
        if STEP == 2:
            acc = 2 * acc + all_x[:, None]
        scale = tl.load(weights + row.to(tl.int64) * groups + g, mask=mine, other=0.0).to(tl.float32)
        scaled += acc.to(tl.float32) * scale[None, :]
    y = scaled * tl.load(x_scale + m.to(tl.int64) * each, mask=given, other=0.0).to(tl.float32)[:, None]
    if BIAS:
        y += tl.load(bias + row, mask=mine, other=0.0).to(tl.float32)[None, :]
    if RELU:
        y = tl.where(y < 0.0, 0.0, y)
    to = out + m.to(tl.int64)[:, None] * rows + row[None, :]
    tl.store(to, y.to(out.dtype.element_ty), mask=given[:, None] & mine[None, :])


def cut(samples: int, group: int) -> Cut | None:
    """The widest cut for which stretches and samples fit `ROOM`; None: it is `tiled_int8_kernel`'s."""
    for wide in WIDE if samples <= ROOM else ():
        stretch = 8 * wide if group == 0 or group % (8 * wide) == 0 else group
        segs = 8 * wide // stretch
        if (8 * wide) % stretch == 0 and samples * segs <= ROOM:
            return Cut(wide, stretch, segs, 8 if samples * segs <= 8 else ROOM)
    return None


def linear(
    x: Tensor, x_scale: Tensor, planes: Tensor, scales: Tensor, bias: Tensor | None, *, bipolar: bool, group: int,
    relu: bool, splits: int | None = None, tiled: bool = False,
) -> Tensor:  # fmt: skip
    """`reference.linear_of_integers` in the dtype of `x_scale`. `splits`: programs that share a row, at most; `tiled`:
    that kernel for any batch."""
    columns, rows, bits = x.shape[-1], planes.shape[1], planes.shape[0]
    samples = math.prod(x.shape[:-1])
    out = torch.empty(*x.shape[:-1], rows, dtype=x_scale.dtype, device=x.device)
    if not out.numel():
        return out
    flat, planes, scales = x.reshape(samples, columns).contiguous(), planes.contiguous(), scales.contiguous()
    x_scale = x_scale.contiguous()
    if scales.shape[1] == 1:
        group = 0
    end = {"BIAS": bias is not None, "RELU": relu}
    bias = scales if bias is None else bias.contiguous()
    how = None if tiled else cut(samples, group)
    with on(x):
        if how is None:
            form = Format(bits, bipolar)
            tile = {"BM": 64 if samples > 32 else 16, "BN": 64, "BK": 32}
            grid = (triton.cdiv(rows, tile["BN"]), triton.cdiv(samples, tile["BM"]))
            tiled_int8_kernel[grid](
                flat, planes, scales, x_scale, bias, out, samples, columns, rows, planes.shape[2], planes.stride(0),
                group or columns, scales.shape[1], int(x_scale.dim() > 0), BITS=bits, STEP=form.step,
                FLIP=0 if bipolar else 1 << (bits - 1), **end, **tile, num_warps=4,
            )  # fmt: skip
        else:
            _planes(flat, x_scale, planes, scales, bias, out, _form(bits, bipolar), group, end, how, splits)
    return out


def _planes(
    x: Tensor, x_scale: Tensor, planes: Tensor, scales: Tensor, bias: Tensor, out: Tensor,
    form: dict[str, int | bool], group: int, end: dict[str, bool], how: Cut, splits: int | None,
) -> None:  # fmt: skip
    (samples, columns), rows, device, each = x.shape, planes.shape[1], x.device, int(x_scale.dim() > 0)
    tiles = max(1, triton.cdiv(columns, 8 * how.KB))
    blocks = triton.cdiv(rows, ROWS)
    share = triton.cdiv(tiles, min(tiles, splits or max(1, PROGRAMS // blocks)))
    per = max(1, group // (8 * how.KB)) if group else share
    share = per * triton.cdiv(share, per)  # no group is divided, so that its sum is one integer
    splits = triton.cdiv(tiles, share)
    placed = torch.empty(tiles, 8, how.NB, how.KB, dtype=torch.int8, device=device)
    sums = torch.empty(tiles, how.NB, dtype=torch.int32, device=device)
    cuts = {"SEG": how.SEG, "SEGS": how.SEGS, "KB": how.KB, "NB": how.NB}
    placed_kernel[(tiles, how.NB)](x, placed, sums, columns, samples, **cuts, num_warps=4)
    one, sort = splits == 1, torch.float32 if group else torch.int32
    into = out if one else torch.empty(splits, samples, rows, dtype=sort, device=device)
    planes_int8_kernel[(blocks, splits)](
        planes, placed, sums, scales, x_scale, bias, into, rows, planes.shape[2], planes.stride(0), tiles, share, per,
        max(1, group), scales.shape[1], each, **form, **cuts, GROUPED=group > 0, SAMPLES=samples, **end, ONE=one,
        BN=ROWS, PACKED=not interpreting(), num_warps=4,
    )  # fmt: skip
    if not one:
        total_int8_kernel[(triton.cdiv(rows, 256), samples)](
            into, scales, x_scale, bias, out, rows, samples, splits, each, GROUPED=group > 0, **end, BN=256,
            num_warps=4,
        )  # fmt: skip


def _listed() -> tuple[Kernel, ...]:
    sizes = dict.fromkeys(
        ("columns", "rows", "wide", "plane", "tiles", "share", "per", "group", "groups", "each", "samples", "count"),
        "i32",
    )
    bytes_ = {"x": "*i8", "placed": "*i8", "sums": "*i32", "planes": "*u8"}
    warps, ends = {"num_warps": 4}, {"BIAS": True, "RELU": True}

    def types(kernel, **own: str) -> dict[str, str]:
        return {n: t for n, t in (sizes | bytes_ | own).items() if n in kernel.arg_names}

    def floats(dtype: str) -> dict[str, str]:
        return dict.fromkeys(("weights", "x_scale", "bias", "out"), dtype)

    made = [Kernel("placed_int8", placed_kernel, types(placed_kernel), {"SEG": 1024, "SEGS": 1, "KB": 128, "NB": 8},
                   warps)]  # fmt: skip
    for bits, group, dtype in ((1, 0, "*fp32"), (4, 128, "*fp16"), (8, 0, "*bf16")):
        how = cut(1, group)
        assert how is not None
        cuts = {"KB": how.KB, "SEG": how.SEG, "SEGS": how.SEGS, "NB": how.NB, "BN": ROWS, "SAMPLES": 1, "PACKED": True}
        part = {**floats(dtype), "out": "*fp32" if group else "*i32"}
        made.append(Kernel(f"planes_int8_{bits}", planes_int8_kernel, types(planes_int8_kernel, **part),
                           {**_form(bits, bits < 3), **cuts, **ends, "GROUPED": group > 0, "ONE": False},
                           warps))  # fmt: skip
    made.append(Kernel("planes_int8_one", planes_int8_kernel, types(planes_int8_kernel, **floats("*fp16")),
                       {**_form(2, bipolar=False), "KB": 128, "SEG": 1024, "SEGS": 1, "NB": 16, "BN": ROWS,
                        "SAMPLES": 9, "PACKED": True, **ends, "GROUPED": False, "ONE": True}, warps))  # fmt: skip
    for grouped in (False, True):
        parts = {**floats("*fp16"), "parts": "*fp32" if grouped else "*i32"}
        made.append(Kernel(f"total_int8_{'groups' if grouped else 'rows'}", total_int8_kernel,
                           types(total_int8_kernel, **parts), {"GROUPED": grouped, **ends, "BN": 256},
                           warps))  # fmt: skip
    for bits, step, flip in ((8, 2, 0), (3, 1, 4)):
        made.append(Kernel(f"tiled_int8_{bits}", tiled_int8_kernel, types(tiled_int8_kernel, **floats("*fp16")),
                           {"BITS": bits, "STEP": step, "FLIP": flip, **ends, "BM": 64, "BN": 64, "BK": 32},
                           warps))  # fmt: skip
    return tuple(made)


KERNELS = _listed()
