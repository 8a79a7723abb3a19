"""Random arguments of `lowbit_linear`, for every implementation alike."""

from __future__ import annotations

from typing import Any

import torch

from kernels.lowbit_linear import Format, pack, quantize, reference

FORMATS = [Format(bits, bipolar) for bits in range(1, 9) for bipolar in (True, False)]


def draw(seed: int, form: Format, shape: tuple[int, int, int, int], dtype: torch.dtype = torch.float32) -> list[Any]:
    """x [B, K], planes, scales, bias of a layer N × K; `shape`: B, N, K, and the columns of a group (0: whole rows)."""
    b, n, k, group = shape
    g = torch.Generator().manual_seed(seed)
    values, scales = quantize(torch.randn(n, k, generator=g), form, group)
    x, bias = torch.randn(b, k, generator=g), torch.randn(n, generator=g)
    return [x.to(dtype), pack(values, form), scales.to(dtype), bias.to(dtype)]


def draw_int8(
    seed: int, form: Format, shape: tuple[int, int, int, int], dtype: torch.dtype = torch.float32
) -> list[Any]:
    """As `draw`, of x in int8, −128 and 127 among them; x_scale, one a row where the seed is odd, comes last. One scale
    in three is negative, as batch norm makes them."""
    x, planes, scales, bias = draw(seed, form, shape, dtype)
    g = torch.Generator().manual_seed(seed)
    x = torch.randint(-128, 128, x.shape, generator=g).to(torch.int8)
    x[:, :1], x[:, 1:2] = -128, 127
    scales[::3] *= -1
    x_scale = (torch.rand(x.shape[:1] if seed % 2 else (), generator=g) / 50 + 0.01).to(dtype)
    return [x, planes, scales, bias, x_scale]


def terms(args: list[Any], form: Format, group: int) -> torch.Tensor:
    """Σ |scale · sum of a group| · x_scale + |bias| [B, N]: what roundings of sums of groups are held against."""
    x, planes, scales, bias, x_scale = args
    sums = reference.integer_sums(x, planes, bipolar=form.bipolar, group=group)
    each = (sums.double() * scales.double()).abs().sum(-1) * x_scale.double()[..., None]
    return each if bias is None else each + bias.double().abs()


def lopsided(form: Format) -> tuple[list[Any], list[Any]]:
    """Two groups of 256 columns: x is 1e6 times as large in the first, whose weights are 0, and 1e-6 in the second.
    And the second alone, which is the same layer: what a step of the whole row would round away."""
    x, planes, scales, _ = draw(4, form, (1, 4, 512, 256))
    x[:, :256] *= 1e6
    x[:, 256:] *= 1e-6
    scales[:, 0] = 0
    return [x, planes, scales, None], [x[:, 256:], planes[:, :, 32:], scales[:, 1:], None]
