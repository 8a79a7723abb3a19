"""Narrow floating formats: bfloat16, float16 and float8 (e4m3), rounded to and computed with in float32.

Micikevicius et al., "FP8 Formats for Deep Learning", 2022: e4m3 has no infinity and ends at 448, so a tensor is scaled
to that first; the 16-bit formats need no scale. The runtime here has no kernel for any of them: what they buy is bytes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kernels.fake_quant import SCALE_FLOOR
from spaces.widths import Form

DTYPES: dict[str, torch.dtype] = {"fp8": torch.float8_e4m3fn, "bf16": torch.bfloat16, "fp16": torch.float16}
LARGEST = {"fp8": 448.0, "fp16": 65504.0}


def full(matrix: Tensor, form: Form) -> Tensor:
    """What each row of `matrix` [C, n] is divided by, [C]: so that its largest is fp8's largest; else 1."""
    if form != "fp8":
        return torch.ones(matrix.shape[0])
    return (matrix.detach().abs().amax(dim=1) / LARGEST["fp8"]).clamp_min(SCALE_FLOOR**2)


def rounded(x: Tensor, scale: Tensor, form: Form) -> Tensor:
    """`x / scale` in the format (its dtype), nearest, ties to even; beyond the largest number the largest.
    `scale`: [], or [C] for `x` [C, n]."""
    y = x / (scale[:, None] if scale.dim() else scale)
    if form in LARGEST:
        y = y.clamp(-LARGEST[form], LARGEST[form])
    return y.to(DTYPES[form])


def floating(x: Tensor, scale: Tensor, form: Form) -> Tensor:
    """`x` as it is after `rounded`, in float32 again; the gradient goes straight through."""
    out: Tensor = _Straight.apply(x, scale, form)  # type: ignore[no-untyped-call]
    return out


def patterns(numbers: Tensor) -> NDArray[np.unsignedinteger[Any]]:
    """The bit patterns of `rounded`'s answer, uint8 or uint16, of its shape."""
    wide = numbers.detach().contiguous()
    return wide.view(torch.uint8 if wide.element_size() == 1 else torch.uint16).numpy()


def numbers_of(raw: NDArray[np.unsignedinteger[Any]], form: Form) -> NDArray[np.float32]:
    """The numbers that `patterns` are."""
    found: NDArray[np.float32] = torch.from_numpy(raw.copy()).view(DTYPES[form]).to(torch.float32).numpy()
    return found


class _Straight(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, form: Form) -> Tensor:  # noqa: ARG004
        return rounded(x, scale, form).to(torch.float32) * (scale[:, None] if scale.dim() else scale)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:  # noqa: ARG004
        return grads[0], None, None
