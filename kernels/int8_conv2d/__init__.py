"""`int8_conv2d`: convolutions in 8-bit integers, scaled a channel or requantized by dyadic numbers; linear layers too.

Registered with `torch.library`; README.md in this folder has the maths, `reference` is the meaning in integers. For
inference: there are no gradients.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from kernels._check import same_device, shaped
from kernels._choose import Op, choose, register
from kernels.int8_conv2d import reference
from kernels.int8_conv2d.reference import FURTHEST, WIDEST, Geometry, dyadic, limits, requantize

__all__ = ["dyadic", "int8_conv2d", "requantize", "requantized_conv2d", "requantized_linear"]

OP = "int8_conv2d"
register(Op(OP, (torch.int8,)))

EXACT = 1024
"""128² · 1,024 = 2^24: so many products of codes add up exactly in float32."""
Pair = int | Sequence[int]


def int8_conv2d(
    x: Tensor, codes: Tensor, scales: Tensor, bias: Tensor | None = None, *, stride: Pair = 1, padding: Pair = 0,
    dilation: Pair = 1, groups: int = 1, relu: bool = False,
) -> Tensor:  # fmt: skip
    """`relu?(scales · (x ∗ codes) + bias)` [B, N, H', W'] in `scales`' dtype, for x [B, C, H, W] (int8).

    `codes` [N, C / groups, R, S] int8; `scales` [N]: S_x S_w of each output, and `bias` [N], floats. Sums are exact.
    ValueError for shapes, dtypes and devices that do not fit, and for sums that might leave int32.
    """
    at = _fits(x, codes, stride, padding, dilation, groups)
    shaped("scales", scales, [codes.shape[0]])
    if bias is not None:
        shaped("bias", bias, [codes.shape[0]])
    same_device("x", x, codes, scales, bias)
    out: Tensor = _scaled(x, codes, scales, bias, at.stride, at.padding, at.dilation, at.groups, relu)
    return out


def requantized_conv2d(
    x: Tensor, codes: Tensor, multiplier: Tensor, shift: Tensor, bias: Tensor | None = None, *, stride: Pair = 1,
    padding: Pair = 0, dilation: Pair = 1, groups: int = 1, relu: bool = False, bits: int = 8,
) -> Tensor:  # fmt: skip
    """`clip(((x ∗ codes + bias) · multiplier + 2^(shift − 1)) >> shift)` [B, N, H', W'], for x [B, C, H, W], both int8.

    `multiplier` and `shift` [N] int32: `dyadic` of S_x S_w / S_y; `bias` [N] int32, in units of S_x S_w. Clipped to
    `bits` (2 to 8) in two's complement, from 0 with `relu`. Shifts below 1 or above 62 count as those. ValueError as
    above.
    """
    at = _fits(x, codes, stride, padding, dilation, groups)
    if not 2 <= bits <= 8:
        raise ValueError(f"bits = {bits}, but an answer has 2 to 8: choose a width in between")
    for name, given in (("multiplier", multiplier), ("shift", shift), ("bias", bias)):
        if given is not None:
            shaped(name, given, [codes.shape[0]], (torch.int32,))
    same_device("x", x, codes, multiplier, shift, bias)
    out: Tensor = _requantized(
        x, codes, multiplier, shift, bias, at.stride, at.padding, at.dilation, at.groups, relu, bits
    )
    return out


def requantized_linear(
    x: Tensor, codes: Tensor, multiplier: Tensor, shift: Tensor, bias: Tensor | None = None, *, relu: bool = False,
    bits: int = 8,
) -> Tensor:  # fmt: skip
    """`requantized_conv2d` of one pixel: [..., N] (int8) for x [..., K] and codes [N, K], both int8."""
    if x.dim() == 0 or codes.dim() != 2 or x.shape[-1] != codes.shape[1]:
        raise ValueError(
            f"x is {list(x.shape)} and codes are {list(codes.shape)}, but have to be [..., K] and [N, K]: reshape them"
        )
    pixels = x.reshape(math.prod(x.shape[:-1]), x.shape[-1], 1, 1)
    y = requantized_conv2d(pixels, codes[:, :, None, None], multiplier, shift, bias, relu=relu, bits=bits)
    return y.view(*x.shape[:-1], codes.shape[0])


def _pair(name: str, given: Pair, least: int) -> tuple[int, int]:
    both = (given, given) if isinstance(given, int) else tuple(given)
    if len(both) != 2 or min(both) < least:
        raise ValueError(f"{name} is {given}, but has to be one or two integers from {least}: (down, across)")
    return both[0], both[1]


def _fits(x: Tensor, codes: Tensor, stride: Pair, padding: Pair, dilation: Pair, groups: int) -> Geometry:
    for name, given, form in (("x", x, "[B, C, H, W]"), ("codes", codes, "[N, C / groups, R, S]")):
        if given.dim() != 4 or given.dtype != torch.int8:
            raise ValueError(
                f"{name} is {list(given.shape)} of {given.dtype}, but needs {form} of torch.int8: quantize it"
            )
    at = Geometry(_pair("stride", stride, 1), _pair("padding", padding, 0), _pair("dilation", dilation, 1), groups)
    if groups < 1 or x.shape[1] != groups * codes.shape[1] or codes.shape[0] % groups:
        raise ValueError(
            f"x has {x.shape[1]} channels, codes are {list(codes.shape)} and groups = {groups}, but codes have to be"
            " [N, C / groups, R, S] with N a multiple of groups: set groups"
        )
    if min(codes.shape[2:]) < 1 or min(at.size(x, codes)) < 1:
        raise ValueError(
            f"x is {list(x.shape)} and codes are {list(codes.shape)}, but no place of the kernel lies inside: pad more"
        )
    if math.prod(codes.shape[1:]) * 2**14 > WIDEST:
        raise ValueError(
            f"a sum has {math.prod(codes.shape[1:])} products, but from 131,072 on it may leave int32: split them"
        )
    return at


def _sums(x: Tensor, codes: Tensor, at: Geometry) -> Tensor:
    """`reference.sums` as int32 [B, N, H', W']: products of matrices in float32, as many columns as that has exactly.
    (A convolution in float32 may take another algorithm, Winograd's, which is not exact.)"""
    down, across = at.size(x, codes)
    samples, rows, inner = x.shape[0], codes.shape[0], math.prod(codes.shape[1:])
    out = torch.zeros(samples, at.groups, rows // at.groups, down * across, dtype=torch.int32, device=x.device)
    if not out.numel() or not inner:
        return out.view(samples, rows, down, across)
    seen = torch.nn.functional.unfold(x.float(), codes.shape[2:], at.dilation, at.padding, at.stride)
    seen = seen.view(samples, at.groups, inner, down * across)
    w = codes.reshape(at.groups, rows // at.groups, inner).float()
    for i in range(0, inner, EXACT):
        out += (w[:, :, i : i + EXACT] @ seen[:, :, i : i + EXACT]).to(torch.int32)
    return out.view(samples, rows, down, across)


def _geometry(stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int], groups: int) -> Geometry:
    return Geometry((stride[0], stride[1]), (padding[0], padding[1]), (dilation[0], dilation[1]), groups)


@torch.library.custom_op("searchd::int8_conv2d", mutates_args=())
def _scaled(
    x: Tensor, codes: Tensor, scales: Tensor, bias: Tensor | None, stride: Sequence[int], padding: Sequence[int],
    dilation: Sequence[int], groups: int, relu: bool,
) -> Tensor:  # fmt: skip
    at, provider = _geometry(stride, padding, dilation, groups), choose(OP, x).provider
    if provider == "triton" and scales.dtype != torch.float64:
        from kernels.int8_conv2d import triton as fast

        return fast.scaled(x, codes, scales, bias, at, relu)
    wide = torch.float32 if provider != "reference" and scales.dtype != torch.float64 else torch.float64
    whole = reference.sums(x, codes, at) if provider == "reference" else _sums(x, codes, at)
    y = whole.to(wide) * scales.to(wide)[:, None, None]
    if bias is not None:
        y += bias.to(wide)[:, None, None]
    if relu:
        y.clamp_min_(0)
    return y.to(scales.dtype)


@_scaled.register_fake
def _(
    x: Tensor, codes: Tensor, scales: Tensor, bias: Tensor | None, stride: Sequence[int], padding: Sequence[int],  # noqa: ARG001
    dilation: Sequence[int], groups: int, relu: bool,  # noqa: ARG001
) -> Tensor:  # fmt: skip
    down, across = _geometry(stride, padding, dilation, groups).size(x, codes)
    return scales.new_empty(x.shape[0], codes.shape[0], down, across)


@torch.library.custom_op("searchd::requantized_conv2d", mutates_args=())
def _requantized(
    x: Tensor, codes: Tensor, multiplier: Tensor, shift: Tensor, bias: Tensor | None, stride: Sequence[int],
    padding: Sequence[int], dilation: Sequence[int], groups: int, relu: bool, bits: int,
) -> Tensor:  # fmt: skip
    at, provider = _geometry(stride, padding, dilation, groups), choose(OP, x).provider
    low, high = limits(bits, relu)
    shift = shift.clamp(1, FURTHEST)
    if provider == "triton":
        from kernels.int8_conv2d import triton as fast

        return fast.requantized(x, codes, multiplier, shift, bias, at, low, high)
    whole = reference.sums(x, codes, at) if provider == "reference" else _sums(x, codes, at).to(torch.int64)
    if bias is not None:
        whole += bias.to(torch.int64)[:, None, None]
    return requantize(whole, multiplier, shift, low, high)


@_requantized.register_fake
def _(
    x: Tensor, codes: Tensor, multiplier: Tensor, shift: Tensor, bias: Tensor | None, stride: Sequence[int],  # noqa: ARG001
    padding: Sequence[int], dilation: Sequence[int], groups: int, relu: bool, bits: int,  # noqa: ARG001
) -> Tensor:  # fmt: skip
    down, across = _geometry(stride, padding, dilation, groups).size(x, codes)
    return x.new_empty(x.shape[0], codes.shape[0], down, across)
