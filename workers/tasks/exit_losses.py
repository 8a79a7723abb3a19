"""The loss of a network with several exits (ALGORITHMS.md 14.1): weights, and self-distillation from the last exit."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from spaces.exits import ExitTraining, loss_weights

Loss = Callable[[list[Tensor], Tensor], Tensor]
"""The loss of a batch from the logits [B, classes] of each exit and the labels [B]."""

SOFTNESS = 3.0
"""Temperature of self-distillation, as in Zhang et al. (2019, ICCV, "Be your own teacher")."""


def mean_loss(logits: list[Tensor], y: Tensor) -> Tensor:
    """Cross-entropy, the mean over the exits (uniform weights)."""
    return torch.stack([functional.cross_entropy(one, y) for one in logits]).mean()


def loss_of(said: ExitTraining) -> Loss:
    """What a config asks for: Σ w_k L_k with w of `spaces.exits.loss_weights`. L is the cross-entropy; with `distill` =
    a an early exit's is (1 - a) cross-entropy + a T² KL(last || it) of softmax(logits / T), T = SOFTNESS, and the last
    exit does not learn from that."""
    if said.plain:
        return mean_loss

    def loss(logits: list[Tensor], y: Tensor) -> Tensor:
        parts = [functional.cross_entropy(one, y) for one in logits]
        if said.distill:
            teacher = functional.softmax(logits[-1].detach() / SOFTNESS, dim=1)
            for k, one in enumerate(logits[:-1]):
                told = functional.kl_div(functional.log_softmax(one / SOFTNESS, dim=1), teacher, reduction="batchmean")
                parts[k] = (1 - said.distill) * parts[k] + said.distill * SOFTNESS**2 * told
        weights = loss_weights(said.weights, len(parts))
        return torch.stack([w * part for w, part in zip(weights, parts, strict=True)]).sum()

    return loss


def backward(said: ExitTraining) -> str:
    """How gradients of early exits reach the blocks, as `Net` takes it: `frozen` wins over `equilibrium`."""
    if said.backbone == "frozen":
        return "frozen"
    return "equilibrium" if said.weights == "equilibrium" else "joint"
