"""A folded network as a torch module: what torch runs on a CPU or an accelerator, batch norm folded.

Layers are float32 but for those that a kernel of few bits runs: a linear layer of 1 to 8 bits, where `lowbit_linear`
has one on the device. It reads the same codes in bit-planes. Where the layer's inputs are integers in training, they
are here: rounded by the scale that training left, a zero point counted in the bias, so that the layer answers what the
trained one does, to roundings of floats. Other layers read floats as they come. `kernels.int8_linear` is not used: it
would round inputs by a scale of each sample, which is not what the network was trained with.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional

from kernels._choose import Choice, explain
from kernels.lowbit_linear import OP, Format, eight, lowbit_linear, pack
from spaces.kernels import FLOAT, Ran, in_torch
from workers.nets.fold import Folded, FoldedNet, Grid

BIPOLAR = (1, 2)
"""The widths whose codes are odd integers: binary, and ParetoQ's two bits."""


def format_of(layer: Folded) -> Format:
    """How the codes of a quantized layer lie in bit-planes; three levels take two bits."""
    bits = layer.layer.bits
    return Format(2 if bits == 1.58 else int(bits), bits in BIPOLAR)


@cache
def _tried(device: torch.device, integers: bool) -> None:
    x, form, one = torch.ones(1, 8, device=device), Format(1, True), torch.ones(1, 1, device=device)
    planes = pack(torch.ones(1, 8, dtype=torch.int16), form).to(device)
    if integers:
        lowbit_linear(x.to(torch.int8), planes, one, bipolar=form.bipolar, x_scale=one[0, 0])
    else:
        lowbit_linear(x, planes, one, bipolar=form.bipolar)


def kernel_on(device: torch.device, integers: bool = False) -> Choice:
    """Who runs `lowbit_linear` there, of floats or of `integers`, and why. What is built on first use is built first:
    that may fail."""
    _tried(device, integers)
    return explain(eight.OP, device, torch.int8) if integers else explain(OP, device, torch.float32)


def entering(net: FoldedNet) -> dict[str, Grid]:
    """For each layer that reads integers, by its name, the grid that they are on."""
    found: dict[str, Grid | None] = {}
    passed: Grid | None = None
    for block, layer in zip(net.spec.blocks, net.blocks, strict=True):
        found[layer.layer.name] = layer.enter or passed
        passed = layer.leave
        if (head := net.heads.get(block.index)) is not None:
            hidden = net.hidden.get(block.index)
            first = hidden or head
            # What a pool leaves is on no grid, unless it is rounded again; one to as many cells changes nothing.
            pools = any(e.block == block.index and e.grid not in (None, block.shape[1:]) for e in net.spec.exits)
            found[first.layer.name] = first.enter or (None if pools else passed)
            if hidden is not None:
                found[head.layer.name] = hidden.leave
    return {name: grid for name, grid in found.items() if grid is not None and not grid.form}


def ran(layer: Folded, device: torch.device, low_bit: bool, reads: Grid | None = None) -> Ran:
    """What runs a layer on the device, and why. `low_bit`: whether kernels of few bits are asked for at all; `reads`:
    the grid of its input, where that is integers."""
    against = in_torch(layer.layer)
    if against is not None:
        return layer.layer, FLOAT, against
    if layer.codes is None:
        return layer.layer, FLOAT, "its codes were made floats"
    if not low_bit:
        return layer.layer, FLOAT, "kernels of few bits were not asked for"
    choice = kernel_on(device, integers=reads is not None)
    if choice.provider in ("torch", "reference"):
        return layer.layer, FLOAT, f"no kernel of {OP} here: {choice.why}"
    of = "" if reads is None else " of int8 inputs"
    return layer.layer, f"runs at {format_of(layer).bits} by {OP}{of}", f"{choice.provider}: {choice.why}"


def kernel_bits(layer: Folded, device: torch.device, low_bit: bool, reads: Grid | None = None) -> int:
    """The bits that a layer runs with: its own, or 32."""
    return 32 if ran(layer, device, low_bit, reads)[1] == FLOAT else format_of(layer).bits


