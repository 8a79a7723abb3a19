"""`newton_schulz`: ours, the iteration in plain torch, that compiled, and torch's Muon's."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from bench.kernels.rows import EAGER, Case, Provider, apart
from kernels.newton_schulz import COEFFICIENTS, EPS, chosen, newton_schulz, reference

SHAPES = {"cuda": ((4096, 4096), (2048, 8192), (256, 1024)), "cpu": ((128, 256), (64, 256)), "tiny": ((5, 9),)}
STEPS = 5
NEAR = 0.05
"""Of the largest singular value, about 1: bfloat16's roundings, which five steps enlarge (tests/kernels has the
reckoning); a coefficient that is wrong by 5 % moves more."""


def plain(x: Tensor) -> Tensor:
    """The iteration as it is usually written, rows not more than columns."""
    a, b, c = COEFFICIENTS
    y: Tensor = x.bfloat16()
    y = y / y.norm().clamp(min=EPS)
    for _ in range(STEPS):
        gram = y @ y.mT
        y = a * y + (b * gram + c * gram @ gram) @ y
    return y


def cases(device: torch.device, size: str) -> Iterator[Case]:
    """Each shape."""
    for rows, columns in SHAPES[size]:
        yield case(torch.randn(rows, columns, generator=torch.Generator().manual_seed(0)).to(device).bfloat16())


def case(x: Tensor) -> Case:
    """Of one matrix. Bytes: the matrix read and the answer written; the rest is arithmetic, so the share of the copy
    says how far from a bound by memory it is, and no more."""
    choice, wrong = chosen(x), gate(x)

    def muon() -> Callable[[], Tensor]:
        from torch.optim._muon import _zeropower_via_newtonschulz as theirs

        return lambda: theirs(x, COEFFICIENTS, STEPS, EPS)

    def compiled() -> Callable[[], Tensor]:
        made = torch.compile(plain, dynamic=False)
        return lambda: made(x)

    return Case(
        "newton_schulz", "x".join(map(str, x.shape)), "bfloat16", "", 4 * x.numel(),
        (
            Provider("ours", lambda: lambda: newton_schulz(x), wrong, f"{choice.provider}: {choice.why}"),
            Provider(EAGER, lambda: lambda: plain(x), wrong),
            Provider("torch.compile", compiled, wrong),
            Provider("torch Muon", muon, wrong),
        ),
    )  # fmt: skip


def gate(x: Tensor) -> Callable[[Tensor], str | None]:
    """By the norm over all singular values: some of the smallest hang on roundings."""
    wanted = reference.newton_schulz(x.double())
    return lambda found: apart(found, wanted, NEAR, "bfloat16")
