"""AdamW with moments of 8, 4 or floating 8 bits (torchao), computed without a compiler, saved as plain tensors.

Blocks of 256 (4 bits: 128) values share a scale; parameters of fewer than 4,096 values, or of a number that is no
multiple of a block, keep 32 bits. Sources: Dettmers and others (2022), ICLR, 8-bit optimizers; Li, Chen, Zhu (2023),
NeurIPS, 4-bit states.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from searchd.errors import Missing
from workers.optimizers.filters import Hyper
from workers.optimizers.roles import Roles

CLASSES: Mapping[str, tuple[str, str, str]] = {
    "adamw_8bit": ("AdamW8bit", "subclass_8bit", "OptimState8bit"),
    "adamw_4bit": ("AdamW4bit", "subclass_4bit", "OptimState4bit"),
    "adamw_fp8": ("AdamWFp8", "subclass_fp8", "OptimStateFp8"),
}
"""The optimizer, and the module and class of its packed moments."""
KIND = "low_bit"


def low_bit(name: str, roles: Roles, h: Hyper) -> Optimizer:
    """The optimizer of that name; Missing where torchao is not installed."""
    if find_spec("torchao") is None:
        raise Missing(f"the optimizer {name} needs torchao: pip install 'searchd[worker]', or use adamw")
    from importlib import import_module

    logging.getLogger("torchao").setLevel(logging.ERROR)  # it tells of kernels for cards that are not here
    kind, module, state = CLASSES[name]
    base = getattr(import_module("torchao.optim"), kind)
    packed = getattr(import_module(f"torchao.optim.{module}"), state)

    class LowBit(base):  # type: ignore[misc,valid-type]  # a class by name
        """Steps without torch.compile: the arithmetic is the same, and no compiler is needed on the worker."""

        def step(self, closure: Any = None) -> Any:
            with torch.compiler.set_stance("force_eager"):
                return super().step(closure)

    LowBit.__name__ = kind
    made: Optimizer = LowBit(
        roles.groups(float(h["weight_decay"])), lr=float(h["lr"]), betas=(float(h["beta1"]), float(h["beta2"])),
        eps=float(h["eps"]),
    )  # fmt: skip
    made.register_state_dict_post_hook(lambda _, state: _saved(state, packed))
    made.register_load_state_dict_pre_hook(lambda _, state: _loaded(state, packed))
    return made


def _saved(state: dict[str, Any], packed: Any) -> dict[str, Any]:
    """A state whose packed moments are mappings of their plain tensors."""

    def plain(value: Any) -> Any:
        if not isinstance(value, packed):
            return value
        names, more = value.__tensor_flatten__()
        rest = [list(m) if isinstance(m, torch.Size) else m for m in more if not isinstance(m, torch.dtype)]
        return {KIND: {n: getattr(value, n) for n in names}, "more": rest}

    return {**state, "state": {i: {k: plain(v) for k, v in one.items()} for i, one in state["state"].items()}}


def _loaded(state: dict[str, Any], packed: Any) -> dict[str, Any]:
    """The same with the packed moments as the library has them."""

    def whole(value: Any) -> Any:
        if not (isinstance(value, Mapping) and KIND in value):
            return value
        tensors = {k: v.clone() for k, v in value[KIND].items()}
        more = [torch.Size(m) if isinstance(m, list) else m for m in value["more"]]
        made = packed(*tensors.values(), *more, dtype=torch.float32)
        return made if isinstance(made, Tensor) else value

    return {**state, "state": {i: {k: whole(v) for k, v in one.items()} for i, one in state["state"].items()}}
