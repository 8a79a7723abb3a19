"""Batch norms of weights that are evaluated and not trained: their statistics have to be taken anew.

Schedule-free methods and averages evaluate weights that no batch went through (Defazio and others, 2024, section on
batch norm; Izmailov and others, 2018, on averages).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

CHUNK = 256


@torch.no_grad()
def renew_norms(net: nn.Module, x: Tensor) -> None:
    """Means and variances of every batch norm become those of `x` [n, …]; the network is in eval mode after it."""
    net.eval()
    norms = [m for m in net.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats]
    momenta = [m.momentum for m in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over the chunks
        norm.train()
    for chunk in torch.tensor_split(x, max(1, -(-len(x) // CHUNK))) if norms else ():
        net(chunk)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()
