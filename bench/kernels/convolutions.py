"""Convolutions in 8-bit integers: `int8_conv2d` with scales a channel, beside torch's of the same values in floats.

torch has no convolution of integers on a GPU; on a CPU ONNX Runtime's int8 is what a front is exported to, which
`bench/deployed.py` measures as a whole network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional

from bench.kernels.rows import EAGER, Case, Provider, apart
from kernels._choose import choose
from kernels.int8_conv2d import int8_conv2d, reference

SHAPES = {
    "cuda": ((1, 64, 56, 64, 3), (16, 64, 56, 64, 3), (16, 256, 14, 256, 3), (16, 256, 14, 1024, 1)),
    "cpu": ((1, 32, 16, 32, 3), (1, 64, 28, 64, 3)), "tiny": ((1, 3, 5, 4, 3),),
}  # fmt: skip
"""Batch, channels, height and width, outputs, size of the kernel: layers of ResNet-50, and smaller ones."""


def cases(device: torch.device, size: str) -> Iterator[Case]:
    """`int8_conv2d`, padded to keep the size."""
    for shape in SHAPES[size]:
        yield _case(device, shape)


def _case(device: torch.device, shape: tuple[int, int, int, int, int]) -> Case:
    batch, channels, side, outputs, kernel = shape
    g = torch.Generator().manual_seed(0)
    x = torch.randint(-127, 128, (batch, channels, side, side), generator=g, dtype=torch.int8)
    codes = torch.randint(-127, 128, (outputs, channels, kernel, kernel), generator=g, dtype=torch.int8)
    scales = (torch.rand(outputs, generator=g) + 0.5) / 127**2
    pad = kernel // 2
    sums = functional.conv2d(x.double(), codes.double(), padding=pad)  # exact, and faster than `reference.sums`
    small = reference.sums(x[:1], codes[:1], reference.Geometry(padding=(pad, pad)))
    if not torch.equal(small, sums[:1, :1].to(torch.int64)):
        raise RuntimeError("the convolution in float64 is not that of the integers: this is a bug")
    wanted = (sums * scales.double()[:, None, None]).to(device)
    # Channels last, as a network would keep them: no order is turned within what is timed.
    x, codes = (t.to(device).contiguous(memory_format=torch.channels_last) for t in (x, codes))
    scales = scales.to(device)
    weight = (codes.float() * scales[:, None, None, None]).contiguous(memory_format=torch.channels_last)
    choice = choose("int8_conv2d", x)

    def plain(dtype: torch.dtype, compiled: bool = False) -> Callable[[], Tensor]:
        a, w = x.to(dtype), weight.to(dtype)

        def convolution() -> Tensor:
            return functional.conv2d(a, w, padding=pad)

        return _inferred(torch.compile(convolution, dynamic=False) if compiled else convolution)

    def near(share: float, why: str) -> Callable[[Tensor], str | None]:
        return lambda found: apart(found, wanted, share, why)

    single, half = near(1e-3, "sums of float32, or of TF32"), near(2.0**-6, "bfloat16: weights, sums at the end")
    count = x.numel() + codes.numel() + 4 * (outputs + wanted.numel())
    floats = 4 * (x.numel() + codes.numel() + wanted.numel())
    providers = (
        Provider("ours", lambda: _inferred(lambda: int8_conv2d(x, codes, scales, padding=pad)),
                 near(1e-6, "two roundings of float32"), f"{choice.provider}: {choice.why}"),
        Provider(EAGER, lambda: plain(torch.float32), single, "float32", floats),
        Provider("torch.compile", lambda: plain(torch.float32, compiled=True), single, "float32", floats),
        Provider("torch bf16", lambda: plain(torch.bfloat16), half, "", floats // 2),
    )  # fmt: skip
    name = f"{batch}x{channels}x{side}x{side} to {outputs}, {kernel}x{kernel}"
    return Case("int8_conv2d", name, "int8", "8", count, providers)


def _inferred(call: Callable[[], Tensor]) -> Callable[[], Tensor]:
    def run() -> Tensor:
        with torch.inference_mode():
            return call()

    return run
