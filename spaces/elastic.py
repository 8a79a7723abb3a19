"""Elastic architectures: the space of sub-networks of one super-network, and its genomes.

As in Once-for-All (Cai, Gan, Wang, Zhang, Han, 2020, ICLR): units of blocks with elastic resolution, depth, kernel and
width, here with elastic weight bits too. A sub-network keeps the first blocks of a unit, the first channels inside a
block, and the centre of a kernel, so that all of them share one set of weights. A genome is plain JSON:

    {"resolution": 8, "units": [{"depth": 2, "kernels": [3, 5], "widths": [2, 4], "bits": [32, 32]}, …]}

with one entry a block that runs; what does not run has no genes, so equal sub-networks have equal genomes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Literal

from numpy.random import Generator

from spaces.errors import SpaceError

Block = Literal["bottleneck", "residual"]
Genome = Mapping[str, Any]
PER_BLOCK = ("kernels", "widths", "bits")
"""The genes of a unit that have one entry a block, in the order in which they are drawn."""


@dataclass(frozen=True, slots=True)
class Unit:
    """Blocks of `channels` outputs in a row, the first with `stride`. `depths`, `kernels`, `widths`: what a sub-network
    may choose, rising; a width is the channels inside a block per channel that goes into it."""

    channels: int
    stride: int
    depths: tuple[int, ...]
    kernels: tuple[int, ...]
    widths: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class ElasticSpace:
    """All sub-networks of one super-network.

    `block`: `bottleneck` (1 x 1 widen, depthwise k x k, 1 x 1 narrow) or `residual` (k x k, k x k); on vectors [F] a
    residual block is two linear layers. Blocks add their input where shapes agree. `grid`: side of the map that the
    head sees (smaller maps stay). `bits`: weight bits that each block may choose, rising, 32 is float.
    `exits`: units, rising, the last not among them, after which a head of its own answers, in every sub-network.
    """

    input_shape: tuple[int, ...]
    classes: int
    block: Block
    stem: int
    units: tuple[Unit, ...]
    resolutions: tuple[int, ...] = ()
    bits: tuple[int, ...] = (32,)
    stem_stride: int = 1
    grid: int = 2
    exits: tuple[int, ...] = ()

    @property
    def image(self) -> bool:
        """Whether a sample is [C, H, W], so that there are kernels and resolutions."""
        return len(self.input_shape) == 3

    def choices(self, unit: int) -> Mapping[str, tuple[Any, ...]]:
        """What each gene of a unit may be."""
        u = self.units[unit]
        return {"depth": u.depths, "kernels": u.kernels, "widths": u.widths, "bits": self.bits}

    @property
    def count(self) -> int:
        """How many sub-networks there are: resolutions x Π over units of Σ over depths of (choices a block)^depth."""
        each = [len(u.kernels) * len(u.widths) * len(self.bits) for u in self.units]
        ways = [sum(int(n**d) for d in u.depths) for n, u in zip(each, self.units, strict=True)]
        return max(1, len(self.resolutions)) * prod(ways)

    def extreme(self, biggest: bool) -> dict[str, Any]:
        """The sub-network whose every gene is the largest, or the smallest."""
        return self._draw(lambda options: options[-1 if biggest else 0])

    def sample(self, rng: Generator) -> dict[str, Any]:
        """A sub-network with each gene drawn by itself, uniformly (not uniform over sub-networks)."""
        return self._draw(lambda options: options[int(rng.integers(len(options)))])

    def _draw(self, choose: Callable[[Sequence[Any]], Any]) -> dict[str, Any]:
        out: dict[str, Any] = {"resolution": choose(self.resolutions)} if self.resolutions else {}
        units = []
        for u in range(len(self.units)):
            options = self.choices(u)
            depth = choose(options["depth"])
            units.append({"depth": depth, **{n: [choose(options[n]) for _ in range(depth)] for n in PER_BLOCK}})
        return out | {"units": units}

    def mutate(self, genome: Genome, rng: Generator, gene: float = 0.1, resolution: float = 0.5) -> dict[str, Any]:
        """A copy with each gene drawn anew with probability `gene`, the resolution with its own (defaults of
        Once-for-All's search). Blocks that a larger depth brings back get genes drawn anew."""

        def maybe(old: Any, options: Sequence[Any], chance: float) -> Any:
            return options[int(rng.integers(len(options)))] if rng.random() < chance else old

        out: dict[str, Any] = {}
        if self.resolutions:
            out["resolution"] = maybe(genome["resolution"], self.resolutions, resolution)
        units = []
        for u, said in enumerate(genome["units"]):
            options = self.choices(u)
            depth = maybe(said["depth"], options["depth"], gene)
            changed = {"depth": depth}
            for name in PER_BLOCK:
                kept = [maybe(old, options[name], gene) for old in said[name][:depth]]
                fresh = [options[name][int(rng.integers(len(options[name])))] for _ in range(depth - len(kept))]
                changed[name] = kept + fresh
            units.append(changed)
        return out | {"units": units}

    def crossover(self, one: Genome, other: Genome, rng: Generator) -> dict[str, Any]:
        """Each gene from either parent, evenly. A block that only one of them has comes from that one."""
        out: dict[str, Any] = {}
        if self.resolutions:
            out["resolution"] = (one, other)[int(rng.integers(2))]["resolution"]
        units = []
        for pair in zip(one["units"], other["units"], strict=True):
            depth = pair[int(rng.integers(2))]["depth"]
            mixed = {"depth": depth}
            for name in PER_BLOCK:
                have = [[said[name][i] for said in pair if i < said["depth"]] for i in range(depth)]
                mixed[name] = [options[int(rng.integers(len(options)))] for options in have]
            units.append(mixed)
        return out | {"units": units}

    def check(self, genome: Any) -> None:
        """SpaceError, with the place, when `genome` is none of this space."""
        if not isinstance(genome, Mapping) or not isinstance(genome.get("units"), list):
            raise SpaceError(f"subnet {genome!r} is no sub-network: it needs units, one mapping each")
        resolution = genome.get("resolution")
        if self.resolutions and resolution not in self.resolutions:
            raise SpaceError(f"subnet.resolution = {resolution!r} is none of {list(self.resolutions)}: choose one")
        if len(genome["units"]) != len(self.units):
            raise SpaceError(f"subnet has {len(genome['units'])} units, but the super-network {len(self.units)}")
        for u, said in enumerate(genome["units"]):
            options, at = self.choices(u), f"subnet.units[{u}]"
            depth = said.get("depth")
            if depth not in options["depth"]:
                raise SpaceError(f"{at}.depth = {depth!r} is none of {list(options['depth'])}: choose one")
            for name in PER_BLOCK:
                listed = said.get(name)
                if not isinstance(listed, list) or len(listed) != depth:
                    raise SpaceError(f"{at}.{name} = {listed!r} needs one entry for each of {depth} blocks")
                odd = [value for value in listed if value not in options[name]]
                if odd:
                    raise SpaceError(f"{at}.{name} holds {odd[0]!r}, none of {list(options[name])}: choose one")

    def chain(self) -> tuple[dict[str, Any], ...]:
        """Nested sub-networks from the smallest to the biggest, each with one gene more raised (SortedNet: Valipour et
        al., 2023): the parameters of each contain those of the one before. A step raises the kernels, widths or depth
        of one unit, whichever has been raised least for what it has; resolution and bits stay the largest."""
        levels: list[tuple[int, str, int]] = []
        for u in range(len(self.units)):
            for name, options in self.choices(u).items():
                levels += [(u, name, level) for level in range(1, len(options)) if name != "bits"]
        order = sorted(levels, key=lambda s: (s[2] / len(self.choices(s[0])[s[1]]), s[1] == "depth", s[1], s[0]))
        at = {(u, name): 0 for u in range(len(self.units)) for name in ("depth", "kernels", "widths")}
        found = [self._uniform(at)]
        for u, name, level in order:
            at[u, name] = level
            found.append(self._uniform(at))
        return tuple(found)

    def _uniform(self, at: Mapping[tuple[int, str], int]) -> dict[str, Any]:
        out: dict[str, Any] = {"resolution": self.resolutions[-1]} if self.resolutions else {}
        units = []
        for u in range(len(self.units)):
            options = self.choices(u)
            depth = options["depth"][at[u, "depth"]]
            genes = {name: options[name][at[u, name]] for name in ("kernels", "widths")} | {"bits": self.bits[-1]}
            units.append({"depth": depth, **{name: [genes[name]] * depth for name in PER_BLOCK}})
        return out | {"units": units}


def key(genome: Genome) -> str:
    """A genome as canonical text: equal for equal sub-networks."""
    return json.dumps(genome, sort_keys=True, separators=(",", ":"))


def features(space: ElasticSpace, genome: Genome) -> tuple[list[float], list[float]]:
    """(architecture, quantization) as numbers for a predictor, each of a fixed length.

    Architecture: resolution, then one-hot depth, kernel and width of every block; zeros where a block does not run.
    Quantization: one-hot bits of every block below the most; all zeros is the widest (Wang et al., APQ, 2020, CVPR).
    """
    low, high = (space.resolutions[0], space.resolutions[-1]) if space.resolutions else (0, 0)
    shape = [(genome["resolution"] - low) / (high - low)] if high > low else [1.0]
    quantized: list[float] = []
    for u, said in enumerate(genome["units"]):
        options = space.choices(u)
        shape += [float(said["depth"] == d) for d in options["depth"]]
        for i in range(options["depth"][-1]):
            for name, into, values in (
                ("kernels", shape, options["kernels"]), ("widths", shape, options["widths"]),
                ("bits", quantized, options["bits"][:-1]),
            ):  # fmt: skip
                into += [float(i < said["depth"] and said[name][i] == v) for v in values]
    return shape, quantized


def once_for_all() -> ElasticSpace:
    """The space of the paper on MobileNetV3's widths: five units, 7371^5 sub-networks at each of 25 resolutions."""
    rows = ((24, 2), (40, 2), (80, 2), (112, 1), (160, 2))
    units = tuple(Unit(channels, stride, (2, 3, 4), (3, 5, 7), (3, 4, 6)) for channels, stride in rows)
    return ElasticSpace((3, 224, 224), 1000, "bottleneck", 16, units, tuple(range(128, 225, 4)), stem_stride=2, grid=1)
