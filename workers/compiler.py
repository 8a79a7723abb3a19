"""torch's compiler comes with what compiles, not with the first optimizer.

`torch.optim` and the operators of `torch.library` import `torch._dynamo` for two functions that do nothing until
something is compiled: 1.5 s of a processor before the first step of every child. After `put_off` that import gives the
module with these two alone; whoever asks it for anything else gets all of it, as torch made it, in the same object.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

NAME = "torch._dynamo"
_LOCK = threading.RLock()


def put_off() -> None:
    """From now on an import of `torch._dynamo` in this process waits for a need of it; nothing once it was imported."""
    if NAME not in sys.modules and not any(isinstance(f, _Finder) for f in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


def load(module: ModuleType) -> None:
    """All of the module, where it still waits; what its two functions answered before is asked anew."""
    with _LOCK:
        spec = module.__spec__
        if spec is None or not isinstance(spec.loader, _Waits):
            return  # loaded, or this thread is loading it
        waits = spec.loader
        spec.loader = module.__loader__ = waits.real
        del module.disable, module.graph_break
        for fn in waits.handed:
            vars(fn).pop("__dynamo_disable", None)
        waits.real.exec_module(module)
        module.__class__ = ModuleType


class _Later(ModuleType):
    """The module before it is needed."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name.endswith("__"):  # asked by those who look through every module
            raise AttributeError(f"module {NAME!r} has no attribute {name!r}")
        load(self)
        return ModuleType.__getattribute__(self, name)


class _Waits(Loader):
    """Makes the module with its two functions. `real`: what executes it; `handed`: functions that it answered with."""

    def __init__(self, real: Loader) -> None:
        self.real = real
        self.handed: list[Callable[..., Any]] = []

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Later(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        def disable(fn: Any = None, recursive: bool = True, **how: Any) -> Any:
            if fn is None or how != {"wrapping": False}:
                load(module)
                return module.disable(fn, recursive, **how)
            self.handed.append(fn)  # as `torch._disable_dynamo` asks, which keeps the answer: nothing traces it yet
            return fn

        def graph_break(msg: str = "") -> None:
            pass

        vars(module).update(disable=disable, graph_break=graph_break)


class _Known(Loader):
    """For a part that came with the whole while it was looked for: it is not executed again."""

    def __init__(self, module: ModuleType) -> None:
        self._module, self._spec = module, module.__spec__

    def create_module(self, spec: ModuleSpec) -> ModuleType:  # noqa: ARG002
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec


class _Finder(MetaPathFinder):
    """Finds the module, and loads all of it before any of its parts is imported."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname == NAME:
            spec = PathFinder.find_spec(fullname, path, target)
            if spec is not None and spec.loader is not None:
                spec.loader = _Waits(spec.loader)
            return spec
        if fullname.startswith(f"{NAME}."):
            load(sys.modules[NAME])
            if (came := sys.modules.pop(fullname, None)) is not None:  # one that is there would be executed again
                return ModuleSpec(fullname, _Known(came))
        return None
