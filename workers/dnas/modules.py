"""The network of a search as torch modules: all candidates of every layer, mixed by masks, or one path through them."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Sequence
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from spaces.blocks import SKIP, Layer, Layout, Op
from workers.dnas.pairs import Pair


class Unit(nn.Module):
    """One operator: convolution or linear layer without bias, batch norm, and a ReLU where the operator has one.

    `weight` is a matrix [out, in / groups * k * k], as optimizers of matrices need it.
    """

    def __init__(self, op: Op, generator: torch.Generator) -> None:
        super().__init__()
        self.op = op
        fan_in = op.inputs // op.groups * op.kernel**2
        self.weight = nn.Parameter(torch.randn(op.outputs, fan_in, generator=generator) * math.sqrt(2.0 / fan_in))
        self.norm: nn.BatchNorm1d | nn.BatchNorm2d
        self.norm = nn.BatchNorm2d(op.outputs) if op.conv else nn.BatchNorm1d(op.outputs)

    def forward(self, x: Tensor) -> Tensor:
        op = self.op
        if op.conv:
            kernels = self.weight.view(op.outputs, -1, op.kernel, op.kernel)
            x = functional.conv2d(x, kernels, stride=op.stride, padding=op.kernel // 2, groups=op.groups)
        else:
            x = functional.linear(x, self.weight)
        x = self.norm(x)
        return functional.relu(x) if op.relu else x


class Candidate(nn.Module):
    """One block that a layer may have; `skip` has no units and answers what it gets."""

    def __init__(self, layer: Layer, name: str, generator: torch.Generator) -> None:
        super().__init__()
        self.units = nn.ModuleList([Unit(op, generator) for op in layer.ops(name)])
        self.adds = layer.keeps and name != SKIP

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for unit in self.units:
            y = unit(y)
        return x + y if self.adds else y


class Head(nn.Module):
    """Average pool to the layout's grid, then linear to the classes."""

    def __init__(self, layout: Layout, generator: torch.Generator) -> None:
        super().__init__()
        self.grid = layout.grid
        op = layout.head
        self.weight = nn.Parameter(torch.randn(op.outputs, op.inputs, generator=generator) / math.sqrt(op.inputs))
        self.bias = nn.Parameter(torch.zeros(op.outputs))

    def forward(self, x: Tensor) -> Tensor:
        if self.grid is not None and x.shape[2:] != self.grid:
            x = functional.adaptive_avg_pool2d(x, self.grid)
        return functional.linear(x.flatten(1), self.weight, self.bias)


class Mixture(nn.Module):
    """The whole search: stem, `layers[l][i]` candidate i of layer l, head."""

    def __init__(self, layout: Layout, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed % 2**63)
        self.layout = layout
        self.stem = Unit(layout.stem, generator)
        self.layers = nn.ModuleList(
            [nn.ModuleList([Candidate(layer, name, generator) for name in layer.candidates]) for layer in layout.layers]
        )
        self.heads = nn.ModuleDict({"last": Head(layout, generator)})

    def forward(self, x: Tensor, masks: Sequence[Tensor]) -> Tensor:
        """Logits [B, classes] of the mixture: in layer l the sum over i of masks[l][i] times candidate i."""
        x = self.stem(x)
        for candidates, mask in zip(self.layers, masks, strict=True):
            parts = [mask[i] * one(x) for i, one in enumerate(cast(nn.ModuleList, candidates))]
            x = torch.stack(parts).sum(0)
        answer: Tensor = self.heads["last"](x)
        return answer

    def pairs(self, x: Tensor, pairs: Sequence[Pair]) -> Tensor:
        """Logits [B, classes] where of each layer the candidates of a pair are computed and mixed by its gate."""
        x = self.stem(x)
        for candidates, pair in zip(self.layers, pairs, strict=True):
            ones = cast(nn.ModuleList, candidates)
            x = torch.stack([g * ones[i](x) for i, g in zip(pair.places, pair.gate, strict=True)]).sum(0)
        answer: Tensor = self.heads["last"](x)
        return answer

    def path(self, architecture: Sequence[str]) -> Path:
        """The network of one architecture; it shares the weights."""
        blocks = [
            cast(Candidate, cast(nn.ModuleList, candidates)[layer.candidates.index(name)])
            for candidates, layer, name in zip(self.layers, self.layout.layers, architecture, strict=True)
        ]
        return Path(self.layout, self.stem, blocks, cast(Head, self.heads["last"]))


class Path(nn.Module):
    """One architecture of a mixture: a plain network."""

    def __init__(self, layout: Layout, stem: Unit, blocks: Sequence[Candidate], head: Head) -> None:
        super().__init__()
        self.layout = layout
        self.stem, self.blocks, self.head = stem, nn.ModuleList(blocks), head

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        answer: Tensor = self.head(x)
        return answer

    def units(self) -> list[Unit]:
        """Stem and units of the blocks, in the order in which they run."""
        inner = (cast(Unit, unit) for block in self.blocks for unit in cast(Candidate, block).units)
        return [self.stem, *inner]

    @torch.no_grad()
    def settled(self, x: Tensor, size: int = 256) -> Path:
        """A copy in eval mode whose batch norms have the statistics of `x` [n, ...] in this architecture alone.

        Those that the mixture kept are of inputs that other candidates had part in (Bender et al., 2018, ICML).
        """
        alone = copy.deepcopy(self)
        for unit in alone.units():
            unit.norm.reset_running_stats()
            unit.norm.momentum = None  # the mean over the batches
        alone.train()
        for part in torch.tensor_split(x, max(1, math.ceil(len(x) / size))):
            alone(part)
        return alone.eval()


class Theta(nn.Module):
    """The logits of the choice: `layers[l]` [candidates of layer l], all 0 at first."""

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        self.layers = nn.ParameterList([nn.Parameter(torch.zeros(len(layer.candidates))) for layer in layout.layers])
        self.layout = layout

    def masks(self, tau: float, uniforms: Iterable[np.ndarray[tuple[int], np.dtype[np.float64]]]) -> list[Tensor]:
        """Gumbel-softmax of every layer: softmax((theta + g) / tau), g = -ln(-ln u)."""
        noise = [torch.from_numpy(-np.log(-np.log(u))).float() for u in uniforms]
        return [torch.softmax((t + g) / tau, 0) for t, g in zip(self.layers, noise, strict=True)]

    def probabilities(self) -> list[Tensor]:
        """Softmax of every layer's logits."""
        return [torch.softmax(t, 0) for t in self.layers]

    def best(self) -> tuple[str, ...]:
        """The architecture of the largest logits."""
        return self.named(int(torch.argmax(t)) for t in self.layers)

    def named(self, picked: Iterable[int]) -> tuple[str, ...]:
        """The architecture of one candidate a layer, by their places."""
        return tuple(layer.candidates[i] for layer, i in zip(self.layout.layers, picked, strict=True))

    @torch.no_grad()
    def draw(self, rng: np.random.Generator) -> tuple[str, ...]:
        """An architecture drawn by the probabilities."""
        out = []
        for layer, p in zip(self.layout.layers, self.probabilities(), strict=True):
            share = p.double().numpy()
            out.append(layer.candidates[int(rng.choice(len(share), p=share / share.sum()))])
        return tuple(out)

    @torch.no_grad()
    def entropy(self) -> float:
        """Mean over the layers of the entropy of the choice, in nats."""
        found = [float(-(p * p.clamp_min(1e-30).log()).sum()) for p in self.probabilities()]
        return sum(found) / len(found)

