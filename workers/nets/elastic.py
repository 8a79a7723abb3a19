"""A super-network: one set of weights that every sub-network of an elastic space is a part of.

A layer gives the first `outputs` x `inputs` of its weights. A smaller kernel is the centre of the larger one after a
learned linear map that all channels of the layer share (25 x 25 for 7 -> 5, 9 x 9 for 5 -> 3: 706 numbers a layer),
the identity at first (Cai et al., Once-for-All, 2020, ICLR). Fewer bits come from the 8-bit integers by double rounding
(Huang et al., 2025). Batch norm has no running statistics here: they differ between sub-networks, and are taken anew
for each one that is cut out (`workers.nets.subnet`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from spaces.elastic import ElasticSpace
from spaces.operators import Operator
from spaces.subnets import Step, SubnetSpec, subnet
from workers.optimizers import Roles
from workers.quantizers.double_rounding import double_round, first_scale

EPS = 1e-5
FLOAT_BITS = 32
Apply = Callable[[Step, Tensor], Tensor]


class ElasticLayer(nn.Module):
    """A convolution, depthwise convolution or linear layer at its largest, with the gain and shift of its batch norm; a
    head has a bias instead. `kernels`: those that it can be asked for, rising."""

    gain: nn.Parameter | None

    def __init__(self, largest: Operator, kernels: Sequence[int], head: bool, generator: torch.Generator) -> None:
        super().__init__()
        self.outputs, self.inputs = largest.outputs, largest.inputs // largest.groups
        self.kernels = tuple(kernels)
        fan_in = self.inputs * largest.kernel**2
        bound = math.sqrt(6.0 / fan_in)  # He et al., 2015, for ReLU
        self.weight = nn.Parameter((torch.rand(self.outputs, fan_in, generator=generator) * 2 - 1) * bound)
        self.maps = nn.ParameterDict({str(k): nn.Parameter(torch.eye(k * k)) for k in self.kernels[:-1]})
        self.gain = None if head else nn.Parameter(torch.ones(self.outputs))
        self.shift = nn.Parameter(torch.zeros(self.outputs))

    def at_kernel(self, kernel: int) -> Tensor:
        """All weights [outputs, inputs, kernel, kernel] at a kernel size, map after map down from the largest."""
        size = self.kernels[-1]
        w = self.weight.view(self.outputs, self.inputs, size, size)
        for smaller in reversed(self.kernels[:-1]):
            if size == kernel:
                break
            cut = (size - smaller) // 2
            centre = w[:, :, cut : size - cut, cut : size - cut].reshape(-1, smaller * smaller)
            w = (centre @ self.maps[str(smaller)]).view(self.outputs, self.inputs, smaller, smaller)
            size = smaller
        return w

    def part(self, operator: Operator) -> tuple[Tensor, Tensor]:
        """(weights [out, in, k, k] of a sub-network's layer before any rounding, scales [out] of their 8-bit integers).
        A scale is that of the whole layer at this kernel, so that every width shares the integers."""
        whole = self.at_kernel(operator.kernel)
        inputs = operator.inputs // operator.groups
        return whole[: operator.outputs, :inputs], first_scale(whole.detach())[: operator.outputs]

    def weights(self, operator: Operator) -> Tensor:
        """The weights [out, in, k, k] with which a sub-network's layer runs."""
        w, scale = self.part(operator)
        return w if operator.bits >= FLOAT_BITS else double_round(w, scale, int(operator.bits))


class Supernet(nn.Module):
    """All layers of an elastic space. `forward(x, spec)`: the logits [B, classes] of one sub-network, each batch
    norm by the statistics of the batch [B, C, H, W] or [B, F] that goes through it."""

    def __init__(self, space: ElasticSpace, seed: int) -> None:
        super().__init__()
        self.space = space
        self.biggest = subnet(space, space.extreme(True))
        generator = torch.Generator().manual_seed(seed)
        layers = {}
        for step in self.biggest.layers:
            layers[_key(step.name)] = ElasticLayer(
                step.operator, elastic_kernels(space, step), step.is_head, generator
            )
        self.layers = nn.ModuleDict(layers)
        with torch.no_grad():  # a block with a shortcut begins as the identity (BigNAS)
            for step in self.biggest.steps:
                if step.operator.op == "add":
                    last = self.layer(step.name.removesuffix("add") + "narrow").gain
                    if last is not None:
                        last.zero_()

    def layer(self, name: str) -> ElasticLayer:
        """The layer of a step's name."""
        return cast(ElasticLayer, self.layers[_key(name)])

    def forward(self, x: Tensor, spec: SubnetSpec) -> Tensor:
        return self.exits(x, spec)[-1]

    def exits(self, x: Tensor, spec: SubnetSpec) -> list[Tensor]:
        """The logits [B, classes] of every exit of one sub-network, `forward`'s the last."""

        def apply(step: Step, x: Tensor) -> Tensor:
            layer = self.layer(step.name)
            y = linear(step.operator, x, layer.weights(step.operator))
            if layer.gain is None:
                return y + layer.shift
            out = step.operator.outputs
            return functional.batch_norm(y, None, None, layer.gain[:out], layer.shift[:out], training=True, eps=EPS)

        return run(spec, apply, x)

    def roles(self) -> Roles:
        """The parameters by what an optimizer may do to them: kernel maps never decay, they begin as identities."""
        hidden = [self.layer(s.name).weight for s in self.biggest.layers if not s.is_head]
        heads = [self.layer(s.name).weight for s in self.biggest.layers if s.is_head]
        known = {id(p) for p in (*hidden, *heads)}
        return Roles(tuple(hidden), tuple(heads), tuple(p for p in self.parameters() if id(p) not in known))

    @torch.no_grad()
    def sort_channels(self) -> None:
        """Put the channels inside every block in the order of the L1 norm of the weights that read them, the largest
        first: what a smaller width then keeps is what matters most. The biggest sub-network answers as before."""
        for step in self.biggest.layers:
            if not step.name.endswith(".widen"):
                continue
            at = step.name.removesuffix("widen")
            widen, narrow = self.layer(step.name), self.layer(f"{at}narrow")
            importance = narrow.weight.view(narrow.outputs, narrow.inputs, -1).abs().sum((0, 2))
            order = torch.argsort(importance, descending=True, stable=True)
            rows = [widen, self.layer(f"{at}spatial")] if _key(f"{at}spatial") in self.layers else [widen]
            for layer in rows:
                for one in (layer.weight, layer.gain, layer.shift):
                    if one is not None:
                        one.copy_(one[order])
            columns = narrow.weight.view(narrow.outputs, narrow.inputs, -1)[:, order]
            narrow.weight.copy_(columns.reshape(narrow.weight.shape))


def elastic_kernels(space: ElasticSpace, step: Step) -> tuple[int, ...]:
    """The kernel sizes that a layer of the biggest sub-network can be asked for, rising."""
    place = step.name.split(".")
    spatial = place[-1] == "spatial" or (space.block == "residual" and place[0] == "units")
    if not (spatial and space.image):
        return (step.operator.kernel,)
    return space.units[int(place[1])].kernels


def linear(operator: Operator, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """The convolution or linear map of an operator with weights [out, in / groups, k, k]."""
    if operator.op == "linear":
        return functional.linear(x, weight.flatten(1), bias)
    return functional.conv2d(
        x, weight, bias, stride=operator.stride, padding=operator.kernel // 2, groups=operator.groups
    )


def run(spec: SubnetSpec, apply: Apply, x: Tensor) -> list[Tensor]:
    """Let a batch through the steps of a sub-network: the logits of its exits; `apply` is what a layer with weights
    does, without its ReLU."""
    entered, found = x, []
    for segment in spec.segments:
        aside = x  # what the steps of an early exit hand on, and the blocks behind do not see
        for step in segment:
            match step.operator.op:
                case "conv" | "linear":
                    if step.name.endswith(".widen"):
                        entered = x
                    y = apply(step, aside.flatten(1) if step.is_head else aside)
                case "add":
                    y = x + entered
                case "pool":
                    sides = step.operator.out_height, step.operator.out_width
                    y = functional.adaptive_avg_pool2d(aside, sides)
                case _:
                    rows, columns = resizers(step.operator)
                    y = rows @ x @ columns.T
            y = functional.relu(y) if step.relu else y
            x, aside = (x, y) if step.early else (y, y)
            if step.is_head:
                found.append(y)
    return found


def resizers(operator: Operator) -> tuple[Tensor, Tensor]:
    """Bilinear resizing of [.., H, W] as two matrices: [h, H] for rows, [w, W] for columns (pixel centres)."""
    return _resizer(operator.height, operator.out_height), _resizer(operator.width, operator.out_width)


def _resizer(old: int, new: int) -> Tensor:
    rows = functional.interpolate(torch.eye(old)[None], size=new, mode="linear", align_corners=False)
    return rows[0].T.contiguous()


def _key(name: str) -> str:
    return name.replace(".", "-")
