"""`lowbit_linear`: a linear layer whose weights of 1 to 8 bits lie in bit-planes; and products of two such matrices.

Triton on a GPU, C++ on a CPU (`cpp`). Registered with `torch.library` (one node for autograd, `torch.compile` and
export). README.md in this folder has the maths and the layout; `reference` is the meaning, in float64 or in integers;
tests compare outputs and gradients. Planes have no gradient; inputs in floats, scales and bias have. Inputs in 8-bit
integers are an operator of their own (`eight`), for inference.
"""


from __future__ import annotations

import functools
import math
from typing import Any

import torch
from torch import Tensor

from kernels._build import BuildError
from kernels._check import FLOATS, same_device
from kernels._choose import Op, choose, refuse, register
from kernels.lowbit_linear import eight, reference
from kernels.lowbit_linear.reference import Format, decode, encode, pack, quantize, unpack
from kernels.lowbit_linear.values import ROWS, values

__all__ = ["Format", "decode", "encode", "lowbit_linear", "pack", "plane_product", "quantize", "unpack"]

OP = "lowbit_linear"
TAKEN = (torch.float32, torch.float16, torch.bfloat16)
register(Op(OP, TAKEN, cpp=TAKEN))
PRODUCT = "plane_product"
register(Op(PRODUCT, cpp=(torch.uint8,)))

WIDEST = 2**31 - 1
LARGEST = 128
"""Of the absolute values of int8."""


def lowbit_linear(
    x: Tensor, planes: Tensor, scales: Tensor, bias: Tensor | None = None, *, bipolar: bool, group: int = 0,
    relu: bool = False, x_scale: Tensor | None = None, x_levels: tuple[int, int, int] | None = None,
) -> Tensor:  # fmt: skip
    """`relu?(x Wᵀ + bias)` [..., N] in `x`'s dtype, for x [..., K] of floats.

    `planes` [bits, N, ceil(K / 8)] (uint8) as `pack` makes them; `scales` [N, G], one a `group` of columns (0: one a
    row, G = 1), and `bias` [N], floats. Half precisions are accumulated in float32.

    With `x_scale`, floats, x is int8 and stands for `x_scale · x`: one scale of all ([]), or one a row ([...], as x
    without its last axis). Sums over a group are exact integers, the answer has the dtype of `x_scale` and no gradient.
    Floats are rounded first where `x_levels` = (low, high, zero) says so: x over its scale, half to even, within
    [low, high], less zero, so that it fits int8; a row with a NaN answers NaN. A zero point of x is for the bias to
    count: + zero · x_scale · Σ W[n, :].

    ValueError for shapes, dtypes and devices that do not fit, and for sums of integers that might leave int32.
    """
    _fits(x, planes, scales, bias, group, x_scale, x_levels)
    out: Tensor
    if x_scale is None:
        out = _forward(x, planes, scales, bias, bipolar, group, relu)
    else:
        _within(planes, min(group or x.shape[-1], x.shape[-1]), bipolar)
        out = eight.forward(x, x_scale, planes, scales, bias, bipolar, group, relu, list(x_levels or ()))
    return out


def plane_product(a: Tensor, b: Tensor, columns: int, *, a_bipolar: bool, b_bipolar: bool) -> Tensor:
    """A Bᵀ [A, B] (int32), exact, of integer matrices [A, columns] and [B, columns] in planes of either format.

    ValueError where the planes do not fit, or where a sum might leave int32.
    """
    for planes, name in ((a, "a"), (b, "b")):
        _planes(planes, columns, name)
    if a.device != b.device:
        raise ValueError(f"a is on {a.device} and b on {b.device}, but both have to be on one: move one of them")
    most = columns * Format(a.shape[0], a_bipolar).most * Format(b.shape[0], b_bipolar).most
    if most > WIDEST:
        raise ValueError(
            f"a sum over {columns} columns may reach {most}, but int32 ends at {WIDEST}: split the columns, or take"
            " fewer bits"
        )
    out: Tensor = _product(a, b, columns, a_bipolar, b_bipolar)
    return out


