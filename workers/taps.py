"""What a layer saw in a batch, for optimizers that ask for more than gradients of weights: a tap on a parameter.

An optimizer taps the weights that it wants to know about (`tap`). A layer whose weight is tapped shows its input and
its output (`show`) after it computed it; what comes back through the output is taken when the gradients are computed.
Layers that do not call `show` stay unseen, which the optimizer has to say.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(slots=True)
class Tap:
    """Sums over what was shown since the last `take`: inputs [fan_in] (each forward's mean over samples and places),
    gradients of outputs [outputs] (a loss that is a mean over samples has them divided by their number already)."""

    inputs: Tensor | None = None
    gradients: Tensor | None = None
    forwards: int = 0

    def take(self) -> tuple[Tensor, Tensor] | None:
        """(mean input [fan_in], mean gradient of a sample's output [outputs]), and begin anew; None when unseen."""
        inputs, gradients, count = self.inputs, self.gradients, self.forwards
        self.inputs = self.gradients = None
        self.forwards = 0
        return None if inputs is None or gradients is None else (inputs / count, gradients)


def tap(weight: nn.Parameter) -> None:
    """From now on layers show what this weight saw."""
    weight.tap = Tap()  # type: ignore[attr-defined]


def tap_of(weight: nn.Parameter) -> Tap | None:
    """The tap on a weight, if any."""
    found = getattr(weight, "tap", None)
    return found if isinstance(found, Tap) else None


def show(weight: nn.Parameter, x: Tensor, y: Tensor, kernel: int = 0) -> None:
    """A layer with the matrix `weight` [outputs, fan_in] made `y` of `x`: [B, …, channels], or where `kernel` says so
    [B, channels, H, W] as a convolution of that size that keeps H and W. Costs nothing where nobody asked."""
    found = tap_of(weight)
    if found is None or not y.requires_grad:
        return
    mean = x.detach()
    if kernel:
        patches = functional.unfold(mean.mean(0, keepdim=True), kernel, padding=kernel // 2)  # linear: the mean first
        mean = patches.mean((0, 2))
    else:
        mean = mean.flatten(0, -2).mean(0)
    found.inputs = mean if found.inputs is None else found.inputs + mean
    found.forwards += 1

    @torch.no_grad()
    def came_back(gradient: Tensor) -> None:
        total = gradient.sum((0, 2, 3)) if kernel else gradient.flatten(0, -2).sum(0)
        found.gradients = total if found.gradients is None else found.gradients + total

    y.register_hook(came_back)  # type: ignore[no-untyped-call]
