"""The network of the built-in `dnas` task as pure arithmetic: one block a layer, each one of several candidates.

Images [C, H, W]: a stem (3 x 3 convolution to `width` channels), then `layers` layers with width * 2**min(i, 2) output
channels; a layer but the first halves the map while its smaller side is above 2. A candidate `k5e3` is an inverted
residual: 1 x 1 convolution to 3 times the input channels, 5 x 5 depthwise convolution, 1 x 1 convolution to the output
channels; batch norm after each, ReLU after the first two, the input added where the shapes are equal. `skip`, where
they are equal, is no block at all. Vectors [F]: a stem (linear to `width`), a candidate `e3` is linear to 3 times the
inputs, ReLU, linear to the outputs. The head is an average pool to 2 x 2 (images) and linear to the classes.

`macs`, `params` and `bytes` are those of one architecture, batch norm folded, all float32: bytes = 4 params.
Source: Wu et al. (2019, CVPR), FBNet: the space, made small.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from spaces.errors import ParameterError, SpaceError
from spaces.operators import Operator

SKIP = "skip"
MOST_LAYERS = 22
_IMAGE = re.compile(r"k([1-9]\d?)e([1-9]\d?)")
_VECTOR = re.compile(r"e([1-9]\d?)")


@dataclass(frozen=True, slots=True)
class Op:
    """A convolution or linear layer with its bias, and a ReLU when `relu`. `height` x `width`: the map that it reads
    (1 x 1 for linear); `groups`: equal to the inputs for a depthwise convolution."""

    inputs: int
    outputs: int
    kernel: int = 1
    stride: int = 1
    groups: int = 1
    height: int = 1
    width: int = 1
    conv: bool = True
    relu: bool = True

    @property
    def weights(self) -> int:
        return self.outputs * (self.inputs // self.groups) * self.kernel**2

    @property
    def params(self) -> int:
        return self.weights + self.outputs

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one sample; same padding, so that a side n gives ceil(n / stride)."""
        return self.weights * -(-self.height // self.stride) * -(-self.width // self.stride)


    def operator(self) -> Operator:
        """The same in the coin of latency tables."""
        op: Literal["conv", "linear"] = "conv" if self.conv else "linear"
        return Operator(op, self.inputs, self.outputs, self.kernel, self.stride, self.groups, self.height, self.width,
                        32)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of the search: what goes in and out, and the names of its candidates."""

    inputs: int
    outputs: int
    stride: int
    height: int
    width: int
    image: bool
    candidates: tuple[str, ...]

    @property
    def keeps(self) -> bool:
        """Whether what comes out has the shape of what goes in."""
        return self.inputs == self.outputs and self.stride == 1

    def ops(self, candidate: str) -> tuple[Op, ...]:
        """The operators of a candidate; none for `skip`."""
        if candidate == SKIP:
            return ()
        if not self.image:
            inner = self.inputs * int(candidate[1:])
            return (Op(self.inputs, inner, conv=False), Op(inner, self.outputs, conv=False, relu=False))
        kernel, expansion = (int(n) for n in candidate[1:].split("e"))
        inner = self.inputs * expansion
        high, wide = -(-self.height // self.stride), -(-self.width // self.stride)
        return (
            Op(self.inputs, inner, height=self.height, width=self.width),
            Op(inner, inner, kernel, self.stride, inner, self.height, self.width),
            Op(inner, self.outputs, height=high, width=wide, relu=False),
        )

    def key(self, candidate: str) -> str:
        """What the latency of a candidate is looked up by, the device apart: operator, channels, map, stride, batch,
        type."""
        shape = f"{self.inputs}>{self.outputs} s{self.stride} {self.height}x{self.width}"
        return f"{candidate} {shape} b1 float32"


@dataclass(frozen=True, slots=True)
class Layout:
    """What every architecture of a search shares, and the layers in which they differ. `grid`: what the head pools to,
    rows and columns; None for vectors."""

    input_shape: tuple[int, ...]
    classes: int
    stem: Op
    layers: tuple[Layer, ...]
    head: Op
    grid: tuple[int, int] | None

    @property
    def last(self) -> tuple[int, int]:
        """The map that the last layer gives."""
        layer = self.layers[-1]
        return -(-layer.height // layer.stride), -(-layer.width // layer.stride)

    def ops(self, architecture: Sequence[str]) -> list[Op]:
        """All operators of an architecture, in the order in which they run."""
        blocks = [op for layer, name in zip(self.layers, architecture, strict=True) for op in layer.ops(name)]
        return [self.stem, *blocks, self.head]

    def operators(self, architecture: Sequence[str]) -> tuple[Operator, ...]:
        """What runs, in order, as it is timed alone."""
        found = [self.stem.operator()]
        for layer, name in zip(self.layers, architecture, strict=True):
            found += [op.operator() for op in layer.ops(name)]
            if layer.keeps and name != SKIP:
                found.append(Operator("add", layer.outputs, layer.outputs, 1, 1, 1, layer.height, layer.width, 32))
        if self.grid is not None and self.grid != self.last:
            channels = self.layers[-1].outputs
            found.append(Operator("pool", channels, channels, self.grid[0], 1, 1, *self.last, 32))
        return (*found, self.head.operator())

    def figures(self, architecture: Sequence[str]) -> dict[str, float]:
        """`params`, `macs`, `bytes` of an architecture."""
        ops = self.ops(architecture)
        params = sum(op.params for op in ops)
        return {"params": float(params), "macs": float(sum(op.macs for op in ops)), "bytes": 4.0 * params}

    def signature(self, architecture: Sequence[str]) -> str:
        """16 hexadecimal digits: equal when latency is."""
        shape = [list(self.input_shape), self.classes, self.stem.outputs, *architecture]
        return hashlib.sha256(json.dumps(["dnas-1", *shape]).encode()).hexdigest()[:16]

    def check(self, architecture: Any) -> tuple[str, ...]:
        """An architecture of this layout: one candidate a layer. SpaceError for anything else."""
        if not isinstance(architecture, list | tuple) or len(architecture) != len(self.layers):
            rule = f"name one candidate for each of {len(self.layers)} layers"
            raise SpaceError(f"{architecture!r} is no architecture: {rule}")
        for i, (name, layer) in enumerate(zip(architecture, self.layers, strict=True)):
            if name not in layer.candidates:
                raise SpaceError(f"layer {i} has no candidate {name!r}: it has {', '.join(layer.candidates)}")
        return tuple(str(name) for name in architecture)


def layout(
    input_shape: tuple[int, ...], classes: int, width: int, layers: int, candidates: Iterable[str]
) -> Layout:
    """The layout of a search over `candidates` (`k3e1`, …, `skip`). SpaceError for what cannot be built."""
    if isinstance(width, bool) or not isinstance(width, int) or not 1 <= width <= 4096:
        rule = "the network needs a whole number in [1, 4096]"
        raise ParameterError("width", f"= {width!r}, but {rule}: change its range")
    image = len(input_shape) == 3
    if not image and len(input_shape) != 1:
        raise SpaceError(f"a sample has shape {input_shape}, but [C, H, W] or [F] is needed: reshape the data")
    names = check_candidates(candidates, image)
    height, wide = (input_shape[1], input_shape[2]) if image else (1, 1)
    stem = Op(input_shape[0], width, 3 if image else 1, height=height, width=wide, conv=image)
    inputs, made = width, []
    for i in range(layers):
        outputs = width * 2 ** min(i, 2)
        stride = 2 if image and i > 0 and min(height, wide) > 2 else 1
        layer = Layer(inputs, outputs, stride, height, wide, image, names)
        if not layer.keeps:
            blocks = tuple(name for name in names if name != SKIP)
            if not blocks:
                raise SpaceError(f"layer {i} changes the shape and cannot be skipped: give a candidate other than skip")
            layer = Layer(inputs, outputs, stride, height, wide, image, blocks)
        made.append(layer)
        inputs, height, wide = outputs, -(-height // stride), -(-wide // stride)
    grid = (min(2, height), min(2, wide)) if image else None
    head = Op(inputs * (grid[0] * grid[1] if grid else 1), classes, conv=False, relu=False)
    return Layout(tuple(input_shape), classes, stem, tuple(made), head, grid)


def check_candidates(said: Iterable[str], image: bool) -> tuple[str, ...]:
    """The names of candidates, each once; SpaceError for one that the data cannot have."""
    names = tuple(said)
    pattern, example = (_IMAGE, "k3e1 (kernel 3, expansion 1)") if image else (_VECTOR, "e2 (expansion 2)")
    for name in names:
        found = pattern.fullmatch(name)
        if name != SKIP and found is None:
            kind = "images" if image else "vectors"
            raise SpaceError(f"{name!r} is no candidate for {kind}: write {example}, or skip")
        if found is not None and image and int(found[1]) % 2 == 0:
            raise SpaceError(f"{name!r} has an even kernel, but same padding needs an odd one")
    if not names or len(set(names)) < len(names):
        raise SpaceError(f"candidates = {list(names)}: give at least one, each once")
    return names


def candidates_of(options: Mapping[str, Any], image: bool) -> tuple[str, ...]:
    """The candidates that the task's options name, or the default."""
    said = options.get("candidates")
    if said is not None:
        return tuple(said)
    return ("k3e1", "k3e3", "k5e1", "k5e3", SKIP) if image else ("e1", "e2", "e4", SKIP)
