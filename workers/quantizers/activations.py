"""Activations at 8 bits: one scale a tensor, from a moving maximum that is frozen when training ends."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from kernels.fake_quant import SCALE_FLOOR, Levels, fake_quant, unsigned

MOMENTUM = 0.1
"""Of the moving maximum; that of batch norm's statistics, which move with it."""


class Activation(nn.Module):
    """uint8 on the way through: codes 0…255 times a scale, or −127…127 (zero point 128) when `signed`.

    The moving maximum is a buffer, so a resumed training continues it.
    """

    maximum: Tensor

    def __init__(self, signed: bool = False) -> None:
        super().__init__()
        self.signed = signed
        self.grid = Levels(-127.0, 127.0) if signed else unsigned(8)
        self.register_buffer("maximum", torch.zeros(()))

    @property
    def zero_point(self) -> int:
        return 128 if self.signed else 0

    def scale(self) -> Tensor:
        """The size [] of one code."""
        return (self.maximum / self.grid.high).clamp_min(SCALE_FLOOR)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            with torch.no_grad():
                now = x.abs().amax() if self.signed else x.amax()
                self.maximum.copy_(torch.where(self.maximum > 0, torch.lerp(self.maximum, now, MOMENTUM), now))
        return fake_quant(x, self.scale(), self.grid)
