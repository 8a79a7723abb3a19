"""Optimizers by name, each built from the hyperparameters of its own sub-space: of torch, pytorch_optimizer, torchao,
and ours. `build` is the way in; names, defaults and rules are `spaces.optimizers`.
"""

from __future__ import annotations

from workers.optimizers.build import BUILDERS, build
from workers.optimizers.roles import Roles
from workers.optimizers.together import Optimizers

__all__ = ["BUILDERS", "Optimizers", "Roles", "build"]
