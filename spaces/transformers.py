"""A small transformer language model as pure arithmetic: shapes, costs, and what makes the latency of a token the same.

Decoder only, pre-norm, learned positions. A layer: norm, causal self-attention with `heads` heads (query, key, value in
one matrix, then an output matrix), norm, two linear layers `mlp` times as wide inside with a squared ReLU between (So
et al., 2021, NeurIPS), both added to what came in. Then a norm and a linear layer to the symbols. Biases everywhere but
in the norms' gains.

Costs are those of one decoded token with a full cache of `context` positions. `macs` counts matrix products and
attention. Everything is float32, so `bytes` = 4 x `params`, which is the size of the packed weights.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from spaces.errors import ParameterError
from spaces.operators import Operator
from spaces.texts import VOCABULARY

DEFAULTS: dict[str, Any] = {
    "width": 32, "depth": 4, "heads": 2, "mlp": 4, "warm": 1, "skip_training": 0.5, "batch_size": 16,
    "optimizer": {"name": "adamw", "lr": 3e-3},
}  # fmt: skip
"""What a config that leaves a parameter out gets."""
SHAPE = ("width", "depth", "heads", "mlp")
"""The parameters that make the network."""


@dataclass(frozen=True, slots=True)
class Transformer:
    """`width`: features of a token; `depth`: layers; `mlp`: how many times wider inside; `context`: positions."""

    width: int
    depth: int
    heads: int
    mlp: int
    context: int
    symbols: int = VOCABULARY

    @property
    def layer_params(self) -> int:
        """Weights, biases and norms of one layer."""
        d, m = self.width, self.mlp * self.width
        return 4 * d * d + 4 * d + 2 * d * m + m + d + 4 * d

    @property
    def params(self) -> int:
        """All of them: embeddings, layers, the last norm, the head."""
        d = self.width
        ends = self.symbols * d + self.context * d + 2 * d + self.symbols * d + self.symbols
        return ends + self.depth * self.layer_params

    @property
    def bytes(self) -> int:
        """Size of the packed weights."""
        return 4 * self.params

    def macs(self, layers: float) -> float:
        """Multiply-accumulates of one token through `layers` layers (a mean, perhaps), the cache full."""
        d = self.width
        return layers * (4 * d * d + 2 * d * self.mlp * d + 2 * self.context * d) + self.symbols * d

    def chains(self) -> tuple[tuple[Operator, ...], ...]:
        """The operators of a decoded token by number of layers: those of one layer, the first with the ends."""
        d, inside, ctx = self.width, self.mlp * self.width, self.context

        def linear(inputs: int, outputs: int) -> Operator:
            return Operator("linear", inputs, outputs, 1, 1, 1, 1, 1, 32)

        norm = Operator("norm", d, d, 1, 1, 1, 1, 1, 32)
        attention = Operator("attention", d, d, 1, 1, self.heads, ctx, 1, 32)
        layer = (norm, linear(d, 3 * d), attention, linear(d, d), norm, linear(d, inside), linear(inside, d))
        embed = Operator("embed", self.symbols, d, 1, 1, 1, ctx, 1, 32)
        return (embed, *layer, norm, linear(d, self.symbols)), *[layer] * (self.depth - 1)

    def signature(self, layers: int) -> str:
        """16 hexadecimal digits: equal when a token through `layers` layers costs the same."""
        shape = [self.width, layers, self.heads, self.mlp, self.context, self.symbols]
        return hashlib.sha256(json.dumps(["lm-1", *shape]).encode()).hexdigest()[:16]


def transformer(config: Mapping[str, Any], context: int) -> Transformer:
    """The network of a nested config; SpaceError for values that make none."""
    width, depth, heads, mlp = (_whole(config, name) for name in SHAPE)
    if width % heads:
        said = f"= {width} does not divide by heads = {heads}: make it a multiple, or add a constraint"
        raise ParameterError("width", said)
    if depth > 64:
        raise ParameterError("depth", f"= {depth}, but at most 64 layers are built: lower it")
    return Transformer(width, depth, heads, mlp, context)


def _whole(config: Mapping[str, Any], name: str) -> int:
    value = config.get(name, DEFAULTS[name])
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 65536:
        raise ParameterError(name, f"= {value!r}, but the network needs a whole number of at least 1: change its range")
    return value


def warm(config: Mapping[str, Any]) -> int:
    """Layers at the bottom that always run."""
    value = config.get("warm", DEFAULTS["warm"])
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ParameterError("warm", f"= {value!r}, but it counts layers: use a whole number from 0")
    return value
