"""Sophia (Liu and others, 2024, ICLR): steps over a moving estimate of the Hessian's diagonal, clipped.

Every `frequency` steps the estimate needs second derivatives (Hutchinson), so gradients come from
`Optimizers.backward`, which keeps their graph.
"""

from __future__ import annotations

from typing import Any

from torch.optim import Optimizer

from spaces.errors import SpaceError
from workers.optimizers.filters import Hyper
from workers.optimizers.plain import as_saved
from workers.optimizers.roles import Roles


def sophia(roles: Roles, h: Hyper) -> Optimizer:
    """pytorch_optimizer's SophiaH, which says what it needs when gradients come without a graph."""
    from pytorch_optimizer import SophiaH

    class Sophia(SophiaH):
        def step(self, closure: Any = None, hessian: Any = None) -> Any:
            due = (self.param_groups[0].get("step", 0)) % self.update_period == 0
            gradients = [p.grad for g in self.param_groups for p in g["params"] if p.grad is not None]
            if due and hessian is None and not all(g.requires_grad for g in gradients):
                raise SpaceError("sophia needs second derivatives: call optimizer.backward(loss), or use adamw")
            return super().step(closure, hessian)

    made: Optimizer = Sophia(
        roles.groups(float(h["weight_decay"])), lr=float(h["lr"]), betas=(float(h["beta1"]), float(h["beta2"])),
        p=float(h["p"]), update_period=int(h["frequency"]),
    )  # fmt: skip
    return as_saved(made)
