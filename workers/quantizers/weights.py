"""Weights on a grid: learned scales, the quantizer chosen by width (ParetoQ's table); or in a floating format."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from kernels.fake_quant import BINARY, SCALE_FLOOR, SEQ2, TERNARY, Levels, fake_quant, index, lsq, symmetric
from spaces.errors import SpaceError
from spaces.nets import Layer
from workers.quantizers.floating import floating, full

FLOAT_BITS = 32
TERNARY_BITS = 1.58


def levels(bits: float) -> Levels:
    """The quantizer of a width: 1 binary, 1.58 ternary, 2 SEQ, 3 to 7 LSQ, 8 LSQ without its lowest level.

    At 8 bits a batch norm with a negative factor turns codes around, and −(−128) is no int8 code.
    """
    if bits == 1:
        return BINARY
    if bits == TERNARY_BITS:
        return TERNARY
    if bits == 2:
        return SEQ2
    if bits in {3, 4, 5, 6, 7}:
        return lsq(int(bits))
    if bits == 8:
        return symmetric(8)
    raise SpaceError(f"weights of {bits} bits have no quantizer: use 1, 1.58, 2, 3 to 8, or 32 for float")


def unit(grid: Levels) -> float:
    """The step of the integer codes in scales: `code · unit · scale` is the weight, codes are small integers."""
    return (grid.shift or 1.0) / grid.steps


class Weight(nn.Module):
    """A matrix [out, fan_in] that `forward` answers as it will be deployed: on its grid, in its format, or as it is.

    The scale is learned as its logarithm: an optimizer whose steps do not shrink with the gradient (Adam, Lion) then
    changes a scale of .001 and one of 1 by the same share, and it cannot become negative. It is [1] for the whole
    tensor, [out] for one a channel, [out · groups] for groups of a channel's weights.
    """

    def __init__(self, layer: Layer, generator: torch.Generator) -> None:
        super().__init__()
        out, fan_in = layer.outputs, layer.weights // layer.outputs
        bound = math.sqrt(6.0 / fan_in)  # He et al., 2015, for ReLU
        self.matrix = nn.Parameter((torch.rand(out, fan_in, generator=generator) * 2 - 1) * bound)
        self.form, self.shared, self.group = layer.form, layer.shared, layer.group
        self.grid = levels(layer.bits) if layer.integer else None
        self.log_scale: nn.Parameter | None = None
        if self.grid is not None:
            self.log_scale = nn.Parameter(first_scale(self.rows(self.matrix.detach()), self.grid).log())

    def rows(self, matrix: Tensor) -> Tensor:
        """`matrix` [out, fan_in] as what shares a scale, a row each: [1, all], [out, fan_in], [out · groups, group]
        (a last group filled with 0)."""
        if self.shared == "tensor":
            return matrix.reshape(1, -1)
        if self.shared == "channel":
            return matrix
        return functional.pad(matrix, (0, -matrix.shape[1] % self.group)).reshape(-1, self.group)

    def whole(self, rows: Tensor) -> Tensor:
        """What `rows` made of a matrix, as that matrix again."""
        out, fan_in = self.matrix.shape
        return rows.reshape(out, -1)[:, :fan_in]

    def scale(self) -> Tensor:
        """The scales [rows], positive. Only for a quantized weight."""
        if self.log_scale is None:
            raise RuntimeError("a float weight has no scale: this is a bug")
        return self.log_scale.exp().clamp_min(SCALE_FLOOR)

    def scales(self) -> Tensor:
        """The scales as they are stored, [out, groups]."""
        return self.scale().reshape(1, -1).expand(self.matrix.shape[0], 1) if self.shared == "tensor" else (
            self.scale().reshape(self.matrix.shape[0], -1)
        )  # fmt: skip

    def forward(self) -> Tensor:
        if self.form:
            return floating(self.matrix, full(self.matrix, self.form), self.form)
        if self.grid is None:
            return self.matrix
        if self.shared == "group":
            return fake_quant(self.matrix, self.scales(), self.grid, self.group)
        return self.whole(fake_quant(self.rows(self.matrix), self.scale(), self.grid))

    @torch.no_grad()
    def codes(self) -> Tensor:
        """Small integers [out, fan_in] (int8): `codes · unit(grid) · scales` is what `forward` answers."""
        if self.grid is None:
            raise RuntimeError("a float weight has no codes: this is a bug")
        i = self.whole(index(self.rows(self.matrix), self.scale(), self.grid))
        value = (i + self.grid.first + self.grid.shift) / self.grid.steps
        return torch.round(value / unit(self.grid)).to(torch.int8)


def first_scale(matrix: Tensor, grid: Levels) -> Tensor:
    """Scales [rows] to begin with: mean |w| for binary, max |w| for the elastic grids, max |w| / Qp for LSQ."""
    if grid is BINARY:
        scale = matrix.abs().mean(dim=1)
    else:
        scale = matrix.abs().amax(dim=1) / grid.top
    return scale.clamp_min(SCALE_FLOOR)
