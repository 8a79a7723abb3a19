"""Activations of few bits: one scale a tensor, from a moving maximum that is frozen when training ends."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from kernels.fake_quant import SCALE_FLOOR, Levels, fake_quant, unsigned
from spaces.widths import Form
from workers.quantizers.floating import LARGEST, floating

MOMENTUM = 0.1
"""Of the moving maximum; that of batch norm's statistics, which move with it."""
ZERO_POINT = 128
"""The code of 0 where activations are signed."""


class Activation(nn.Module):
    """Codes on the way through: 0 … 2^bits − 1 times a scale, or ±(2^(bits−1) − 1) when `signed`; or a floating format.

    At 8 bits these are uint8, with zero point 128 when signed; fewer bits use the codes around it. The moving maximum
    is a buffer, so a resumed training continues it.
    """

    maximum: Tensor

    def __init__(self, signed: bool = False, bits: float = 8, form: Form = "") -> None:
        super().__init__()
        self.signed, self.form, self.bits = signed, form, int(bits)
        top = float(2 ** (self.bits - 1) - 1)
        self.grid = Levels(-top, top) if signed else unsigned(self.bits)
        self.register_buffer("maximum", torch.zeros(()))

    @property
    def zero_point(self) -> int:
        return ZERO_POINT if self.signed else 0

    def scale(self) -> Tensor:
        """The size [] of one code; of a floating format what is divided by first."""
        if self.form:
            return (self.maximum / LARGEST["fp8"]).clamp_min(SCALE_FLOOR**2) if self.form == "fp8" else torch.ones(())
        return (self.maximum / self.grid.high).clamp_min(SCALE_FLOOR)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            with torch.no_grad():
                now = x.abs().amax() if self.signed else x.amax()
                self.maximum.copy_(torch.where(self.maximum > 0, torch.lerp(self.maximum, now, MOMENTUM), now))
        if self.form:
            return floating(x, self.scale(), self.form)
        return fake_quant(x, self.scale(), self.grid)
