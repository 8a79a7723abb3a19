"""What the tests of Triton kernels share: poisoned outputs, comparison in units of rounding, awkward inputs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from kernels._choose import choose


@contextlib.contextmanager
def poisoned() -> Iterator[None]:
    """Memory that torch hands out uninitialised holds NaN (integers: their largest) here, so that what a kernel leaves
    unwritten is seen. torch does it itself, in its deterministic mode."""
    was, filled = torch.are_deterministic_algorithms_enabled(), torch.utils.deterministic.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = True
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(was)
        torch.utils.deterministic.fill_uninitialized_memory = filled


def close(found: Tensor, wanted: Tensor, roundings: float, size: float | Tensor = 0.0) -> None:
    """`found` is `wanted` (in float64) up to `roundings` roundings of `found`'s dtype (of float32 for a sum in it).

    Each is half a unit of the larger of |wanted| and `size`: for a sum, the sum of the absolute terms. Shape and NaN
    have to be the same; the caller says where the number of roundings comes from.
    """
    assert found.shape == wanted.shape, f"{list(found.shape)} instead of {list(wanted.shape)}"
    exact, got = wanted.detach().double(), found.detach().double()
    assert torch.equal(exact.isnan(), got.isnan()), "NaN elsewhere than the reference"
    bound = roundings * 0.5 * torch.finfo(found.dtype).eps * torch.maximum(exact.abs(), torch.as_tensor(size).double())
    bound = bound + torch.finfo(found.dtype).tiny
    off = ((got - exact).abs() > bound) & (got != exact) & ~exact.isnan()
    if off.any():
        i = int(off.flatten().to(torch.int8).argmax())
        raise AssertionError(
            f"{int(off.sum())} of {off.numel()} differ by more than {roundings} roundings; the first, {i}: "
            f"{got.flatten()[i]} instead of {exact.flatten()[i]}"
        )


def strided(x: Tensor) -> Tensor:
    """The values of `x` in memory that is not contiguous: every second element of a larger tensor, axes reversed."""
    room = torch.full([2 * n + 1 for n in reversed(x.shape)], float("nan") if x.is_floating_point() else 77.0)
    view = room.to(x.dtype)[tuple(slice(1, None, 2) for _ in x.shape)].permute(*reversed(range(x.dim())))
    view.copy_(x)
    return view


def runs_in_triton(op: str, *tensors: Tensor) -> None:
    """Fails unless `op` would be run by Triton on `tensors`: a test of kernels that runs none of them says nothing."""
    choice = choose(op, *tensors)
    if choice.provider != "triton":
        pytest.fail(f"{op} would run in {choice.provider}: {choice.why}")
