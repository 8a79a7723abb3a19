"""A folded network as a torch module: what torch runs on a CPU or an accelerator, batch norm folded.

Layers are float32 but for those that a kernel of few bits runs: a linear layer of 1 to 8 bits, where `lowbit_linear`
has one on the device. It reads the same codes in bit-planes and the same inputs, in floats, so the network answers the
same to a rounding of its sums. Activations are not quantized here, and `kernels.int8_linear` is not used: it would
round them by a scale of each sample, which is not what the network was trained with.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional

from kernels._choose import Choice, explain
from kernels.lowbit_linear import OP, Format, lowbit_linear, pack
from spaces.kernels import FLOAT, Ran, in_torch
from workers.nets.fold import Folded, FoldedNet

BIPOLAR = (1, 2)
"""The widths whose codes are odd integers: binary, and ParetoQ's two bits."""


def format_of(layer: Folded) -> Format:
    """How the codes of a quantized layer lie in bit-planes; three levels take two bits."""
    bits = layer.layer.bits
    return Format(2 if bits == 1.58 else int(bits), bits in BIPOLAR)


@cache
def _tried(device: torch.device) -> None:
    x, form = torch.ones(1, 8, device=device), Format(1, True)
    planes = pack(torch.ones(1, 8, dtype=torch.int16), form).to(device)
    lowbit_linear(x, planes, torch.ones(1, 1, device=device), bipolar=form.bipolar)


def kernel_on(device: torch.device) -> Choice:
    """Who runs `lowbit_linear` there, and why. What is built on first use is built first: that may fail."""
    _tried(device)
    return explain(OP, device, torch.float32)


def ran(layer: Folded, device: torch.device, low_bit: bool) -> Ran:
    """What runs a layer on the device, and why. `low_bit`: whether kernels of few bits are asked for at all."""
    against = in_torch(layer.layer)
    if against is not None:
        return layer.layer, FLOAT, against
    if layer.codes is None:
        return layer.layer, FLOAT, "its codes were made floats"
    if not low_bit:
        return layer.layer, FLOAT, "kernels of few bits were not asked for"
    choice = kernel_on(device)
    if choice.provider in ("torch", "reference"):
        return layer.layer, FLOAT, f"no kernel of {OP} here: {choice.why}"
    return layer.layer, f"runs at {format_of(layer).bits} by {OP}", f"{choice.provider}: {choice.why}"


def kernel_bits(layer: Folded, device: torch.device, low_bit: bool) -> int:
    """The bits that a layer runs with: its own, or 32."""
    return 32 if ran(layer, device, low_bit)[1] == FLOAT else format_of(layer).bits


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
    """A linear layer in bit-planes."""

    planes: Tensor
    scales: Tensor
    bias: Tensor

    def __init__(self, layer: Folded) -> None:
        super().__init__()
        if layer.codes is None or layer.scale is None:
            raise RuntimeError("a float layer has no codes to lie in planes: this is a bug")
        form = format_of(layer)
        scale = torch.from_numpy(layer.scale.copy())
        self.bipolar = form.bipolar
        self.group = layer.layer.group if scale.dim() == 2 else 0
        self.register_buffer("planes", pack(torch.from_numpy(layer.codes), form))
        self.register_buffer("scales", scale if scale.dim() == 2 else scale[:, None].contiguous())
        self.register_buffer("bias", torch.from_numpy(layer.bias.copy()))

    def forward(self, x: Tensor, relu: bool) -> Tensor:
        return lowbit_linear(
            x, self.planes, self.scales, self.bias, bipolar=self.bipolar, group=self.group, relu=relu
        )  # fmt: skip


class EagerNet(nn.Module):
    """The blocks up to exit number `last_exit` (None: all) and the heads on the way. `forward` answers the logits of
    every exit, [B, classes] each. `low_bit`: the device whose kernels of few bits run what they can; None: none."""

    def __init__(self, net: FoldedNet, last_exit: int | None = None, low_bit: torch.device | None = None) -> None:
        super().__init__()
        exits = net.spec.exits if last_exit is None else net.spec.exits[: last_exit + 1]
        self.stages = net.spec.blocks[: exits[-1].block + 1]
        self.grids = {e.block: e.grid for e in exits}

        def made(layer: Folded) -> nn.Module:
            small = low_bit is not None and kernel_bits(layer, low_bit, low_bit=True) < 32
            return Planes(layer) if small else Plain(layer)

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
