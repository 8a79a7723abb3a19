"""Which implementation of an operator runs, and why: Triton on a GPU, C++ on a CPU, torch everywhere else.

Each operator registers itself (`register`) and asks `choose` at the start of its body, with real tensors. The rule:

    triton     the tensors are on one CUDA device of capability 8.0 or above, of dtypes that the kernels take, and there
               are triton and a C compiler; or TRITON_INTERPRET=1 runs the kernels in NumPy, then on a CPU too
    cpp        the tensors are on a CPU, the operator has C++ for their dtypes (`cpp.py`), and a C++ compiler is there,
               which builds it on first use; a build that fails is remembered (`refuse`)
    torch      everywhere else: the operator's own body in torch operations, on any device
    reference  only when SEARCHD_KERNELS=reference says so: `reference.py`, slow and plain

SEARCHD_KERNELS=triton or cpp turns the fall-back into an error. `python -m kernels` says for each operator what it
takes here.
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

from kernels import _build
from kernels._build import compiler, level

SWITCH = "SEARCHD_KERNELS"
INTERPRET = "TRITON_INTERPRET"
OLDEST = (8, 0)
"""The least compute capability that our kernels are compiled and checked for (Ampere)."""

Provider = Literal["triton", "cpp", "torch", "reference"]


@dataclass(frozen=True, slots=True)
class Choice:
    """Who runs an operator, and why."""

    provider: Provider
    why: str


@dataclass(frozen=True, slots=True)
class Op:
    """What the chooser knows of an operator: the dtypes that its Triton kernels take, and its C++ (empty: none)."""

    name: str
    dtypes: tuple[torch.dtype, ...] = ()
    cpp: tuple[torch.dtype, ...] = ()


ON_CPU = Choice("torch", "the tensors are on cpu")
OPS: dict[str, Op] = {}
REFUSED: dict[str, str] = {}
"""Operators whose C++ could not be built in this process, and why."""


def register(op: Op) -> None:
    """Makes an operator known by its name; once more with the same name replaces it."""
    OPS[op.name] = op
    _decide.cache_clear()


def refuse(name: str, why: str) -> None:
    """From now on the operator's C++ is no choice, because it could not be built."""
    REFUSED[name] = why
    _decide.cache_clear()


def choose(name: str, *tensors: Tensor | None) -> Choice:
    """Who runs the operator `name` on `tensors`, those whose device and dtype matter.

    RuntimeError where SEARCHD_KERNELS asks for what cannot be had, or for what there is not.
    """
    asked = os.environ.get(SWITCH, "")
    plain = not asked and not interpreting() and name in OPS and not OPS[name].cpp
    if plain and all(t is None or t.is_cpu for t in tensors):
        return ON_CPU  # as `_decide` answers, in a third of the time: small networks ask often
    given = [t for t in tensors if t is not None]
    devices, dtypes = tuple({t.device for t in given}), tuple({t.dtype for t in given})
    return _decide(name, devices, dtypes, asked)


def explain(name: str, device: torch.device | str, dtype: torch.dtype | None = None) -> Choice:
    """As `choose`, for tensors of `dtype` (None: the first that the kernels take) on `device`, without tensors."""
    op = _known(name)
    dtype = dtype or (*op.dtypes, *op.cpp, torch.float32)[0]
    return _decide(name, (torch.device(device),), (dtype,), os.environ.get(SWITCH, ""))


@functools.lru_cache(maxsize=1024)
def _decide(name: str, devices: tuple[torch.device, ...], dtypes: tuple[torch.dtype, ...], asked: str) -> Choice:
    op = _known(name)
    if asked not in {"", "triton", "cpp", "torch", "reference"}:
        raise RuntimeError(f"{SWITCH}={asked} names no implementation: use triton, cpp, torch, reference, or unset it")
    if asked in {"torch", "reference"}:
        return Choice("torch" if asked == "torch" else "reference", f"{SWITCH}={asked}")
    if asked == "cpp" or (not asked and op.cpp and not interpreting() and {d.type for d in devices} == {"cpu"}):
        against = _against_cpp(op, devices, dtypes)
        if against is None:
            return Choice("cpp", f"{f'{SWITCH}=cpp, ' if asked else ''}on the CPU, {level()}, {compiler()[0]}")
        if asked:
            raise RuntimeError(f"{SWITCH}=cpp asks for the C++ of {name}, but {against}: unset {SWITCH}")
        return Choice("torch", against)
    against = _against(op, devices, dtypes)
    if against is None:
        where = "interpreted on the CPU" if devices[0].type != "cuda" else _device_name(devices[0])
        return Choice("triton", f"{SWITCH}=triton, {where}" if asked else where)
    if asked:
        raise RuntimeError(f"{SWITCH}=triton asks for the Triton kernels of {name}, but {against}: unset {SWITCH}")
    return Choice("torch", against)


def _against(op: Op, devices: tuple[torch.device, ...], dtypes: tuple[torch.dtype, ...]) -> str | None:
    """The first reason not to run Triton kernels; None: nothing is against it."""
    if len(devices) != 1:
        return "the tensors are on " + (" and ".join(sorted(map(str, devices))) or "no device")
    if devices[0].type == "cpu" and not interpreting():
        return ON_CPU.why
    if not op.dtypes:
        return "it has no Triton kernel"
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


def _against_cpp(op: Op, devices: tuple[torch.device, ...], dtypes: tuple[torch.dtype, ...]) -> str | None:
    """The first reason not to run C++; None: nothing is against it."""
    if {d.type for d in devices} != {"cpu"}:
        return "the tensors are on " + (" and ".join(sorted(map(str, devices))) or "no device")
    if not op.cpp:
        return "it has none"
    other = [d for d in dtypes if d not in op.cpp]
    if other:
        return f"its C++ takes no {', '.join(sorted(map(str, other)))}"
    return REFUSED.get(op.name) or _build.against()


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
