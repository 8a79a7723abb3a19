"""Checks of arguments that operators share. Each error says the value, the rule and the remedy."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def same_device(to: str, *tensors: Tensor | None) -> None:
    """ValueError unless all tensors that are given are on one device; `to`: the name of the one to move to."""
    devices = {str(t.device) for t in tensors if t is not None}
    if len(devices) > 1:
        raise ValueError(
            f"the arguments are on {', '.join(sorted(devices))}, but have to be on one: move them to {to}'s"
        )


def shaped(name: str, x: Tensor, shape: Sequence[int], dtypes: Sequence[torch.dtype] = FLOATS) -> None:
    """ValueError unless `x` has `shape` and one of `dtypes`."""
    if list(x.shape) != list(shape) or x.dtype not in dtypes:
        wanted = "floats" if tuple(dtypes) == FLOATS else " or ".join(map(str, dtypes))
        raise ValueError(
            f"{name} is {list(x.shape)} of {x.dtype}, but needs {list(shape)} of {wanted}: reshape or convert it"
        )


def floats(name: str, x: Tensor) -> None:
    """ValueError unless `x` is of floats."""
    if x.dtype not in FLOATS:
        raise ValueError(f"{name} is of {x.dtype}, but has to be of floats: convert it")
