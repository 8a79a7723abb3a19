"""`fake_quant`: quantize and dequantize in training, with straight-through gradients for input and scale.

One operator, registered with `torch.library` (so that it is one node for autograd, `torch.compile` and export),
for LSQ at any width, the stretched elastic quantizers of ParetoQ (2 bits and ternary), binary, and activations.
README.md in this folder has the maths; `reference` is the meaning; tests compare outputs and gradients.
"""


from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from kernels.fake_quant import reference
from kernels.fake_quant.reference import BINARY, SCALE_FLOOR, SEQ2, TERNARY, Levels, lsq, symmetric, unsigned

__all__ = [
    "BINARY",
    "SCALE_FLOOR",
    "SEQ2",
    "TERNARY",
    "Levels",
    "fake_quant",
    "index",
    "lsq",
    "symmetric",
    "unsigned",
]


def fake_quant(x: Tensor, scale: Tensor, levels: Levels) -> Tensor:
    """`x` on the grid of `levels`, in `x`'s dtype and shape.

    `scale`: [] for one of the whole tensor, or [C] one a slice of axis 0 of `x` [C, ...]; positive (keep it above
    `SCALE_FLOOR`). Gradients: straight through inside the clip range for `x`, LSQ's for `scale`.
    """
    if scale.dim() > 1 or (scale.dim() == 1 and scale.shape[0] != x.shape[0]):
        raise ValueError(
            f"the scale has shape {list(scale.shape)}, but needs [] or [C] with C = {x.shape[0]}, axis 0 of x"
            f" {list(x.shape)}: reshape it, or move the channels to axis 0"
        )
    out: Tensor = _forward(x, scale, levels.low, levels.high, levels.steps, levels.shift)
    return out


def index(x: Tensor, scale: Tensor, levels: Levels) -> Tensor:
    """Which level each element takes, counted from 0 (int64); `(index + first + shift) / steps * scale` is `Q(x)`."""
    return reference.index(x, scale, levels)


@torch.library.custom_op("searchd::fake_quant", mutates_args=())
def _forward(x: Tensor, scale: Tensor, low: float, high: float, steps: float, shift: float) -> Tensor:
    u = x / reference.expand(scale, x)
    u.clamp_(low, high)
    if steps != 1.0:
        u.mul_(steps)
    if shift:
        u.sub_(shift)
    u.round_()
    if shift:
        u.add_(shift)
    if steps != 1.0:
        u.div_(steps)
    return u.mul_(reference.expand(scale, x))


@_forward.register_fake
def _(x: Tensor, scale: Tensor, low: float, high: float, steps: float, shift: float) -> Tensor:  # noqa: ARG001
    return torch.empty_like(x)


@torch.library.custom_op("searchd::fake_quant_backward", mutates_args=())
def _backward(
    grad: Tensor, x: Tensor, scale: Tensor, low: float, high: float, steps: float, shift: float
) -> tuple[Tensor, Tensor]:
    return reference.backward(grad, x, scale, Levels(low, high, steps, shift))


@_backward.register_fake
def _(
    grad: Tensor,
    x: Tensor,  # noqa: ARG001
    scale: Tensor,
    low: float,  # noqa: ARG001
    high: float,  # noqa: ARG001
    steps: float,  # noqa: ARG001
    shift: float,  # noqa: ARG001
) -> tuple[Tensor, Tensor]:
    return torch.empty_like(grad), torch.empty_like(scale)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG001
    x, scale, *levels = inputs
    ctx.save_for_backward(x, scale)
    ctx.levels = levels


def _autograd(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor | None, None, None, None, None]:
    x, scale = ctx.saved_tensors
    if not ctx.needs_input_grad[1]:
        return reference.straight_through(grad, x, scale, Levels(*ctx.levels)), None, None, None, None, None
    to_x, to_scale = _backward(grad, x, scale, *ctx.levels)
    return to_x, to_scale, None, None, None, None


_forward.register_autograd(_autograd, setup_context=_setup)
