"""`fake_quant`: quantize and dequantize in training, with straight-through gradients for input and scale.

Registered with `torch.library` (one node for autograd, `torch.compile` and export), for LSQ at any width, the stretched
elastic quantizers of ParetoQ (2 bits and ternary), binary, double rounding, and activations; a scale for the tensor, a
channel or a group. Levels are data: one kernel serves every width. README.md in this folder has the maths; `reference`
is the meaning; tests compare outputs and gradients.
"""


from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from kernels._check import floats, same_device, shaped
from kernels._choose import Op, choose, register
from kernels.fake_quant import reference
from kernels.fake_quant.reference import (
    BINARY,
    SCALE_FLOOR,
    SEQ2,
    TERNARY,
    Levels,
    double,
    lsq,
    symmetric,
    table,
    unsigned,
)

__all__ = [
    "BINARY",
    "SCALE_FLOOR",
    "SEQ2",
    "TERNARY",
    "Levels",
    "double",
    "fake_quant",
    "index",
    "lsq",
    "symmetric",
    "table",
    "unsigned",
]

OP = "fake_quant"
HALVES = (torch.float16, torch.bfloat16)
register(Op(OP, (torch.float32, *HALVES)))


def fake_quant(x: Tensor, scale: Tensor, levels: Levels | Tensor, group: int = 0) -> Tensor:
    """`x` on the grid of `levels`, in `x`'s dtype and shape.

    `scale`: [] for one of the whole tensor, [C] one a slice of axis 0 of `x` [C, ...], or, with `group`, [C, G] one for
    `group` elements each of a slice that is flattened, G = ceil(K / group); positive (keep it above `SCALE_FLOOR`).
    `levels`: one of the whole tensor, or data [C, 5] (float32, `table`), a row a slice: slots of a pack at widths of
    their own, or a search over widths that compiles nothing. Gradients: straight through inside the clip range for `x`,
    LSQ's for `scale`. Half precisions are computed in float32. ValueError for shapes, dtypes and devices that do not
    fit.
    """
    _fits(x, scale, levels, group)
    out: Tensor
    if not isinstance(levels, Levels):
        out = _forward_rows(x, scale, levels, group)
    elif group or levels.fine:
        out = _forward_all(x, scale, *levels.numbers, group)
    else:
        out = _forward(x, scale, levels.low, levels.high, levels.steps, levels.shift)
    return out


def index(x: Tensor, scale: Tensor, levels: Levels) -> Tensor:
    """Which level each element takes, counted from 0 (int64); `(index + first + shift) / steps * scale` is `Q(x)`
    (times `fine`, where that is set)."""
    return reference.index(x, scale, levels)


