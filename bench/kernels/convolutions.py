"""`int8_conv2d`: exact sums of int8 products, scaled a channel; and requantized to int8 by dyadic numbers.

Compared with torch's convolution in bfloat16, and on a CPU in float32. torch, torch.compile, torchao and bitsandbytes
have no convolution of integers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional

from bench.kernels.rows import Case, Provider, apart
from kernels._choose import choose
from kernels.int8_conv2d import dyadic, int8_conv2d, requantize, requantized_conv2d
from kernels.int8_conv2d.reference import limits

SHAPES = {
    "cuda": ((1, 64, 64, 3, 56), (16, 64, 64, 3, 56), (16, 256, 64, 1, 56)),
    "cpu": ((1, 32, 32, 3, 16), (16, 32, 32, 3, 16)),
    "tiny": ((2, 3, 5, 3, 7),),
}
"""Samples, channels in and out, side of the kernel, side of the map."""
BF16 = "torch bf16"


def cases(device: torch.device, size: str) -> Iterator[Case]:
    """Each shape, answered in floats and in int8."""
    for shape in SHAPES[size]:
        for narrow in (False, True):
            yield case(device, shape, narrow)


def case(device: torch.device, shape: tuple[int, int, int, int, int], narrow: bool) -> Case:
    """One of them; `narrow`: requantized."""
    samples, inputs, outputs, kernel, side = shape
    g = torch.Generator().manual_seed(0)
    x = torch.randint(-127, 128, (samples, inputs, side, side), generator=g).to(device, torch.int8)
    codes = torch.randint(-127, 128, (outputs, inputs, kernel, kernel), generator=g).to(device, torch.int8)
    pad = kernel // 2
    sums = functional.conv2d(x.double(), codes.double(), padding=pad)
    scales = torch.full((outputs,), 100.0 / float(sums.abs().max()), device=device)
    multiplier, shift = (t.to(device) for t in dyadic(scales.double().cpu()))
    choice = choose("int8_conv2d", x, codes)

    def scaled() -> Tensor:
        return int8_conv2d(x, codes, scales, padding=pad)

    def requantized() -> Tensor:
        return requantized_conv2d(x, codes, multiplier, shift, padding=pad)

    wanted = sums * scales.double()[:, None, None]
    narrowed = requantize(sums.to(torch.int32), multiplier, shift, *limits(8, relu=False)) if narrow else wanted

    def exact(found: Tensor) -> str | None:
        if narrow:
            same = found.shape == narrowed.shape and torch.equal(found.long(), narrowed.long())
            return None if same else "an integer is another one than the exact sum's"
        return apart(found, wanted, 1e-6, "one rounding of float32")

    count = x.numel() + codes.numel() + 8 * outputs + wanted.numel() * (1 if narrow else 4)
    ours = Provider("ours", lambda: requantized if narrow else scaled, exact, f"{choice.provider}: {choice.why}")
    plain = [_floats(x, codes, scales, pad, torch.bfloat16, wanted, BF16, 2.0**-6)]
    if device.type == "cpu":
        plain.append(_floats(x, codes, scales, pad, torch.float32, wanted, "torch float32", 1e-5))
    named = f"{samples}x{inputs}x{side}x{side}, {kernel}x{kernel} to {outputs}"
    name = f"{named}, {'requantized' if narrow else 'scaled'}"
    return Case("int8_conv2d", name, "int8", "8", count, (ours, *plain), BF16)


def _floats(
    x: Tensor, codes: Tensor, scales: Tensor, pad: int, dtype: torch.dtype, wanted: Tensor, name: str, near: float
) -> Provider:
    mine = x.to(dtype)
    weight = (codes.float() * scales[:, None, None, None]).to(dtype)

    def ready() -> Callable[[], Tensor]:
        def run() -> Tensor:
            with torch.inference_mode():
                return functional.conv2d(mine, weight, padding=pad)

        return run

    count = (mine.numel() + weight.numel() + wanted.numel()) * mine.element_size()
    return Provider(name, ready, lambda y: apart(y, wanted, near, f"roundings of {dtype}"), "", count)
