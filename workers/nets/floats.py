"""A folded network as a torch module in float32: what torch runs on a CPU or an accelerator, batch norm folded."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from workers.nets.fold import Folded, FoldedNet


class FloatNet(nn.Module):
    """The blocks up to exit number `last_exit` (None: all) and the heads on the way. `forward` answers the logits of
    every exit, [B, classes] each."""

    def __init__(self, net: FoldedNet, last_exit: int | None = None) -> None:
        super().__init__()
        self.spec = net.spec
        self.exits = net.spec.exits if last_exit is None else net.spec.exits[: last_exit + 1]
        self.depth = self.exits[-1].block + 1
        for i in range(self.depth):
            self._keep(f"block{i}", net.blocks[i])
        for exit_ in self.exits:
            self._keep(f"head{exit_.block}", net.heads[exit_.block])

    def _keep(self, name: str, layer: Folded) -> None:
        shape = layer.layer
        weight = torch.from_numpy(layer.weight.copy())
        if shape.op == "conv":
            weight = weight.reshape(shape.outputs, shape.inputs, shape.kernel, shape.kernel)
        else:
            weight = weight.reshape(shape.outputs, shape.inputs)
        self.register_buffer(f"{name}_weight", weight)
        self.register_buffer(f"{name}_bias", torch.from_numpy(layer.bias.copy()))

    def forward(self, x: Tensor) -> list[Tensor]:
        heads = {e.block: e for e in self.exits}
        logits = []
        for i, block in enumerate(self.spec.blocks[: self.depth]):
            weight, bias = self.get_buffer(f"block{i}_weight"), self.get_buffer(f"block{i}_bias")
            if block.layer.op == "conv":
                x = functional.conv2d(x, weight, bias, padding=block.layer.kernel // 2)
            else:
                x = functional.linear(x, weight, bias)
            x = functional.relu(x)
            if block.pool:
                x = functional.max_pool2d(x, 2)
            if i in heads:
                grid = heads[i].grid
                y = x if grid is None or grid == block.shape[1:] else functional.adaptive_avg_pool2d(x, grid)
                head = self.get_buffer(f"head{i}_weight"), self.get_buffer(f"head{i}_bias")
                logits.append(functional.linear(y.flatten(1), *head))
        return logits
