"""Networks for tests: trained for a few steps, so that statistics and scales are those of a real one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from spaces.nets import network
from workers.nets.modules import Net
from workers.optimizers import Roles, build
from workers.tasks.classify import mean_loss


def trained(
    config: Mapping[str, Any], shape: tuple[int, ...] = (1, 8, 8), classes: int = 4, steps: int = 12, seed: int = 0
) -> tuple[Net, Tensor]:
    """(network in eval mode, samples [64, *shape]) after `steps` of AdamW on random samples with learnable labels."""
    g = torch.Generator().manual_seed(seed)
    net = Net(network(config, shape, classes), seed)
    x = torch.rand(64, *shape, generator=g)
    if len(shape) == 1:
        x = x * 4 - 2
    y = (x.flatten(1) @ torch.randn(x[0].numel(), classes, generator=g)).argmax(1)
    optimizer = build("adamw", Roles.of(net.named_parameters()), {"lr": 0.01})
    net.train()
    for _ in range(steps):
        loss = mean_loss(net(x), y)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    return net.eval(), x
