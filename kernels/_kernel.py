"""A Triton kernel as a thing to compile: what each `kernels/<op>/triton.py` lists in `KERNELS`.

`python -m kernels._kernel [OP ...]` compiles all of them for sm_80 and sm_90, without a GPU, a line of JSON each. It
has to run without TRITON_INTERPRET: an interpreted kernel has no compiler.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import pkgutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

CAPABILITIES = (80, 90)
"""What every kernel compiles for: Ampere (A100) and Hopper (H100, H200)."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """One way that a kernel is launched: the types of its arguments, and its constants.

    `fn`: what `@triton.jit` made. `types`: argument -> "*fp32", "i32", "fp32", …, in any order. `constants`: the
    `tl.constexpr` arguments. `options`: num_warps, num_stages.
    """

    name: str
    fn: Any
    types: Mapping[str, str]
    constants: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, int] = field(default_factory=dict)


def on(x: Tensor) -> contextlib.AbstractContextManager[Any]:
    """Where a kernel for `x` has to be launched from: Triton launches on the current device, not on its arguments'."""
    return torch.cuda.device(x.device) if x.is_cuda else contextlib.nullcontext()


def packages() -> tuple[str, ...]:
    """The operators, a folder of `kernels` each."""
    import kernels

    return tuple(sorted(m.name for m in pkgutil.iter_modules(kernels.__path__) if m.ispkg))


def with_triton() -> tuple[str, ...]:
    """Those of `packages` that have a `triton.py`. Imports none of them."""
    return tuple(p for p in packages() if (Path(__file__).parent / p / "triton.py").is_file())


def kernels_of(op: str) -> tuple[Kernel, ...]:
    """`KERNELS` of `kernels/<op>/triton.py`, and of `triton_*.py` beside it; imports triton. ValueError where one there
    whose name ends in `_kernel` (what is launched; what kernels call has other names) is not listed."""
    found: list[Kernel] = []
    for path in sorted((Path(__file__).parent / op).glob("triton*.py")):
        module = importlib.import_module(f"kernels.{op}.{path.stem}")
        listed: tuple[Kernel, ...] = module.KERNELS
        launched = {n for n, f in vars(module).items() if n.endswith("_kernel") and hasattr(f, "arg_names")}
        missing = launched - {k.fn.__name__ for k in listed}
        if missing:
            names = ", ".join(sorted(missing))
            raise ValueError(f"kernels/{op}/{path.name} launches {names}, not in KERNELS: list it there")
        found += listed
    return tuple(found)


def compiled(kernel: Kernel, capability: int) -> Any:
    """The compiled kernel of Triton, with `.asm["cubin"]` and `.metadata.shared`, for sm_`capability`."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    names = list(kernel.fn.arg_names)
    missing = [n for n in names if n not in kernel.types and n not in kernel.constants]
    if missing:
        raise ValueError(f"the arguments {', '.join(missing)} of {kernel.name} have no type: add them to KERNELS")
    signature = {n: "constexpr" if n in kernel.constants else kernel.types[n] for n in names}
    source = ASTSource(kernel.fn, signature, constexprs=dict(kernel.constants))
    return triton.compile(source, target=GPUTarget("cuda", capability, 32), options=dict(kernel.options))


def compile_all(ops: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """Compiles the kernels of `ops` for each of `CAPABILITIES`; what came out, a mapping each."""
    for op in ops:
        for kernel in kernels_of(op):
            for capability in CAPABILITIES:
                made = compiled(kernel, capability)
                yield {
                    "op": op, "kernel": kernel.name, "capability": capability,
                    "cubin_bytes": len(made.asm["cubin"]), "shared_bytes": made.metadata.shared,
                }  # fmt: skip


if __name__ == "__main__":
    for row in compile_all(tuple(sys.argv[1:]) or with_triton()):
        print(json.dumps(row), flush=True)
