"""Which implementation of an operator runs, and why: Triton where it can, torch everywhere else.

Each operator registers itself (`register`) and asks `choose` at the start of its body, with real tensors. The rule:

    triton     the tensors are on one CUDA device of capability 8.0 or above, of dtypes that the kernels take, and there
               are triton and a C compiler; or TRITON_INTERPRET=1 runs the kernels in NumPy, then on a CPU too
    torch      everywhere else: the operator's own body in torch operations, on any device
    reference  only when SEARCHD_KERNELS=reference says so: `reference.py`, slow and plain

SEARCHD_KERNELS=triton turns the fall-back into an error. `python -m kernels` says for each operator what it takes here.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

SWITCH = "SEARCHD_KERNELS"
INTERPRET = "TRITON_INTERPRET"
OLDEST = (8, 0)
"""The least compute capability that our kernels are compiled and checked for (Ampere)."""

Provider = Literal["triton", "torch", "reference"]


@dataclass(frozen=True, slots=True)
class Choice:
    """Who runs an operator, and why."""

    provider: Provider
    why: str


@dataclass(frozen=True, slots=True)
class Op:
    """What the chooser knows of an operator: the dtypes that its Triton kernels take (empty: it has none)."""

    name: str
    dtypes: tuple[torch.dtype, ...] = ()


OPS: dict[str, Op] = {}


def register(op: Op) -> None:
    """Makes an operator known by its name; once more with the same name replaces it."""
    OPS[op.name] = op
    _decide.cache_clear()


def choose(name: str, *tensors: Tensor | None) -> Choice:
    """Who runs the operator `name` on `tensors`, those whose device and dtype matter.

    RuntimeError where SEARCHD_KERNELS asks for what cannot be had, or for what there is not.
    """
    given = [t for t in tensors if t is not None]
    devices, dtypes = tuple({t.device for t in given}), tuple({t.dtype for t in given})
    return _decide(name, devices, dtypes, os.environ.get(SWITCH, ""))


def explain(name: str, device: torch.device | str, dtype: torch.dtype | None = None) -> Choice:
    """As `choose`, for tensors of `dtype` (None: the first that the kernels take) on `device`, without tensors."""
    op = _known(name)
    dtype = dtype or (op.dtypes[0] if op.dtypes else torch.float32)
    return _decide(name, (torch.device(device),), (dtype,), os.environ.get(SWITCH, ""))


@functools.lru_cache(maxsize=1024)
def _decide(name: str, devices: tuple[torch.device, ...], dtypes: tuple[torch.dtype, ...], asked: str) -> Choice:
    op = _known(name)
    if asked not in {"", "triton", "torch", "reference"}:
        raise RuntimeError(f"{SWITCH}={asked} names no implementation: use triton, torch, reference, or unset it")
    if asked in {"torch", "reference"}:
        return Choice("torch" if asked == "torch" else "reference", f"{SWITCH}={asked}")
    against = _against(op, devices, dtypes)
    if against is None:
        where = "interpreted on the CPU" if devices[0].type != "cuda" else _device_name(devices[0])
        return Choice("triton", f"{SWITCH}=triton, {where}" if asked else where)
    if asked:
        raise RuntimeError(f"{SWITCH}=triton asks for the Triton kernels of {name}, but {against}: unset {SWITCH}")
    return Choice("torch", against)


def _against(op: Op, devices: tuple[torch.device, ...], dtypes: tuple[torch.dtype, ...]) -> str | None:
    """The first reason not to run Triton kernels; None: nothing is against it."""
    if not op.dtypes:
        return "it has no Triton kernel"
    if len(devices) != 1:
        return "the tensors are on " + (" and ".join(sorted(map(str, devices))) or "no device")
    other = [d for d in dtypes if d not in op.dtypes]
    if other:
        return f"its kernels take no {', '.join(sorted(map(str, other)))}"
    device = devices[0]
    if interpreting():
        return None if triton_there() else f"{INTERPRET}=1, but triton is not installed"
    if device.type != "cuda":
        return f"the tensors are on {device.type}"
    if torch.version.cuda is None:
        return "this torch is built without CUDA"
    capability = torch.cuda.get_device_capability(device)
    if capability < OLDEST:
        return f"{device} has capability {capability[0]}.{capability[1]}, below {OLDEST[0]}.{OLDEST[1]}"
    if not triton_there():
        return "triton is not installed"
    if not (os.environ.get("CC") or shutil.which("clang") or shutil.which("gcc")):
        return "triton needs a C compiler to launch a kernel, but neither clang nor gcc is on the PATH"
    return None


def _known(name: str) -> Op:
    if name not in OPS:
        raise RuntimeError(f"there is no operator {name!r} among {', '.join(sorted(OPS))}: import its package first")
    return OPS[name]


def _device_name(device: torch.device) -> str:
    major, minor = torch.cuda.get_device_capability(device)
    return f"{torch.cuda.get_device_name(device)}, capability {major}.{minor}"


@functools.cache
def interpreting() -> bool:
    """Whether this process runs Triton kernels in NumPy. Triton looks once, when it is imported; so does this."""
    return os.environ.get(INTERPRET, "").lower() in {"1", "true", "yes", "on", "y"}


@functools.cache
def triton_there() -> bool:
    """Whether triton can be found (it is not imported: that costs half a second)."""
    return importlib.util.find_spec("triton") is not None
