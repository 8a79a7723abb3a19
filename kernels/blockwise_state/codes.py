"""Codes and values of packed states inside kernels: `decode`, `encode`, `top`, and packed loads and stores.

The nearest entry of the dynamic map is computed, not looked up: with c values of one decade in a row, the index of a
value is linear in it, so a chain of bits − 2 selections (one a decade) and one multiplication find it. A binary search
would read memory 8 times a value, which no cache serves at the speed of the rest of the step. Where a value lies within
a rounding (1e-6 of itself) of the border between two codes either may come out; elsewhere it is `reference.nearest`.
Scales below 1e-37, near the end of float32, count as that in the division.
"""

from __future__ import annotations

import triton
import triton.language as tl

SMALLEST = tl.constexpr(1e-37)
"""Of which the inverse is still finite in float32."""


@triton.jit
def top(x):
    """The largest |x| [R] of each row of x [R, C] (float32), by its bits: those of NaN are above all others."""
    bits = x.to(tl.int32, bitcast=True) & 0x7FFFFFFF
    return tl.max(bits, axis=1).to(tl.float32, bitcast=True)


@triton.jit
def encode(u, BITS: tl.constexpr, SIGNED: tl.constexpr, LINEAR: tl.constexpr):
    """The code (int32) of the nearest entry of the map for u (float32) in [-1, 1]; some code for NaN."""
    if LINEAR:
        count: tl.constexpr = 2**BITS
        return tl.minimum(tl.maximum(u * count - 0.5, 0.0), count - 1).to(tl.int32)
    else:
        return _dynamic(u, BITS, SIGNED)


@triton.constexpr_function
def _slope(i, bits, first):
    """By what a value of decade i is multiplied: its count of values over its width. The one value of the first decade
    of signed maps: such that it begins half-way from 0."""
    if i == 0 and first == 1:
        return (1 / 9) / (0.275 * 10.0 ** (2 - bits))
    return first * 2**i / (0.9 * 10.0 ** (i - bits + 2))


@triton.constexpr_function
def _border(i, bits, first):
    """Half-way from the last value of decade i − 1 to the first one of decade i."""
    ten, count = 10.0 ** (i - bits + 2), first * 2**i
    return (ten / 10 * (1 - 0.9 / count) + ten * (0.1 + 0.45 / count)) / 2


@triton.jit
def _dynamic(u, BITS: tl.constexpr, SIGNED: tl.constexpr):
    """Decade i = 0 … BITS − 2 has c = 2^i values (unsigned: 2^(i+1)), 10^(i − BITS + 2) (.1 + .9 (j + ½) / c). With k =
    c + j, so that k counts on from decade to decade, borders inside a decade are where slope · u + 8 c / 9 is whole;
    its last k is `final` = 2 c − 1."""
    first: tl.constexpr = 1 if SIGNED else 2
    last: tl.constexpr = first * 2 ** (BITS - 2)
    size = tl.abs(u)
    slope = tl.full(u.shape, _slope(0, BITS, first), tl.float32)
    final = tl.full(u.shape, 2.0 * first - 1, tl.float32)
    for i in tl.static_range(1, BITS - 1):
        here = size >= _border(i, BITS, first)
        slope = tl.where(here, _slope(i, BITS, first), slope)
        final = tl.where(here, 2.0 * first * 2**i - 1, final)
    k = tl.minimum(size * slope + (final * (4.0 / 9.0) + 4.0 / 9.0), final)
    k = tl.where(u >= 1 - 0.225 / last, 2.0 * last, k)  # nearer to 1, which has no negative, than to what is below
    if SIGNED:
        sign = u.to(tl.int32, bitcast=True) & -0x80000000
        return (k.to(tl.int32, bitcast=True) | sign).to(tl.float32, bitcast=True).to(tl.int32) + (2 ** (BITS - 1) - 1)
    else:
        return tl.where(u >= 0.1625 * 10.0 ** (2 - BITS), k.to(tl.int32), 1) - 1  # nearer to 0 than to the smallest