class Plain(nn.Module):
    """A convolution or linear layer in float32."""

    weight: Tensor
    bias: Tensor

    def __init__(self, layer: Folded) -> None:
        super().__init__()
        of = layer.layer
        self.conv, self.padding = of.op == "conv", of.kernel // 2
        shape = (of.outputs, of.inputs, of.kernel, of.kernel) if self.conv else (of.outputs, of.inputs)
        self.register_buffer("weight", torch.from_numpy(layer.weight.copy()).reshape(shape))
        self.register_buffer("bias", torch.from_numpy(layer.bias.copy()))

    def forward(self, x: Tensor, relu: bool) -> Tensor:
        if self.conv:
            y = functional.conv2d(x, self.weight, self.bias, padding=self.padding)
        else:
            y = functional.linear(x, self.weight, self.bias)
        return functional.relu(y) if relu else y


class Planes(nn.Module):
    """A linear layer in bit-planes. `reads`: the grid that its inputs are rounded to; None: they stay floats."""

    planes: Tensor
    scales: Tensor
    bias: Tensor
    x_scale: Tensor

    def __init__(self, layer: Folded, reads: Grid | None = None) -> None:
        super().__init__()
        if layer.codes is None or layer.scale is None:
            raise RuntimeError("a float layer has no codes to lie in planes: this is a bug")
        form = format_of(layer)
        scale = torch.from_numpy(layer.scale.copy())
        bias = torch.from_numpy(layer.bias.copy())
        self.bipolar = form.bipolar
        self.group = layer.layer.group if scale.dim() == 2 else 0
        self.levels: tuple[int, int, int] | None = None
        if reads is not None:
            high = reads.high - reads.zero_point
            # Signed levels are as many below 0 as above it: int8's −128 is none. Levels 0 to 255 are −128 to 127.
            zero = 128 if high > 127 else 0
            self.levels = (max(reads.low - reads.zero_point, -high), high, zero)
            bias = (bias + zero * reads.scale * torch.from_numpy(layer.weight).double().sum(1)).float()
            self.register_buffer("x_scale", torch.tensor(reads.scale, dtype=torch.float32))
        self.register_buffer("planes", pack(torch.from_numpy(layer.codes), form))
        self.register_buffer("scales", scale if scale.dim() == 2 else scale[:, None].contiguous())
        self.register_buffer("bias", bias)

    def forward(self, x: Tensor, relu: bool) -> Tensor:
        x_scale, levels = (self.x_scale, self.levels) if self.levels is not None else (None, None)
        return lowbit_linear(
            x, self.planes, self.scales, self.bias, bipolar=self.bipolar, group=self.group, relu=relu, x_scale=x_scale,
            x_levels=levels,
        )  # fmt: skip


class EagerNet(nn.Module):
    """The blocks up to exit number `last_exit` (None: all) and the heads on the way. `forward` answers the logits of
    every exit, [B, classes] each. `low_bit`: the device whose kernels of few bits run what they can; None: none."""

    def __init__(self, net: FoldedNet, last_exit: int | None = None, low_bit: torch.device | None = None) -> None:
        super().__init__()
        exits = net.spec.exits if last_exit is None else net.spec.exits[: last_exit + 1]
        self.stages = net.spec.blocks[: exits[-1].block + 1]
        self.grids = {e.block: e.grid for e in exits}

        grids = entering(net)

        def made(layer: Folded) -> nn.Module:
            reads = grids.get(layer.layer.name)
            small = low_bit is not None and kernel_bits(layer, low_bit, low_bit=True, reads=reads) < 32
            return Planes(layer, reads) if small else Plain(layer)

        self.blocks = nn.ModuleList(made(net.blocks[b.index]) for b in self.stages)
        self.heads = nn.ModuleDict({str(i): made(net.heads[i]) for i in self.grids})
        self.hidden = nn.ModuleDict({str(i): made(net.hidden[i]) for i in self.grids if i in net.hidden})

    def forward(self, x: Tensor) -> list[Tensor]:
        logits = []
        for block, layer in zip(self.stages, self.blocks, strict=True):
            x = layer(x, relu=True)
            if block.pool:
                x = functional.max_pool2d(x, 2)
            if block.index in self.grids:
                grid, name = self.grids[block.index], str(block.index)
                y = x if grid is None or grid == block.shape[1:] else functional.adaptive_avg_pool2d(x, grid)
                y = y.flatten(1)
                if name in self.hidden:
                    y = self.hidden[name](y, relu=True)
                logits.append(self.heads[name](y, relu=False))
        return logits
