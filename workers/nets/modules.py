"""The multi-exit network as torch modules, built from its spec; fake-quantized where the spec says so.

How gradients of the early exits reach the blocks is said to `Net` as `backbone`: `joint`: as they are; `frozen`: not
at all, so that early exits learn and change nothing; `equilibrium`: what flows back into the features of exit k is
divided by the number of exits from k on (Li et al., 2019, ICCV, gradient equilibrium).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from spaces.nets import Block, Exit, Layer, NetSpec
from spaces.widths import Form
from workers.quantizers.activations import Activation
from workers.quantizers.weights import Weight
from workers.taps import show


class Stage(nn.Module):
    """One block: [quantize the input], convolution or linear, batch norm, ReLU, [2×2 max-pool], [quantize].

    Max-pooling commutes with ReLU and with quantization (all are monotone), so doing these after the pool gives what
    the deployed network computes before it, four times cheaper.
    """

    def __init__(
        self, block: Block, leaves: tuple[float, Form] | None, enters: bool, signed: bool, generator: torch.Generator
    ) -> None:
        super().__init__()
        layer = block.layer
        self.op, self.kernel, self.inputs = layer.op, layer.kernel, layer.inputs
        self.pool = block.pool
        self.weight = Weight(layer, generator)
        self.norm = nn.BatchNorm2d(layer.outputs) if layer.op == "conv" else nn.BatchNorm1d(layer.outputs)
        reads = (layer.activation_bits, layer.activation_form)
        self.enter = Activation(signed, *reads) if enters and leaves is not None else None
        self.leave = None if leaves is None else Activation(False, *leaves)

    def forward(self, x: Tensor) -> Tensor:
        if self.enter is not None:
            x = self.enter(x)
        matrix = self.weight()
        if self.op == "conv":
            y = functional.conv2d(x, matrix.view(-1, self.inputs, self.kernel, self.kernel), padding=self.kernel // 2)
        else:
            y = functional.linear(x, matrix)
        show(self.weight.matrix, x, y, self.kernel if self.op == "conv" else 0)
        x = self.norm(y)
        if self.pool:
            x = functional.max_pool2d(x, 2)
        x = functional.relu(x)
        return x if self.leave is None else self.leave(x)


class Head(nn.Module):
    """An exit: average pool to the spec's grid (images), [quantize], [hidden layer,] linear to the classes."""

    def __init__(self, exit_: Exit, block: Block, generator: torch.Generator) -> None:
        super().__init__()
        head = exit_.head
        self.grid = exit_.grid
        self.weight = Weight(head, generator)
        self.bias = nn.Parameter(torch.zeros(head.outputs))
        # A map that is as small as the grid comes as the block left it: on a grid of levels already.
        self.pools = exit_.grid is not None and exit_.grid != block.shape[1:]
        self.enter = Activation() if self.pools and head.activation_bits == 8 else None
        self.hidden = None if exit_.hidden is None else Hidden(exit_.hidden, generator)

    def forward(self, x: Tensor) -> Tensor:
        if self.grid is not None and self.pools:
            x = functional.adaptive_avg_pool2d(x, self.grid)
        x = x.flatten(1)
        if self.enter is not None:
            x = self.enter(x)
        if self.hidden is not None:
            x = self.hidden(x)
        y = functional.linear(x, self.weight(), self.bias)
        show(self.weight.matrix, x, y)
        return y


class Hidden(nn.Module):
    """The hidden layer of a head: linear, ReLU, [quantize]."""

    def __init__(self, layer: Layer, generator: torch.Generator) -> None:
        super().__init__()
        self.weight = Weight(layer, generator)
        self.bias = nn.Parameter(torch.zeros(layer.outputs))
        self.leave = Activation() if layer.activation_bits == 8 else None

    def forward(self, x: Tensor) -> Tensor:
        y = functional.linear(x, self.weight(), self.bias)
        show(self.weight.matrix, x, y)
        x = functional.relu(y)
        return x if self.leave is None else self.leave(x)


class Net(nn.Module):
    """Blocks in a row, an exit head after some. `forward` answers the logits of every exit, [B, classes] each."""

    def __init__(self, spec: NetSpec, seed: int, backbone: str = "joint") -> None:
        super().__init__()
        self.spec, self.backbone = spec, backbone
        generator = torch.Generator().manual_seed(seed)
        image = len(spec.input_shape) == 3
        stages = []
        quantized = False
        for i, block in enumerate(spec.blocks):
            # A vector's features are signed; images lie in [0, 1], and what a ReLU lets through is not negative.
            leaves = spec.puts_out(i)
            stages.append(Stage(block, leaves, not quantized, i == 0 and not image, generator))
            quantized = leaves is not None
        self.blocks = nn.ModuleList(stages)
        self.heads = nn.ModuleDict({str(e.block): Head(e, spec.blocks[e.block], generator) for e in spec.exits})

    def forward(self, x: Tensor) -> list[Tensor]:
        logits: list[Tensor] = []
        for i, stage in enumerate(self.blocks):
            x = stage(x)
            if str(i) in self.heads:
                last = len(logits) + 1 == len(self.heads)
                if self.backbone == "equilibrium" and x.requires_grad:
                    x = scaled(x, 1.0 / (len(self.heads) - len(logits)))
                logits.append(self.heads[str(i)](x.detach() if self.backbone == "frozen" and not last else x))
                if self.backbone == "equilibrium" and x.requires_grad:
                    x = scaled(x, float(len(self.heads) - len(logits)))
        return logits


def scaled(x: Tensor, factor: float) -> Tensor:
    """`x`, whose gradient is `factor` times what comes back."""
    out = x.view_as(x)
    out.register_hook(lambda gradient: gradient * factor)  # type: ignore[no-untyped-call]
    return out
