"""The network of the built-in `classify` task as pure arithmetic: shapes, bits, costs, and what makes latency the same.

A multi-exit network. Images [C, H, W]: block i is a `kernel` x `kernel` convolution with same padding and
width * 2**min(i, 2) output channels, batch norm, ReLU, then a 2 x 2 max-pool (stride 2, floor) while both sides of
the map are larger than 2. Vectors [F]: block i is a linear layer of the same width, batch norm, ReLU, no pool.
After each block in `exits`, and always after the last, a head: average pool to a grid of 2 x 2 (images; a side of 1
stays; cell i of a side of n covers floor(i n / 2) to ceil((i + 1) n / 2)), then linear to the classes. (A pool to one
pixel left the first exit of digits at 8 to 53 % error after 27 epochs, the grid at 2 to 10 %.) With `exit_head` units
the head of an early exit has a hidden linear layer of so many, with a bias, and ReLU before that; the last has none.
A block has no bias in training; batch norm is folded into weight and bias for storage and export.

Bits. `bits` are a block's weight bits (1, 1.58, 2, 3, 4, 8 quantized; `fp8`, 16 floating; 32 float32), one scale an
output channel or a `group` of the weights of one (`granularity`; a step that the whole layer shares is stored a
channel too, for batch norm is folded into it). `activation_bits` are those of a block's input: as said, else 8 where
the weights are integers, else 32. A head has 8 bits when its block has integers, else its block's format; it reads 8
bits when its block reads integers and has them, else 32.

Costs. `macs` are multiply-accumulates of convolutions and linear layers at batch 1. `bops` = macs x weight bits x
activation bits. `params` = weights + biases, batch norm folded. `bytes` is exactly the size of the packed artifact:
layers in the order of `NetSpec.layers`, for each: packed weights, then one float32 scale per output channel if bits
< 32 (with groups: per channel and group), then one float32 bias per output channel; no header and no padding between
layers. Weights of b whole bits take ceil(n * b / 8) bytes; 1.58 bits are ternary digits, five to a byte: ceil(n / 5)
bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from spaces.errors import ParameterError, SpaceError
from spaces.exits import DEFAULTS as EXIT_DEFAULTS
from spaces.widths import ACTIVATION_BITS, BITS, GROUP, Form, sharing, widths

DEFAULTS: dict[str, Any] = {
    "width": 16, "depth": 2, "kernel": 3, "bits": 32, "activation_bits": None, "granularity": "channel", "group": GROUP,
    "exits": [], "exit_head": 0, "batch_size": 64, "optimizer": {"name": "adamw", "lr": 1e-3}, **EXIT_DEFAULTS,
    "schedule": "constant", "horizon": None, "warmup": 0,
}  # fmt: skip
"""What a config that leaves a parameter out gets, so that any subset of them can be searched."""


@dataclass(frozen=True, slots=True)
class Layer:
    """A convolution or linear layer with its bias. `height` x `width` is the map that it reads and writes (1 x 1 for
    linear). Weight shape: [outputs, inputs, kernel, kernel] for conv, [outputs, inputs] for linear."""

    name: str
    op: Literal["conv", "linear"]
    inputs: int
    outputs: int
    kernel: int
    height: int
    width: int
    bits: float
    form: Form = ""
    reads: tuple[float, Form] | None = None
    """Bits and format of the input, where they were said; None: they follow the weights."""
    shared: str = "channel"
    """Which weights share a scale in training: those of the `tensor`, a `channel`, or a `group` of `group`."""
    group: int = GROUP

    @property
    def integer(self) -> bool:
        """Whether the weights are integer codes."""
        return self.bits <= 8 and not self.form

    @property
    def activation_bits(self) -> int:
        """Bits of the layer's input: as said, else 8 where the weights are integers, else 32."""
        return int(self.reads[0]) if self.reads is not None else 8 if self.integer else 32

    @property
    def activation_form(self) -> Form:
        """The floating format of the layer's input; empty for integers and float32."""
        return self.reads[1] if self.reads is not None else ""

    @property
    def reads_codes(self) -> bool:
        """Whether the input is integer codes."""
        return self.activation_bits <= 8 and not self.activation_form

    @property
    def kernel_bits(self) -> int:
        """Bits that the runtime's kernel is asked for: 8 where weights and inputs are integers and no channel has
        several scales, else 32."""
        return 8 if self.integer and self.reads_codes and self.shared != "group" else 32

    @property
    def weights(self) -> int:
        """Number of weights, the bias apart."""
        return self.inputs * self.outputs * self.kernel * self.kernel

    @property
    def params(self) -> int:
        """Weights and biases."""
        return self.weights + self.outputs

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one sample."""
        return self.weights * self.height * self.width

    @property
    def bops(self) -> float:
        """Bit operations: macs x weight bits x activation bits."""
        return self.macs * self.bits * self.activation_bits

    @property
    def groups(self) -> int:
        """Scales of one output channel, as stored; a last group may have fewer weights."""
        return -(-(self.weights // self.outputs) // self.group) if self.shared == "group" else 1

    @property
    def weight_bytes(self) -> int:
        """Bytes of the packed weights alone."""
        return packed_bytes(self.weights, self.bits)

    @property
    def bytes(self) -> int:
        """Bytes in the artifact: packed weights, scales when quantized, biases."""
        return self.weight_bytes + (4 * self.outputs * self.groups if self.bits < 32 else 0) + 4 * self.outputs


@dataclass(frozen=True, slots=True)
class Block:
    """Layer, batch norm, ReLU, and a 2 x 2 max-pool when `pool`. `shape`: what comes out, [C, H, W] or [F]."""

    index: int
    layer: Layer
    pool: bool
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Exit:
    """A head after block `block`: for images an average pool to `grid` cells (rows, columns), then linear `head` to the
    classes over channels x cells, channels slowest. `grid` is None for vectors. `hidden`: a linear layer and ReLU in
    between."""

    block: int
    head: Layer
    grid: tuple[int, int] | None
    hidden: Layer | None = None

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Its layers in the order in which they run."""
        return (self.head,) if self.hidden is None else (self.hidden, self.head)


