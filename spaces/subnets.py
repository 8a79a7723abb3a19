"""One sub-network of an elastic space as arithmetic: its layers, its operators in order, and what they cost.

Batch norm is folded, so every convolution and linear layer has a bias. Resolution r: the image is resized to r x r
(bilinear) before the stem. Stem (k 3) and head have the most bits that any block may choose.

Costs as of `spaces.nets`: `macs` at batch 1; `bops` = macs x weight bits x 32 (activations stay float); `params`
weights and biases; `bytes` exactly those of the packed weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from spaces.elastic import ElasticSpace, Genome
from spaces.operators import WEIGHTED, Operator, signature

ACTIVATION_BITS = 32
Role = Literal["stem", "inner", "outer", "head"]


@dataclass(frozen=True, slots=True)
class Step:
    """One operator in its place. `name`: `stem`, `units.U.B.widen|spatial|narrow`, `units.U.B.add`, `pool`, `head`,
    `resize`; `exits.U.pool`, `exits.U.head` of an early exit after unit U. `relu`: whether one follows."""

    name: str
    operator: Operator
    relu: bool = False

    @property
    def is_head(self) -> bool:
        """Whether logits come out."""
        return self.name == "head" or self.name.endswith(".head")

    @property
    def early(self) -> bool:
        """Whether it belongs to an early exit: what follows reads what this one read."""
        return self.name.startswith("exits.")


@dataclass(frozen=True)
class SubnetSpec:
    """The steps of a sub-network in the order in which they run; weights are stored in that order too."""

    space: ElasticSpace
    genome: Genome
    steps: tuple[Step, ...]

    @property
    def operators(self) -> tuple[Operator, ...]:
        """What runs, in order."""
        return tuple(step.operator for step in self.steps)

    @property
    def segments(self) -> tuple[tuple[Step, ...], ...]:
        """What runs until each exit answers and did not run for the one before; the last answers with `head`."""
        ends = [i + 1 for i, step in enumerate(self.steps) if step.is_head]
        return tuple(self.steps[a:b] for a, b in zip([0, *ends], ends, strict=False))

    def prefix(self, exit_: int) -> tuple[Step, ...]:
        """All that runs until an exit answers, the heads before it too."""
        return tuple(step for segment in self.segments[: exit_ + 1] for step in segment)

    @property
    def layers(self) -> tuple[Step, ...]:
        """The steps that have weights."""
        return tuple(step for step in self.steps if step.operator.op in WEIGHTED)

    @cached_property
    def metrics(self) -> dict[str, float]:
        """`params`, `macs`, `bops`, `bytes`."""
        params = macs = size = 0
        bops = 0.0
        for step in self.layers:  # nothing else costs any of these
            operator, each = step.operator, step.operator.macs
            params, macs, size = params + operator.params, macs + each, size + operator.bytes
            bops += each * operator.bits
        return {"params": float(params), "macs": float(macs), "bops": bops * ACTIVATION_BITS, "bytes": float(size)}

    @cached_property
    def signature(self) -> str:
        """Equal when the latency is."""
        return signature(self.operators)


def whole(genome: Any) -> Any:
    """A genome whose whole numbers are ints, wherever it has been: a store may have made them floats."""
    if isinstance(genome, Mapping):
        return {name: whole(value) for name, value in genome.items()}
    if isinstance(genome, list | tuple):
        return [whole(value) for value in genome]
    return int(genome) if isinstance(genome, float) and genome.is_integer() else genome


def width_of(ratio: float, inputs: int) -> int:
    """Channels inside a block of `inputs`: at least one."""
    return max(1, round(ratio * inputs))


def subnet(space: ElasticSpace, genome: Genome) -> SubnetSpec:
    """The sub-network of a genome. SpaceError when it is none of the space."""
    space.check(genome)
    return SubnetSpec(space, genome, tuple(_steps(space, genome)))


def _steps(space: ElasticSpace, genome: Genome) -> list[Step]:
    image = space.image
    widest = max(space.bits)
    channels = space.input_shape[0]
    high, wide = (space.input_shape[1], space.input_shape[2]) if image else (1, 1)
    steps: list[Step] = []
    if image and (genome["resolution"], genome["resolution"]) != (high, wide):
        side = genome["resolution"]
        steps.append(Step("resize", Operator("resize", channels, channels, side, 1, 1, high, wide, 32)))
        high = wide = side

    def layer(name: str, outputs: int, kernel: int, stride: int, bits: float, relu: bool, apart: bool = False) -> None:
        nonlocal channels, high, wide
        op: Any = "conv" if image else "linear"
        groups = channels if apart else 1
        operator = Operator(op, channels, outputs, kernel if image else 1, stride, groups, high, wide, bits)
        steps.append(Step(name, operator, relu))
        channels, high, wide = outputs, operator.out_height, operator.out_width

    def head(at: str, unit: int) -> None:
        cells = 1
        if image:
            grid = grid_of(space, unit)
            if (high, wide) != (min(grid, high), min(grid, wide)):
                steps.append(Step(f"{at}pool", Operator("pool", channels, channels, grid, 1, 1, high, wide, 32)))
            cells = min(grid, high) * min(grid, wide)
        steps.append(Step(f"{at}head", Operator("linear", channels * cells, space.classes, 1, 1, 1, 1, 1, widest)))

    layer("stem", space.stem, 3, space.stem_stride if image else 1, widest, True)
    for u, (unit, said) in enumerate(zip(space.units, genome["units"], strict=True)):
        for b in range(said["depth"]):
            at, stride, into = f"units.{u}.{b}", unit.stride if image and b == 0 else 1, channels
            kernel, bits = said["kernels"][b], said["bits"][b]
            inside = width_of(said["widths"][b], into)
            if space.block == "bottleneck":
                layer(f"{at}.widen", inside, 1, 1, bits, True)
                layer(f"{at}.spatial", inside, kernel, stride, bits, True, apart=True)
                layer(f"{at}.narrow", unit.channels, 1, 1, bits, False)
            else:
                layer(f"{at}.widen", inside, kernel, stride, bits, True)
                layer(f"{at}.narrow", unit.channels, kernel, 1, bits, False)
            if stride == 1 and into == unit.channels:
                steps.append(Step(f"{at}.add", Operator("add", channels, channels, 1, 1, 1, high, wide, 32)))
        if u in space.exits:
            head(f"exits.{u}.", u)
    head("", len(space.units) - 1)
    return steps


def grid_of(space: ElasticSpace, unit: int) -> int:
    """The side of the map that the head behind a unit sees: the space's, or what the smallest resolution leaves."""
    side = min(space.resolutions)
    for stride in (space.stem_stride, *(u.stride for u in space.units[: unit + 1])):
        side = -(-side // stride)
    return min(space.grid, side)