def _planes(planes: Tensor, columns: int, name: str) -> None:
    wide = -(-columns // 8)
    if planes.dtype != torch.uint8 or planes.dim() != 3 or planes.shape[2] != wide or not 1 <= planes.shape[0] <= 8:
        raise ValueError(
            f"{name} is {list(planes.shape)} of {planes.dtype}, but planes of {columns} columns are"
            f" [bits, rows, {wide}] of torch.uint8 with 1 to 8 bits: make them with pack"
        )


_most = functools.cache(lambda bits, bipolar: Format(bits, bipolar).most * LARGEST)  # small layers ask often


def _within(planes: Tensor, columns: int, bipolar: bool) -> None:
    most = columns * _most(planes.shape[0], bipolar)
    if most > WIDEST:
        raise ValueError(
            f"a sum over {columns} columns may reach {most}, but int32 ends at {WIDEST}: set a smaller group, split the"
            " columns, or take fewer bits"
        )


def _fits(
    x: Tensor, planes: Tensor, scales: Tensor, bias: Tensor | None, group: int, x_scale: Tensor | None,
    x_levels: tuple[int, int, int] | None,
) -> None:  # fmt: skip
    if x_levels is not None:
        low, high, zero = x_levels
        if x_scale is None or not -128 <= low - zero <= high - zero <= 127:
            raise ValueError(
                f"x_levels = {x_levels}, but (low, high, zero) need an x_scale and −128 <= low − zero <= high − zero <="
                " 127: give x_scale, or choose levels that fit int8"
            )
    if x_scale is None and (x.dim() == 0 or x.dtype not in FLOATS):
        raise ValueError(
            f"x is {list(x.shape)} of {x.dtype}, but has to be [..., K] of floats: give int8 an x_scale; for integers"
            " in planes there is plane_product"
        )
    if x_scale is not None:
        if x.dim() == 0 or x.dtype not in ((torch.int8,) if x_levels is None else FLOATS):
            kind = "torch.int8: quantize it, or give x_levels" if x_levels is None else "floats: leave x_levels out"
            raise ValueError(f"x is {list(x.shape)} of {x.dtype}, but with an x_scale it has to be [..., K] of {kind}")
        if (x_scale.dim() and x_scale.shape != x.shape[:-1]) or x_scale.dtype not in FLOATS:
            raise ValueError(
                f"x_scale is {list(x_scale.shape)} of {x_scale.dtype}, but has to be [] or {list(x.shape[:-1])} of"
                f" floats, one of all or one a row of x {list(x.shape)}: reshape it"
            )
    columns = x.shape[-1]
    _planes(planes, columns, "planes")
    if group < 0:
        raise ValueError(f"a group has {group} columns, but needs 1 or more, or 0 for whole rows: set group")
    rows, count = planes.shape[1], reference.groups(columns, group)
    if list(scales.shape) != [rows, count] or scales.dtype not in FLOATS:
        raise ValueError(
            f"the scales are {list(scales.shape)} of {scales.dtype}, but {rows} rows of {columns} columns in groups of"
            f" {group or columns} have [{rows}, {count}] of floats: reshape them, or set group"
        )
    if bias is not None and (list(bias.shape) != [rows] or bias.dtype not in FLOATS):
        raise ValueError(f"the bias is {list(bias.shape)} of {bias.dtype}, but needs [{rows}] of floats: reshape it")
    same_device("x", x, planes, scales, bias, x_scale)


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


@torch.library.custom_op("searchd::lowbit_linear", mutates_args=())
def _forward(
    x: Tensor, planes: Tensor, scales: Tensor, bias: Tensor | None, bipolar: bool, group: int, relu: bool
) -> Tensor:
    provider = choose(OP, x).provider
    if provider == "triton":
        from kernels.lowbit_linear import triton as fast

        return fast.linear(x, planes, scales, bias, bipolar=bipolar, group=group, relu=relu)
    if provider == "cpp":
        from kernels.lowbit_linear import cpp

        try:
            return cpp.linear(x, planes, scales, bias, bipolar=bipolar, group=group, relu=relu)
        except BuildError as e:
            refuse(OP, str(e))
            provider = choose(OP, x).provider  # an error, where C++ is asked for
    if provider == "reference":
        exact = reference.linear(x, planes, scales, bias, bipolar=bipolar, group=group, relu=relu)
        return exact.to(x.dtype).contiguous()
    dtype, columns = _wide(x.dtype), x.shape[-1]
    inputs = x.reshape(math.prod(x.shape[:-1]), columns).to(dtype)  # -1 has no meaning without elements
    out = torch.empty(inputs.shape[0], planes.shape[1], dtype=dtype, device=x.device)
    for first in range(0, planes.shape[1], ROWS):
        rows = slice(first, first + ROWS)
        w = values(planes[:, rows], columns, bipolar, dtype)
        if scales.shape[1] > 1:
            w *= reference.spread(scales[rows].to(dtype), columns, group)
        out[:, rows] = inputs @ w.T
    if scales.shape[1] == 1:
        out *= scales[:, 0].to(dtype)
    if bias is not None:
        out += bias.to(dtype)
    if relu:
        out.clamp_min_(0)
    return out.to(x.dtype).view(*x.shape[:-1], planes.shape[1])


@_forward.register_fake
def _(
    x: Tensor, planes: Tensor, scales: Tensor, bias: Tensor | None, bipolar: bool, group: int, relu: bool  # noqa: ARG001
) -> Tensor:
    return x.new_empty(*x.shape[:-1], planes.shape[1])


@torch.library.custom_op("searchd::lowbit_linear_backward", mutates_args=())
def _backward(
    grad: Tensor, y: Tensor, x: Tensor, planes: Tensor, scales: Tensor, bipolar: bool, group: int, relu: bool
) -> tuple[Tensor, Tensor, Tensor]:
    wide = grad.to(_wide(grad.dtype))
    to_x, to_scales, to_bias = reference.backward(
        wide, y, x, planes, scales, bipolar=bipolar, group=group, relu=relu
    )
    # A custom operator may answer no view of what it was given.
    return to_x.to(x.dtype).clone(), to_scales.to(scales.dtype), to_bias


@_backward.register_fake
def _(
    grad: Tensor, y: Tensor, x: Tensor, planes: Tensor, scales: Tensor, bipolar: bool, group: int, relu: bool  # noqa: ARG001
) -> tuple[Tensor, Tensor, Tensor]:
    to_bias = grad.new_empty(planes.shape[1], dtype=_wide(grad.dtype))
    return x.new_empty(x.shape), torch.empty_like(scales, memory_format=torch.contiguous_format), to_bias


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, planes, scales, bias, ctx.bipolar, ctx.group, ctx.relu = inputs
    ctx.bias = None if bias is None else bias.dtype
    ctx.save_for_backward(x, planes, scales, output)


def _autograd(
    ctx: Any, grad: Tensor
) -> tuple[Tensor | None, None, Tensor | None, Tensor | None, None, None, None]:
    x, planes, scales, output = ctx.saved_tensors
    to_x, to_scales, to_bias = _backward(grad, output, x, planes, scales, ctx.bipolar, ctx.group, ctx.relu)
    return to_x, None, to_scales, None if ctx.bias is None else to_bias.to(ctx.bias), None, None, None


_forward.register_autograd(_autograd, setup_context=_setup)


@torch.library.custom_op("searchd::plane_product", mutates_args=())
def _product(a: Tensor, b: Tensor, columns: int, a_bipolar: bool, b_bipolar: bool) -> Tensor:
    if a.is_cpu and choose(PRODUCT, a).provider == "cpp":
        from kernels.lowbit_linear import cpp

        try:
            return cpp.product(a, b, columns, a_bipolar=a_bipolar, b_bipolar=b_bipolar)
        except BuildError as e:
            refuse(PRODUCT, str(e))
            choose(PRODUCT, a)  # an error, where C++ is asked for
    return reference.product(a, b, columns, a_bipolar=a_bipolar, b_bipolar=b_bipolar).to(torch.int32)


@_product.register_fake
def _(a: Tensor, b: Tensor, columns: int, a_bipolar: bool, b_bipolar: bool) -> Tensor:  # noqa: ARG001
    return a.new_empty(a.shape[1], b.shape[1], dtype=torch.int32)
