"""Batch norm folded into its layer: integer codes, one scale a channel, one bias; what is stored and exported."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from spaces.nets import Layer, NetSpec
from workers.nets.modules import Head, Net, Stage
from workers.quantizers.activations import Activation
from workers.quantizers.weights import Weight, unit

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Grid:
    """8-bit activations: a scale and a zero point (0, or 128 for signed ones)."""

    scale: float
    zero_point: int


@dataclass(frozen=True, slots=True)
class Folded:
    """One layer ready to deploy. Quantized: `weight` [out, fan_in] is `codes` (int8) times `scale` [out], which is
    negative where batch norm turns a channel around; float: no codes, no scale. `bias` [out]."""

    layer: Layer
    codes: NDArray[np.int8] | None
    scale: Floats | None
    weight: Floats
    bias: Floats
    enter: Grid | None
    """Quantizes what comes in, where the layer before did not."""
    leave: Grid | None
    """Quantizes what goes out (after the ReLU)."""


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
    b = _array(bias)
    if weight.grid is None:
        return Folded(layer, None, None, _array(weight.matrix * gain[:, None]), b, None, None)
    codes = weight.codes().numpy()
    scale = _array(weight.scale() * unit(weight.grid) * gain)
    return Folded(layer, codes, scale, product(codes, scale), b, _grid(enter), _grid(leave))


def product(codes: NDArray[np.int8], scale: Floats) -> Floats:
    """The float weights that codes and scales stand for."""
    return codes.astype(np.float32) * scale[:, None]


def _grid(activation: Activation | None) -> Grid | None:
    return None if activation is None else Grid(float(activation.scale()), activation.zero_point)


def _array(tensor: torch.Tensor) -> Floats:
    return np.ascontiguousarray(tensor.detach().cpu().numpy().astype(np.float32))
