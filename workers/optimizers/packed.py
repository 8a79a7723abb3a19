"""AdamW with moments of 8 or 4 bits, and Lion with a moment of 8, by our own kernels: the whole step in one pass.

Moments are packed as `kernels.blockwise_state` says: 8 bits in blocks of 256, 4 bits in blocks of 128 (and rank-1
scales for the second moment of a matrix). Parameters of fewer than 4,096 values keep 32 bits; all of a group step
together, a launch for the packed ones and one for the others where there is a GPU. A weight takes 2 bytes of state with
`blockwise_adam8` and 1 with `blockwise_adam4` and with `blockwise_lion8`, and the scales (4 bytes a block), where AdamW
has 8 and Lion 4. Sources: Dettmers and others (2022, ICLR); Li, Chen, Zhu (2023, NeurIPS); Chen and others (2023,
NeurIPS).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from kernels import blockwise_adam, blockwise_lion, multi_tensor
from kernels.blockwise_state import FIRST_4, FIRST_8, SECOND_4, SECOND_8, SMALLEST, Scheme, State, zeros
from workers.optimizers.exact import Exact
from workers.optimizers.filters import Hyper
from workers.optimizers.roles import Roles


@dataclass(frozen=True, slots=True)
class Kind:
    """How the moments of an optimizer are packed. Lion has no second one."""

    first: Scheme
    second: Scheme | None = None


KINDS: Mapping[str, Kind] = {
    "blockwise_adam8": Kind(FIRST_8, SECOND_8),
    "blockwise_adam4": Kind(FIRST_4, SECOND_4),
    "blockwise_lion8": Kind(FIRST_8),
}


class Packed(Exact):
    """A state has `step`, and for each moment `m`, `v`: codes (uint8) with `m_scales`, `v_scales`, or 32 bits."""

    def __init__(
        self, groups: Iterable[dict[str, Any]], kind: Kind, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:  # fmt: skip
        self.schemes = {"m": kind.first, **({} if kind.second is None else {"v": kind.second})}
        super().__init__(list(groups), {"lr": lr, "betas": betas, "eps": eps, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # a closure is refused
        """One step of every parameter that has a gradient."""
        if closure is not None:
            raise ValueError("packed optimizers take no closure: call it after the gradients are there")
        for group in self.param_groups:
            together: dict[tuple[bool, int], list[nn.Parameter]] = {}
            for p in group["params"]:
                if p.grad is not None:
                    state = self.state[p]
                    if not state:
                        self._begin(p, state)
                    state["step"] += 1
                    together.setdefault((p.numel() >= SMALLEST, state["step"]), []).append(p)
            for (packed, count), params in together.items():
                self._move(params, count, group, packed=packed)

    def _begin(self, p: nn.Parameter, state: dict[str, Any]) -> None:
        state["step"] = 0
        for name, scheme in self.schemes.items():
            if p.numel() >= SMALLEST:
                made = zeros(p, scheme)
                state[name], state[f"{name}_scales"] = made.codes, made.scales
            else:
                dtype = torch.float64 if p.dtype == torch.float64 else torch.float32
                state[name] = torch.zeros_like(p, dtype=dtype, memory_format=torch.contiguous_format)

    def _move(self, params: list[nn.Parameter], count: int, group: dict[str, Any], *, packed: bool) -> None:
        grads = [p.grad for p in params if p.grad is not None]
        lr, decay, (beta1, beta2) = float(group["lr"]), float(group["weight_decay"]), group["betas"]
        if "v" not in self.schemes:
            if packed:
                blockwise_lion.lion(
                    params, grads, self._packed(params, "m"), lr=lr, beta1=beta1, beta2=beta2, weight_decay=decay
                )
            else:
                multi_tensor.lion(
                    params, grads, self._plain(params, "m"), lr=lr, beta1=beta1, beta2=beta2, weight_decay=decay
                )
        elif packed:
            blockwise_adam.adamw(
                params, grads, self._packed(params, "m"), self._packed(params, "v"), count, lr=lr, beta1=beta1,
                beta2=beta2, eps=float(group["eps"]), weight_decay=decay,
            )  # fmt: skip
        else:
            multi_tensor.adamw(
                params, grads, self._plain(params, "m"), self._plain(params, "v"), count, lr=lr, beta1=beta1,
                beta2=beta2, eps=float(group["eps"]), weight_decay=decay,
            )  # fmt: skip

    def _plain(self, params: list[nn.Parameter], name: str) -> list[Tensor]:
        return [self.state[p][name] for p in params]

    def _packed(self, params: list[nn.Parameter], name: str) -> list[State]:
        scheme = self.schemes[name]
        return [
            State(self.state[p][name], self.state[p][f"{name}_scales"], tuple(p.shape), scheme.of(p.shape))
            for p in params
        ]


def packed(name: str, roles: Roles, h: Hyper) -> Optimizer:
    """The optimizer of that name over all parameters."""
    return Packed(
        roles.groups(float(h["weight_decay"])), KINDS[name], lr=float(h["lr"]),
        betas=(float(h["beta1"]), float(h["beta2"])), eps=float(h.get("eps", 1e-8)),
    )  # fmt: skip