@dataclass(frozen=True, slots=True)
class NetSpec:
    """The whole network. `exits` rise by block, and the last is after the last block."""

    input_shape: tuple[int, ...]
    classes: int
    blocks: tuple[Block, ...]
    exits: tuple[Exit, ...]

    @property
    def layers(self) -> tuple[Layer, ...]:
        """All layers in the order in which they run and are stored: each block, then its head if it has one."""
        heads = {e.block: e.layers for e in self.exits}
        return tuple(layer for b in self.blocks for layer in (b.layer, *heads.get(b.index, ())))

    def puts_out(self, block: int) -> tuple[float, Form] | None:
        """Bits and format of what a block hands on; None: float32. What the next block reads, if that is narrow."""
        if block + 1 < len(self.blocks) and (read := _input(self.blocks[block + 1].layer)) is not None:
            mine = _input(self.blocks[block].layer)
            return None if mine is None else read
        return _input(self.blocks[block].layer)

    def prefix(self, exit_: int) -> tuple[Layer, ...]:
        """The layers that run until exit number `exit_` (from 0) answers: earlier heads count, they ran too."""
        last = self.exits[exit_].head
        layers = self.layers
        return layers[: layers.index(last) + 1]

    def signature(self, exit_: int, low_bit: bool = False) -> str:
        """16 hexadecimal digits: equal when the latency up to that exit is, whatever the weights are.

        `low_bit`: where kernels may run a linear layer at its own bits, so that these count, not 8 for all integers.
        """
        names = {layer.name for layer in self.prefix(exit_)}
        shape: list[Any] = [list(self.input_shape)]
        for block in self.blocks:
            if block.layer.name in names:
                shape.append([*_shape(block.layer), block.pool, *_own(block.layer, low_bit)])
                if (out := self.puts_out(block.index)) not in (None, (8.0, "")):
                    shape.append(["out", *out])
            heads = [h for e in self.exits if e.block == block.index and e.head.name in names for h in e.layers]
            shape.extend(["head", *_shape(head), *_own(head, low_bit)] for head in heads)
        text = json.dumps(["classify-low-bit-1" if low_bit else "classify-1", *shape], separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def params(self) -> int:
        """Weights and biases of all layers."""
        return sum(layer.params for layer in self.layers)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one sample that leaves at the last exit."""
        return sum(layer.macs for layer in self.layers)

    @property
    def bops(self) -> float:
        """Bit operations of one sample that leaves at the last exit."""
        return sum(layer.bops for layer in self.layers)

    @property
    def bytes(self) -> int:
        """Size of the packed weight artifact."""
        return sum(layer.bytes for layer in self.layers)


def packed_bytes(n: int, bits: float) -> int:
    """Bytes for `n` weights of `bits` bits: ceil(n * bits / 8); 1.58 bits are five ternary digits to a byte."""
    if bits == 1.58:
        return -(-n // 5)
    return -(-n * int(bits) // 8)


def network(config: Mapping[str, Any], input_shape: tuple[int, ...], classes: int) -> NetSpec:
    """The network of a nested config (`Space.nested`); missing parameters have DEFAULTS. SpaceError for odd values."""
    depth = _whole(config, "depth", 1, 64)
    width = _whole(config, "width", 1, 65536)
    kernel = _whole(config, "kernel", 1, 31)
    if kernel % 2 == 0:
        near = f"{kernel - 1} or {kernel + 1}"
        raise ParameterError("kernel", f"= {kernel} is even, but same padding needs an odd one: use {near}")
    bits = widths("bits", config.get("bits", DEFAULTS["bits"]), depth, BITS)
    said = config.get("activation_bits")
    reads = [None] * depth if said is None else widths("activation_bits", said, depth, ACTIVATION_BITS)
    shared, group = sharing(config)
    units = _whole(config, "exit_head", 0, 65536)
    ends = sorted({*_exits(config.get("exits", DEFAULTS["exits"]), depth), depth - 1})
    image = len(input_shape) == 3
    if not image and len(input_shape) != 1:
        raise SpaceError(f"a sample has shape {input_shape}, but [C, H, W] or [F] is needed: reshape the data")
    shape = tuple(input_shape)
    blocks: list[Block] = []
    exits: list[Exit] = []
    for i in range(depth):
        outputs = width * 2 ** min(i, 2)
        high, wide = (shape[1], shape[2]) if image else (1, 1)
        layer = Layer(
            name=f"blocks.{i}",
            op="conv" if image else "linear",
            inputs=shape[0],
            outputs=outputs,
            kernel=kernel if image else 1,
            height=high,
            width=wide,
            bits=bits[i][0],
            form=bits[i][1],
            reads=reads[i],
            shared=shared,
            group=group,
        )
        pool = image and min(high, wide) > 2
        if pool:
            high, wide = high // 2, wide // 2
        shape = (outputs, high, wide) if image else (outputs,)
        blocks.append(Block(i, layer, pool, shape))
        if i in ends:
            head_bits = 8.0 if layer.integer else layer.bits
            grid = (min(2, high), min(2, wide)) if image else None
            inputs = outputs * (grid[0] * grid[1] if grid else 1)
            follows = layer.reads is None or (layer.integer and layer.reads_codes)
            read: tuple[float, Form] | None = None if follows else (32.0, "")
            sort = (head_bits, layer.form, read, shared, group)
            hidden = None
            if units and i < depth - 1:
                hidden = Layer(f"heads.{i}.hidden", "linear", inputs, units, 1, 1, 1, *sort)
                inputs = units
            exits.append(Exit(i, Layer(f"heads.{i}", "linear", inputs, classes, 1, 1, 1, *sort), grid, hidden))
    return NetSpec(tuple(input_shape), classes, tuple(blocks), tuple(exits))


def _shape(layer: Layer) -> list[Any]:
    said = [layer.op, layer.inputs, layer.outputs, layer.kernel, layer.height, layer.width, layer.kernel_bits]
    natural = (layer.kernel_bits, "")
    read = (layer.activation_bits, layer.activation_form)
    return said if read == natural else [*said, ["reads", *read]]


def _own(layer: Layer, low_bit: bool) -> list[Any]:
    """What a kernel of few bits reads of a layer, beside its shape."""
    if not low_bit or not layer.integer or layer.op != "linear":
        return []
    return ["bits", layer.bits, layer.groups]


def _input(layer: Layer) -> tuple[float, Form] | None:
    """Bits and format of a layer's input when it is not float32."""
    return None if layer.activation_bits == 32 else (float(layer.activation_bits), layer.activation_form)


def _whole(config: Mapping[str, Any], name: str, low: int, high: int) -> int:
    value = config.get(name, DEFAULTS[name])
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        rule = f"the network needs a whole number in [{low}, {high}]"
        raise ParameterError(name, f"= {value!r}, but {rule}: change its range")
    return value


def _exits(said: Any, depth: int) -> list[int]:
    listed = list(said) if isinstance(said, list | tuple) else [said]
    for value in listed:
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise ParameterError("exits", f"holds {value!r}, but it lists blocks: use whole numbers from 0")
    return [v for v in listed if v < depth - 1]
