"""`lowbit_linear` of inputs in 8-bit integers with scales of their own: an operator beside the one of floats.

Apart from that one because its answer has another dtype than x, and no gradient: integers are for inference. Sums over
the columns of a group are integers, and exact; only what is done with them is rounded.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from kernels._build import BuildError
from kernels._choose import Op, choose, refuse, register
from kernels.lowbit_linear import reference
from kernels.lowbit_linear.values import ROWS, values

OP = "lowbit_linear_int8"
TAKEN = (torch.int8, torch.float32, torch.float16, torch.bfloat16)
"""Of the inputs and of their scales."""
register(Op(OP, TAKEN, cpp=TAKEN))


@torch.library.custom_op("searchd::lowbit_linear_int8", mutates_args=())
def forward(
    x: Tensor, x_scale: Tensor, planes: Tensor, scales: Tensor, bias: Tensor | None, bipolar: bool, group: int,
    relu: bool, levels: Sequence[int],
) -> Tensor:  # fmt: skip
    """`reference.linear_of_integers` in the dtype of `x_scale`, of x in int8, or in floats that are `reference.rounded`
    to `levels` (low, high, zero) first; `lowbit_linear` has checked the arguments."""
    provider, dtype = choose(OP, x, x_scale).provider, x_scale.dtype
    if levels and provider != "cpp":
        x, x_scale = rounded(x, x_scale, levels)
    if provider == "triton":
        from kernels.lowbit_linear import triton_eight as fast

        return fast.linear(x, x_scale.to(dtype), planes, scales, bias, bipolar=bipolar, group=group, relu=relu)
    if provider == "cpp":
        from kernels.lowbit_linear import cpp

        try:
            return cpp.linear_of_integers(
                x, x_scale, planes, scales, bias, bipolar=bipolar, group=group, relu=relu, levels=levels
            )
        except BuildError as e:
            refuse(OP, str(e))
            provider = choose(OP, x, x_scale).provider  # an error, where C++ is asked for
        if levels:
            x, x_scale = rounded(x, x_scale, levels)
    if provider == "reference":
        exact = reference.linear_of_integers(
            x, x_scale, planes, scales, bias, bipolar=bipolar, group=group, relu=relu
        )
        return exact.to(dtype).contiguous()
    # float64 has every sum of a group exactly, and rounds what scales make of them to 53 bits.
    columns, rows = x.shape[-1], planes.shape[1]
    inputs = x.reshape(math.prod(x.shape[:-1]), columns).double()
    out = torch.empty(inputs.shape[0], rows, dtype=torch.float64, device=x.device)
    for first in range(0, rows, ROWS):
        some = slice(first, first + ROWS)
        w = values(planes[:, some], columns, bipolar, torch.float64)
        if scales.shape[1] > 1:
            w *= reference.spread(scales[some].double(), columns, group)
        out[:, some] = inputs @ w.T
    if scales.shape[1] == 1:
        out *= scales[:, 0].double()
    out *= x_scale.double().reshape(-1, 1)
    if bias is not None:
        out += bias.double()
    if relu:
        out.clamp_min_(0)
    return out.to(dtype).view(*x.shape[:-1], rows)


def rounded(x: Tensor, x_scale: Tensor, levels: Sequence[int]) -> tuple[Tensor, Tensor]:
    """`reference.rounded` in float32, or float64 where one of both is."""
    wide = torch.promote_types(torch.promote_types(x.dtype, x_scale.dtype), torch.float32)
    return reference.rounded(x.to(wide), x_scale.to(wide), *levels)


@forward.register_fake
def _(
    x: Tensor, x_scale: Tensor, planes: Tensor, scales: Tensor, bias: Tensor | None, bipolar: bool, group: int,  # noqa: ARG001
    relu: bool, levels: Sequence[int],  # noqa: ARG001
) -> Tensor:  # fmt: skip
    return x_scale.new_empty(*x.shape[:-1], planes.shape[1])