@triton.jit
def _halves(start, n, ROWS: tl.constexpr, BLOCK: tl.constexpr, MASKED: tl.constexpr):
    half: tl.constexpr = BLOCK // 2
    at = start // 2 + tl.arange(0, ROWS)[:, None] * half + tl.arange(0, half)[None, :]
    return at, (2 * at < n) if MASKED else None


@triton.jit
def load_codes(codes, start, n, BITS: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr, MASKED: tl.constexpr):
    """Codes [ROWS, BLOCK] (int32) of the values from number `start` (even) on of a state of n values."""
    if BITS == 8:
        at = start + tl.arange(0, ROWS)[:, None] * BLOCK + tl.arange(0, BLOCK)[None, :]
        found = tl.load(codes + at, mask=at < n, other=0) if MASKED else tl.load(codes + at)
        return found.to(tl.int32)
    else:
        at, mask = _halves(start, n, ROWS, BLOCK, MASKED)
        byte = (tl.load(codes + at, mask=mask, other=0) if MASKED else tl.load(codes + at)).to(tl.int32)
        return tl.reshape(tl.join(byte & 15, byte >> 4), (ROWS, BLOCK))


@triton.jit
def store_codes(codes, new, start, n, BITS: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
                MASKED: tl.constexpr):  # fmt: skip
    """Writes the codes `new` [ROWS, BLOCK] where `load_codes` reads them; what fills up a last byte is 0."""
    at = start + tl.arange(0, ROWS)[:, None] * BLOCK + tl.arange(0, BLOCK)[None, :]
    if BITS == 8:
        tl.store(codes + at, new.to(tl.uint8), mask=(at < n) if MASKED else None)
    else:
        kept = tl.where(at < n, new, 0) if MASKED else new
        low, high = tl.split(tl.reshape(kept, (ROWS, BLOCK // 2, 2)))
        half, mask = _halves(start, n, ROWS, BLOCK, MASKED)
        tl.store(codes + half, (low | (high << 4)).to(tl.uint8), mask=mask)


@triton.jit
def load_state(codes, scales, values, start, n, BITS: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
               MASKED: tl.constexpr):  # fmt: skip
    """The state [ROWS, BLOCK] (float32) of the blocks from value `start` on, 0 behind its end; `values`: the map."""
    block = start // BLOCK + tl.arange(0, ROWS)
    scale = tl.load(scales + block, mask=block * BLOCK < n, other=0.0) if MASKED else tl.load(scales + block)
    found = tl.load(values + load_codes(codes, start, n, BITS, ROWS, BLOCK, MASKED)) * scale[:, None]
    if MASKED:
        at = start + tl.arange(0, ROWS)[:, None] * BLOCK + tl.arange(0, BLOCK)[None, :]
        found = tl.where(at < n, found, 0.0)
    return found


@triton.jit
def store_state(
    codes, scales, new, start, n, BITS: tl.constexpr, SIGNED: tl.constexpr, LINEAR: tl.constexpr, ROWS: tl.constexpr,
    BLOCK: tl.constexpr, MASKED: tl.constexpr,
):  # fmt: skip
    """Packs the values `new` [ROWS, BLOCK] and writes them where `load_state` reads them."""
    if MASKED:
        at = start + tl.arange(0, ROWS)[:, None] * BLOCK + tl.arange(0, BLOCK)[None, :]
        new = tl.where(at < n, new, 0.0)
    scale = top(new)
    code = encode(new * (1 / tl.maximum(scale, SMALLEST))[:, None], BITS, SIGNED, LINEAR)
    store_codes(codes, code, start, n, BITS, ROWS, BLOCK, MASKED)
    block = start // BLOCK + tl.arange(0, ROWS)
    tl.store(scales + block, scale, mask=(block * BLOCK < n) if MASKED else None)
