"""Batch norm folded into its layer: integer codes, one scale a channel, one bias; what is stored and exported."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from spaces.nets import Layer, NetSpec
from spaces.widths import Form
from workers.nets.modules import Head, Net, Stage
from workers.quantizers.activations import Activation
from workers.quantizers.floating import full, patterns, rounded
from workers.quantizers.weights import Weight, unit

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Grid:
    """Quantized activations: a scale and a zero point (0, or 128 for signed ones), and the codes in use [low, high];
    or a floating format, and what is divided by before it."""

    scale: float
    zero_point: int
    low: int = 0
    high: int = 255
    form: Form = ""


@dataclass(frozen=True, slots=True)
class Folded:
    """One layer ready to deploy. Quantized: `weight` [out, fan_in] is `codes` (int8) times `scale` [out], which is
    negative where batch norm turns a channel around, or [out, groups]; in a floating format `raw` (bit patterns, uint8
    or uint16) times `scale`; float: no codes, no scale. `bias` [out]."""

    layer: Layer
    codes: NDArray[np.int8] | None
    scale: Floats | None
    weight: Floats
    bias: Floats
    enter: Grid | None
    """Quantizes what comes in, where the layer before did not."""
    leave: Grid | None
    """Quantizes what goes out (after the ReLU)."""
    raw: NDArray[np.unsignedinteger[Any]] | None = None

    @property
    def integer(self) -> bool:
        """Whether an integer kernel is to run it."""
        return self.codes is not None and self.layer.kernel_bits == 8


@dataclass(frozen=True, slots=True)
class FoldedNet:
    """A trained network without torch: blocks in order, heads by the block they follow."""

    spec: NetSpec
    blocks: tuple[Folded, ...]
    heads: dict[int, Folded]
    hidden: dict[int, Folded] = field(default_factory=dict)
    """The hidden layers of heads that have one, by the same block."""

    def layers(self) -> list[Folded]:
        """Every layer in the order of storage: each block, then its head if it has one."""
        out = []
        for i, block in enumerate(self.blocks):
            out.append(block)
            out += [heads[i] for heads in (self.hidden, self.heads) if i in heads]
        return out


@torch.no_grad()
def fold(net: Net) -> FoldedNet:
    """The network as it will be deployed (batch norm by its running statistics)."""
    blocks = []
    for block, module in zip(net.spec.blocks, net.blocks, strict=True):
        stage = cast(Stage, module)
        norm = stage.norm
        gain = norm.weight / torch.sqrt(cast(Any, norm.running_var) + norm.eps)
        bias = norm.bias - gain * cast(Any, norm.running_mean)
        blocks.append(_layer(block.layer, stage.weight, gain, bias, stage.enter, stage.leave))
    heads, hidden = {}, {}
    for exit_ in net.spec.exits:
        head = cast(Head, net.heads[str(exit_.block)])
        ones = torch.ones_like(head.bias)
        if exit_.hidden is None or head.hidden is None:
            heads[exit_.block] = _layer(exit_.head, head.weight, ones, head.bias, head.enter, None)
            continue
        deep, units = head.hidden, torch.ones_like(head.hidden.bias)
        hidden[exit_.block] = _layer(exit_.hidden, deep.weight, units, deep.bias, head.enter, deep.leave)
        heads[exit_.block] = _layer(exit_.head, head.weight, ones, head.bias, None, None)
    return FoldedNet(net.spec, tuple(blocks), heads, hidden)


def _layer(
    layer: Layer,
    weight: Weight,
    gain: torch.Tensor,
    bias: torch.Tensor,
    enter: Activation | None,
    leave: Activation | None,
) -> Folded:
    b, ends = _array(bias), (_grid(enter), _grid(leave))
    if weight.form:
        full_scale = full(weight.matrix, weight.form)
        numbers = rounded(weight.matrix, full_scale, weight.form)
        scale = _array(full_scale * gain)
        return Folded(layer, None, scale, product(_array(numbers.float()), scale), b, *ends, patterns(numbers))
    if weight.grid is None:
        return Folded(layer, None, None, _array(weight.matrix * gain[:, None]), b, *ends)
    codes = weight.codes().numpy()
    scale = _array(weight.scales() * unit(weight.grid) * gain[:, None])
    scale = scale if weight.shared == "group" else scale[:, 0]
    return Folded(layer, codes, scale, product(codes, scale, weight.group), b, *ends)


def product(codes: NDArray[Any], scale: Floats, group: int = 1) -> Floats:
    """The float weights [out, fan_in] that codes (or numbers) and scales, [out] or [out, groups], stand for."""
    if scale.ndim == 2:
        return codes.astype(np.float32) * np.repeat(scale, group, axis=1)[:, : codes.shape[1]]
    return codes.astype(np.float32) * scale[:, None]


def _grid(activation: Activation | None) -> Grid | None:
    if activation is None:
        return None
    if activation.form:
        return Grid(float(activation.scale()), 0, form=activation.form)
    zero, grid = activation.zero_point, activation.grid
    if activation.bits == 8:
        return Grid(float(activation.scale()), zero)
    return Grid(float(activation.scale()), zero, zero + int(grid.low), zero + int(grid.high))


def _array(tensor: torch.Tensor) -> Floats:
    return np.ascontiguousarray(tensor.detach().cpu().numpy().astype(np.float32))
