"""The norm test: a batch is large enough while the noise of its gradient is small beside the gradient itself.

AdAdaGrad (Lau and others, 2024, arXiv:2402.11215) trains with AdaGrad and lets the test choose batches: with V the
variance of one sample's gradient (summed over coordinates) and g their mean, the next batch is ceil(V / (θ² |g|²)) if
that is larger.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn


def next_batch(variance: float, mean_square: float, theta: float, batch: int, most: int) -> int:
    """The batch after one of `batch`, from the samples' variance and the squared norm of their mean gradient."""
    if not math.isfinite(variance) or not math.isfinite(mean_square) or mean_square <= 0:
        return batch
    wanted = variance / (theta**2 * mean_square)
    return max(batch, math.ceil(min(wanted, most)))


WINDOW = 4
"""Batches in a row whose gradients are compared: the parameters move little meanwhile."""


class NormTest:
    """Sees the gradient of every batch, and is asked for the next batch size once an epoch.

    The variance of one sample is that of the batches of a window, times their size; the epoch's windows are averaged.
    No second pass is needed; but the mean of a window is noisy, so that where the gradient is all noise batches grow
    by about WINDOW / theta² an epoch, whatever a test over more samples would ask for. `size`: the batch so far,
    0 before the first.
    """

    def __init__(self, theta: float, most: int) -> None:
        self.theta, self.most = theta, most
        self.size = 0
        self._window: list[Tensor] = []
        self._squares, self._count = 0.0, 0
        self._variance, self._mean = 0.0, 0.0

    @torch.no_grad()
    def see(self, params: Sequence[nn.Parameter]) -> None:
        """One batch's gradient."""
        gradients = [p.grad for p in params if p.grad is not None]
        if self._window:
            torch._foreach_add_(self._window, gradients)
        else:
            self._window = [g.clone() for g in gradients]
        self._squares += sum(float(g.double().square().sum()) for g in gradients)
        self._count += 1
        if self._count == WINDOW:
            mean = sum(float(s.double().div(WINDOW).square().sum()) for s in self._window)
            self._variance += (self._squares - WINDOW * mean) / (WINDOW - 1)
            self._mean += mean
            self._window, self._squares, self._count = [], 0.0, 0

    def batch(self, given: int) -> int:
        """The size of the next batches, at least `given`."""
        self.size = max(self.size, given)
        self.size = next_batch(self._variance * self.size, self._mean, self.theta, self.size, self.most)
        self._window, self._squares, self._count = [], 0.0, 0
        self._variance = self._mean = 0.0
        return self.size

    def state_dict(self) -> dict[str, Any]:
        sums = {"variance": self._variance, "mean": self._mean}
        return {"size": self.size, "window": list(self._window), "squares": self._squares, "count": self._count, **sums}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.size, self._squares, self._count = int(state["size"]), float(state["squares"]), int(state["count"])
        self._variance, self._mean = float(state["variance"]), float(state["mean"])
        self._window = [s.clone() for s in state["window"]]
