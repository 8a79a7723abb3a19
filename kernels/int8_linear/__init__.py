"""`int8_linear`: a linear layer in 8-bit integers with LLM.int8()'s decomposition of outlier features.

Triton on a GPU. Registered with `torch.library`; README.md in this folder has the maths, `reference` is the meaning in
float64.
Gradients: for the input by the dequantized weight (straight through the rounding of activations), and for the bias.
"""


from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from kernels._check import FLOATS, same_device
from kernels._choose import Op, choose, register
from kernels.int8_linear import reference
from kernels.int8_linear.reference import THRESHOLD, quantize

__all__ = ["THRESHOLD", "int8_linear", "quantize"]

OP = "int8_linear"
register(Op(OP, (torch.float32, torch.float16, torch.bfloat16)))

EXACT = 1024
"""127² · 1,024 < 2^24: so many products of codes add up exactly in float32."""


def int8_linear(
    x: Tensor, codes: Tensor, scales: Tensor, kept: Tensor | None = None, bias: Tensor | None = None, *,
    threshold: float = THRESHOLD,
) -> Tensor:  # fmt: skip
    """`x Wᵀ + bias` [..., N] in `x`'s dtype, for x [..., K] of floats.

    `codes` [N, K] int8 and `scales` [N]: `quantize(W)`. `kept` [N, K]: W in floats, read for outlier features only;
    without it they are multiplied by the dequantized codes. A feature of the whole x is an outlier when one |x| >=
    threshold; 0: none is. ValueError for shapes, dtypes and devices that do not fit.
    """
    _fits(x, codes, scales, kept, bias, threshold)
    out: Tensor = _forward(x, codes, scales, kept, bias, float(threshold))
    return out


def _fits(
    x: Tensor, codes: Tensor, scales: Tensor, kept: Tensor | None, bias: Tensor | None, threshold: float
) -> None:
    if x.dim() == 0 or x.dtype not in FLOATS:
        raise ValueError(f"x is {list(x.shape)} of {x.dtype}, but has to be [..., K] of floats: convert it")
    columns = x.shape[-1]
    if codes.dtype != torch.int8 or codes.dim() != 2 or codes.shape[1] != columns:
        raise ValueError(
            f"the codes are {list(codes.shape)} of {codes.dtype}, but need [N, {columns}] of torch.int8, as x has"
            f" {columns} features: make them with quantize"
        )
    rows = codes.shape[0]
    wanted: dict[str, tuple[Tensor | None, list[int]]] = {
        "scales": (scales, [rows]), "kept": (kept, [rows, columns]), "bias": (bias, [rows]),
    }  # fmt: skip
    for name, (given, shape) in wanted.items():
        if given is not None and (list(given.shape) != shape or given.dtype not in FLOATS):
            raise ValueError(f"{name} is {list(given.shape)} of {given.dtype}, but needs {shape} of floats: reshape it")
    if not threshold >= 0:
        raise ValueError(f"the threshold is {threshold}, but has to be 0 (no outliers) or above: the paper has 6")
    same_device("x", x, codes, scales, kept, bias)


def _integers(a: Tensor, b: Tensor) -> Tensor:
    """a bᵀ [A, B] (int32), exact, of int8 matrices: float32 has every sum of up to `EXACT` products."""
    out = torch.zeros(a.shape[0], b.shape[0], dtype=torch.int32, device=a.device)
    for i in range(0, a.shape[1], EXACT):
        out += (a[:, i : i + EXACT].float() @ b[:, i : i + EXACT].float().T).to(torch.int32)
    return out


@torch.library.custom_op("searchd::int8_linear", mutates_args=())
def _forward(
    x: Tensor, codes: Tensor, scales: Tensor, kept: Tensor | None, bias: Tensor | None, threshold: float
) -> Tensor:
    provider = choose(OP, x).provider
    if provider == "triton":
        from kernels.int8_linear import triton as fast

        return fast.linear(x, codes, scales, kept, bias, threshold)
    if provider == "reference":
        exact = reference.linear(
            x.reshape(math.prod(x.shape[:-1]), x.shape[-1]), codes, scales, kept, bias, threshold
        )
        return exact.to(x.dtype).view(*x.shape[:-1], codes.shape[0])
    dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    flat = x.reshape(math.prod(x.shape[:-1]), x.shape[-1]).to(dtype)
    large = reference.outliers(flat, threshold)
    mine, scale = reference.quantize(flat.masked_fill(large, 0.0))
    y = _integers(mine, codes).to(dtype) * scale[:, None] * scales.to(dtype)
    if bool(large.any()):
        w = codes[:, large].to(dtype) * scales.to(dtype)[:, None] if kept is None else kept[:, large].to(dtype)
        y += flat[:, large] @ w.T
    if bias is not None:
        y += bias.to(dtype)
    return y.to(x.dtype).view(*x.shape[:-1], codes.shape[0])


@_forward.register_fake
def _(
    x: Tensor, codes: Tensor, scales: Tensor, kept: Tensor | None, bias: Tensor | None, threshold: float  # noqa: ARG001
) -> Tensor:
    return x.new_empty(*x.shape[:-1], codes.shape[0])


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG001
    _, codes, scales, _, bias, _ = inputs
    ctx.save_for_backward(codes, scales)
    ctx.bias = None if bias is None else bias.dtype


def _autograd(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None, Tensor | None, None]:
    codes, scales = ctx.saved_tensors
    to_x = (grad * scales.to(grad.dtype)) @ codes.to(grad.dtype)
    to_bias = None if ctx.bias is None else grad.reshape(math.prod(grad.shape[:-1]), grad.shape[-1]).sum(0).to(ctx.bias)
    return to_x, None, None, None, to_bias, None


_forward.register_autograd(_autograd, setup_context=_setup)
