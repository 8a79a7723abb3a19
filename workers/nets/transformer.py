"""The character language model as a torch module, with layers that can be left out by position."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from spaces.transformers import Transformer


class Layer(nn.Module):
    """Causal self-attention and a squared-ReLU network, each behind a norm and added to what came in."""

    def __init__(self, spec: Transformer, generator: torch.Generator) -> None:
        super().__init__()
        d, inside = spec.width, spec.mlp * spec.width
        self.heads = spec.heads
        self.first = nn.LayerNorm(d)
        self.qkv = linear(d, 3 * d, generator)
        self.out = linear(d, d, generator, 1 / math.sqrt(2 * spec.depth))
        self.second = nn.LayerNorm(d)
        self.up = linear(d, inside, generator)
        self.down = linear(inside, d, generator, 1 / math.sqrt(2 * spec.depth))

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, d] → what is added to it [B, T, d]."""
        batch, length, d = x.shape
        q, k, v = self.qkv(self.first(x)).view(batch, length, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        y: Tensor = self.out(attended.transpose(1, 2).reshape(batch, length, d))
        fed: Tensor = self.down(functional.relu(self.up(self.second(x + y))).square())
        return y + fed


class LanguageModel(nn.Module):
    """Symbols [B, T] → logits [B, T, symbols]. `active` [layers, T]: 1 where a layer runs at a position, else 0."""

    def __init__(self, spec: Transformer, seed: int) -> None:
        super().__init__()
        self.spec = spec
        generator = torch.Generator().manual_seed(seed)
        self.symbols = embedding(spec.symbols, spec.width, generator)
        self.positions = embedding(spec.context, spec.width, generator)
        self.layers = nn.ModuleList(Layer(spec, generator) for _ in range(spec.depth))
        self.norm = nn.LayerNorm(spec.width)
        self.head = linear(spec.width, spec.symbols, generator)

    def forward(self, symbols: Tensor, active: Tensor | None = None) -> Tensor:
        x = self.symbols(symbols) + self.positions.weight[: symbols.shape[1]]
        for number, layer in enumerate(self.layers):
            if active is None:
                x = x + layer(x)
            elif bool(active[number].any()):
                x = x + active[number][None, :, None] * layer(x)
        logits: Tensor = self.head(self.norm(x))
        return logits


def linear(inputs: int, outputs: int, generator: torch.Generator, share: float = 1.0) -> nn.Linear:
    """A linear layer with normal weights of standard deviation share / √inputs and no bias at first."""
    made = nn.Linear(inputs, outputs)
    with torch.no_grad():
        made.weight.normal_(0.0, share / math.sqrt(inputs), generator=generator)
        made.bias.zero_()
    return made


def embedding(count: int, width: int, generator: torch.Generator) -> nn.Embedding:
    """One vector a symbol or position, of standard deviation .02 to begin with."""
    made = nn.Embedding(count, width)
    with torch.no_grad():
        made.weight.normal_(0.0, 0.02, generator=generator)
    return made
