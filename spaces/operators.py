"""One operator of a network as a value: what it computes, what it costs, and what makes its latency the same.

The common coin of latency tables and predictors: an architecture is a tuple of these, whatever task made it.
Convolutions and poolings have same padding, so a map of side n becomes ceil(n / stride).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from spaces.nets import packed_bytes

Op = Literal["conv", "linear", "pool", "add", "resize", "embed", "norm", "attention"]
WEIGHTED: tuple[Op, ...] = ("conv", "linear")
"""The operators that have packed weights, a bias, and an activation fused behind them where there is one."""


@dataclass(frozen=True, slots=True)
class Operator:
    """`height` x `width`: the map that it reads (1 x 1 for linear).

    conv: `kernel` x `kernel`, `groups` = `inputs` is depthwise; weights [outputs, inputs / groups, kernel, kernel].
    linear: weights [outputs, inputs]. pool: an average over equal cells, `kernel` is the side of the grid that comes
    out. add: the sum of two maps. resize: to a side of `kernel`. `bits`: of the weights; 32 is float.

    Of one decoded symbol, `height` positions of context: embed: its vector and that of its place, `inputs` symbols.
    norm: a layer norm. attention: query, key and value [3 outputs] against a full cache, `groups` heads.
    """

    op: Op
    inputs: int
    outputs: int
    kernel: int
    stride: int
    groups: int
    height: int
    width: int
    bits: float

    @property
    def out_height(self) -> int:
        """Rows of the map that comes out."""
        return self._side(self.height)

    @property
    def out_width(self) -> int:
        """Columns of the map that comes out."""
        return self._side(self.width)

    @property
    def weights(self) -> int:
        """Number of weights, the bias apart."""
        if self.op not in WEIGHTED:
            return 0
        return self.outputs * (self.inputs // self.groups) * self.kernel * self.kernel

    @property
    def params(self) -> int:
        """Weights and biases, batch norm folded; embeddings, gains and shifts."""
        if self.op == "embed":
            return (self.inputs + self.height) * self.outputs
        if self.op == "norm":
            return 2 * self.outputs
        return self.weights + self.outputs if self.op in WEIGHTED else 0

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one sample."""
        if self.op == "attention":
            return 2 * self.height * self.outputs
        return self.weights * self.out_height * self.out_width

    @property
    def bytes(self) -> int:
        """Stored: packed weights, one float32 scale an output where bits < 32, one float32 bias an output."""
        if self.op not in WEIGHTED:
            return 0
        return packed_bytes(self.weights, self.bits) + (4 * self.outputs if self.bits < 32 else 0) + 4 * self.outputs

    @property
    def key(self) -> str:
        """The operator as text: equal keys have equal latency on one device with one runtime."""
        shape = (self.inputs, self.outputs, self.kernel, self.stride, self.groups, self.height, self.width)
        return f"{self.op}-{'x'.join(str(n) for n in shape)}-{self.bits:g}"

    def _side(self, side: int) -> int:
        if self.op == "resize" or (self.op == "pool" and side > 1):
            return self.kernel
        return -(-side // self.stride)


def signature(operators: Iterable[Operator]) -> str:
    """16 hexadecimal digits: equal when the whole chain of operators is, and so its latency."""
    text = json.dumps(["operators-1", *(operator.key for operator in operators)], separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
