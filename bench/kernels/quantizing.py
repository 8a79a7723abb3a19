"""`fake_quant`: forward, and forward with backward, of ours, the usual eager code, that compiled, and torch's own."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from bench.kernels.rows import EAGER, Case, Provider, off
from kernels._choose import choose
from kernels.fake_quant import Levels, fake_quant, lsq, reference

Apply = Callable[[Tensor, Tensor], Tensor]
SHAPES = {"cuda": ((8192, 8192), (4096, 11008), (64, 512)), "cpu": ((1024, 1024), (64, 512)), "tiny": ((9, 33),)}
BITS = 4
NEAR = 1e-4
"""In levels: where float64 is nearer than that to the border between two, float32 may take the other."""


def eager(levels: Levels, factor: float) -> Apply:
    """LSQ as it is usually written, out of torch's operations; autograd does the rest."""

    def apply(x: Tensor, scale: Tensor) -> Tensor:
        a = (scale * factor + (scale - scale * factor).detach())[:, None]
        u = (x / a).clamp(levels.low, levels.high)
        return (u + (u.round() - u).detach()) * a

    return apply


def native(levels: Levels, factor: float) -> Apply:
    """torch's own operator with a learned scale."""

    def apply(x: Tensor, scale: Tensor) -> Tensor:
        zero = torch.zeros_like(scale)
        out: Tensor = torch._fake_quantize_learnable_per_channel_affine(
            x, scale, zero, 0, int(levels.low), int(levels.high), factor
        )
        return out

    return apply


def cases(device: torch.device, size: str) -> Iterator[Case]:
    """Each shape in float32 (on a GPU in bfloat16 too), forward and with backward; one scale a row, 4 bits."""
    levels = lsq(BITS)
    for shape in SHAPES[size]:
        for dtype in (torch.float32, torch.bfloat16) if device.type == "cuda" else (torch.float32,):
            for backward in (False, True):
                yield case(device, shape, dtype, levels, backward)


def case(device: torch.device, shape: tuple[int, int], dtype: torch.dtype, levels: Levels, backward: bool) -> Case:
    """One of them."""
    g = torch.Generator().manual_seed(0)
    x, grad = (torch.randn(shape, generator=g).to(device, dtype).requires_grad_(i == 0) for i in range(2))
    scale = (x.detach().float().abs().amax(1) / levels.high * 0.8).requires_grad_()
    factor = 1.0 / math.sqrt(shape[1] * levels.top)
    wrong = gate(x, scale, grad, levels)

    def provider(name: str, make: Callable[[], Apply], note: str = "") -> Provider:
        def ready() -> Callable[[], tuple[Tensor, ...]]:
            apply = make()
            if not backward:

                def forward() -> tuple[Tensor, ...]:
                    with torch.no_grad():
                        return (apply(x, scale),)

                return forward

            def both() -> tuple[Tensor, ...]:
                out = apply(x, scale)
                return (out, *torch.autograd.grad(out, (x, scale), grad))

            return both

        return Provider(name, ready, wrong, note)

    choice = choose("fake_quant", x, scale)
    written = eager(levels, factor)
    n, own = x.numel(), x.element_size()
    return Case(
        "fake_quant", f"{'forward and backward' if backward else 'forward'} {shape[0]}x{shape[1]}",
        str(dtype).removeprefix("torch."), str(BITS), (5 if backward else 2) * n * own + 8 * shape[0],
        (
            provider("ours", lambda: lambda a, s: fake_quant(a, s, levels), f"{choice.provider}: {choice.why}"),
            provider(EAGER, lambda: written),
            provider("torch.compile", lambda: torch.compile(written, dynamic=False)),
            provider("torch native", lambda: native(levels, factor)),
        ),
    )  # fmt: skip


def gate(x: Tensor, scale: Tensor, grad: Tensor, levels: Levels) -> Callable[[tuple[Tensor, ...]], str | None]:
    """Output, and d/dx and d/dscale where they are answered, against float64, wherever float64 is not on a border."""
    wide, a, g = x.detach().double(), scale.detach().double(), grad.detach().double()
    u = wide / a[:, None]
    half = (u - u.floor() - 0.5).abs()
    ends = torch.minimum((u - levels.low).abs(), (u - levels.high).abs())
    sure = (half > NEAR) & (ends > NEAR)
    wanted = (reference.quantize(wide, a, levels), *reference.backward(g, wide, a, levels))
    low = x.dtype != torch.float32
    step = 2**-8 if low else 2**-22  # roundings of the dtype, over the largest value that there is
    tops = [float(t.abs().max()) for t in wanted]
    # The scale's gradient is a sum: an element on a border may count one level more or less, and bfloat16 rounds each.
    unsure = (g.abs() * ~sure).sum(1).max() * reference.grad_factor(wide, a, levels)
    each = step * float((g.abs().sum(1) * reference.grad_factor(wide, a, levels)).max()) * 8
    bounds = (step * tops[0], step * tops[1], float(unsure) + each + step * tops[2])

    def wrong(found: tuple[Tensor, ...]) -> str | None:
        for name, one, want, bound in zip(("output", "d/dx", "d/dscale"), found, wanted, bounds, strict=False):
            mask = sure if one.dim() == 2 else torch.ones_like(one, dtype=torch.bool)
            bad = off(one.detach().double() * mask, want * mask, bound, "roundings of the dtype, off borders")
            if bad is not None:
                return f"{name} is {bad}"
        return None

    return wrong