def _fits(x: Tensor, scale: Tensor, levels: Levels | Tensor, group: int) -> None:
    floats("x", x)
    floats("the scale", scale)
    if group < 0:
        raise ValueError(f"a group has {group} elements, but needs 1 or more, or 0 for none: set group")
    channels = x.shape[0] if x.dim() else 0
    if group:
        if x.dim() == 0:
            raise ValueError("x is [], but groups are of the slices of an axis 0: reshape it to [1, 1]")
        shaped("the scale", scale, [channels, -(-math.prod(x.shape[1:]) // group)])
    elif scale.dim() > 1 or (scale.dim() == 1 and (x.dim() == 0 or scale.shape[0] != channels)):
        raise ValueError(
            f"the scale has shape {list(scale.shape)}, but needs [] or [C] with C = {channels}, axis 0 of x"
            f" {list(x.shape)}: reshape it, move the channels to axis 0, or set group for [C, G]"
        )
    if isinstance(levels, Tensor):
        rows = 1 if scale.dim() == 0 or (levels.dim() == 2 and levels.shape[0] == 1) else channels
        if x.dim() == 0:
            raise ValueError("x is [], but levels as data are of the slices of an axis 0: reshape it to [1]")
        shaped("the levels", levels, [rows, 5], [torch.float32])
        same_device("x", x, scale, levels)
    else:
        same_device("x", x, scale)


def _wide(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Half precisions as float32; where dtypes differ, all as the widest."""
    dtype = tensors[0].dtype
    for t in tensors[1:]:
        dtype = torch.promote_types(dtype, t.dtype)
    dtype = torch.float32 if dtype in HALVES else dtype
    return tuple(t.to(dtype) for t in tensors)


def _quantized(x: Tensor, scale: Tensor, levels: Levels | Tensor, group: int) -> Tensor:
    provider = choose(OP, x, scale).provider
    if provider == "triton":
        from kernels.fake_quant import triton

        return triton.forward(x, scale, levels, group)
    usual = provider == "torch" and x.dtype is scale.dtype and x.dtype not in HALVES and not group
    if usual and isinstance(levels, Levels) and not levels.fine:
        return _in_place(x, scale, levels)
    wide, a = _wide(x, scale)
    return _like(reference.quantize(wide, a, levels, group), x)


def _like(made: Tensor, x: Tensor) -> Tensor:
    """`made` in `x`'s dtype and order in memory, which is what the fake operators promise."""
    made = made.to(x.dtype)
    if made.is_contiguous() and x.is_contiguous():
        return made
    wanted = torch.empty_like(x)
    return made if made.stride() == wanted.stride() else wanted.copy_(made)


def _in_place(x: Tensor, scale: Tensor, levels: Levels) -> Tensor:
    """`reference.quantize` in one buffer: the same bits."""
    u = x / reference.expand(scale, x)
    u.clamp_(levels.low, levels.high)
    if levels.steps != 1.0:
        u.mul_(levels.steps)
    if levels.shift:
        u.sub_(levels.shift)
    u.round_()
    if levels.shift:
        u.add_(levels.shift)
    if levels.steps != 1.0:
        u.div_(levels.steps)
    return u.mul_(reference.expand(scale, x))


def _gradients(
    grad: Tensor, x: Tensor, scale: Tensor, levels: Levels | Tensor, group: int
) -> tuple[Tensor, Tensor]:
    if choose(OP, x, scale, grad).provider == "triton":
        from kernels.fake_quant import triton

        to_x, to_scale = triton.backward(grad, x, scale, levels, group)
    else:
        g, wide, a = _wide(grad, x, scale)
        to_x, to_scale = reference.backward(g, wide, a, levels, group)
    return _like(to_x, grad), to_scale.to(scale.dtype)


# Three operators: the first has as few arguments as the usual case needs (each costs a microsecond or two on a CPU),
# the second all that there are, the third has levels as data.


@torch.library.custom_op("searchd::fake_quant", mutates_args=())
def _forward(x: Tensor, scale: Tensor, low: float, high: float, steps: float, shift: float) -> Tensor:
    return _quantized(x, scale, Levels(low, high, steps, shift), 0)


@_forward.register_fake
def _(x: Tensor, scale: Tensor, low: float, high: float, steps: float, shift: float) -> Tensor:  # noqa: ARG001
    return torch.empty_like(x)


@torch.library.custom_op("searchd::fake_quant_all", mutates_args=())
def _forward_all(
    x: Tensor, scale: Tensor, low: float, high: float, steps: float, shift: float, fine: float, group: int
) -> Tensor:
    return _quantized(x, scale, Levels(low, high, steps, shift, fine), group)


@_forward_all.register_fake
def _(
    x: Tensor, scale: Tensor, low: float, high: float, steps: float, shift: float, fine: float, group: int  # noqa: ARG001
) -> Tensor:
    return torch.empty_like(x)


@torch.library.custom_op("searchd::fake_quant_backward", mutates_args=())
def _backward(
    grad: Tensor, x: Tensor, scale: Tensor, low: float, high: float, steps: float, shift: float, fine: float, group: int
) -> tuple[Tensor, Tensor]:
    return _gradients(grad, x, scale, Levels(low, high, steps, shift, fine), group)


@_backward.register_fake
def _(
    grad: Tensor, x: Tensor, scale: Tensor, low: float, high: float, steps: float, shift: float, fine: float, group: int  # noqa: ARG001
) -> tuple[Tensor, Tensor]:
    return torch.empty_like(grad), torch.empty_like(scale, memory_format=torch.contiguous_format)


@torch.library.custom_op("searchd::fake_quant_inside", mutates_args=())
def _inside(
    grad: Tensor, x: Tensor, scale: Tensor, low: float, high: float, steps: float, shift: float, fine: float, group: int
) -> Tensor:
    """d/dx alone, by the kernel."""
    from kernels.fake_quant import triton

    return triton.straight_through(grad, x, scale, Levels(low, high, steps, shift, fine), group)


@_inside.register_fake
def _(
    grad: Tensor, x: Tensor, scale: Tensor, low: float, high: float, steps: float, shift: float, fine: float, group: int  # noqa: ARG001
) -> Tensor:
    return torch.empty_like(grad)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG001
    x, scale, *numbers = inputs
    ctx.save_for_backward(x, scale)
    ctx.numbers = numbers if len(numbers) == 6 else (*numbers, 0.0, 0)


def _to_both(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor | None]:
    x, scale = ctx.saved_tensors
    if ctx.needs_input_grad[1]:
        to_x, to_scale = _backward(grad, x, scale, *ctx.numbers)
        return to_x, to_scale
    if choose(OP, x, scale, grad).provider == "triton":
        return _inside(grad, x, scale, *ctx.numbers), None
    g, wide, a = _wide(grad, x, scale)
    *numbers, group = ctx.numbers
    return reference.straight_through(g, wide, a, Levels(*numbers), group).to(x.dtype), None


def _autograd(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    return *_to_both(ctx, grad), None, None, None, None


def _autograd_all(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    return *_to_both(ctx, grad), None, None, None, None, None, None


_forward.register_autograd(_autograd, setup_context=_setup)
_forward_all.register_autograd(_autograd_all, setup_context=_setup)


@torch.library.custom_op("searchd::fake_quant_rows", mutates_args=())
def _forward_rows(x: Tensor, scale: Tensor, levels: Tensor, group: int) -> Tensor:
    return _quantized(x, scale, levels, group)


@_forward_rows.register_fake
def _(x: Tensor, scale: Tensor, levels: Tensor, group: int) -> Tensor:  # noqa: ARG001
    return torch.empty_like(x)


@torch.library.custom_op("searchd::fake_quant_rows_backward", mutates_args=())
def _backward_rows(grad: Tensor, x: Tensor, scale: Tensor, levels: Tensor, group: int) -> tuple[Tensor, Tensor]:
    return _gradients(grad, x, scale, levels, group)


@_backward_rows.register_fake
def _(grad: Tensor, x: Tensor, scale: Tensor, levels: Tensor, group: int) -> tuple[Tensor, Tensor]:  # noqa: ARG001
    return torch.empty_like(grad), torch.empty_like(scale, memory_format=torch.contiguous_format)


def _setup_rows(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG001
    x, scale, levels, ctx.group = inputs
    ctx.save_for_backward(x, scale, levels)


def _autograd_rows(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    to_x, to_scale = _backward_rows(grad, *ctx.saved_tensors, ctx.group)
    return to_x, to_scale, None, None


_forward_rows.register_autograd(_autograd_rows, setup_context=_setup_rows)
