"""What a study says of bit allocations of trained networks, and what they cost by arithmetic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from spaces.allocation import Table, Unmet, least, most
from spaces.errors import SpaceError
from spaces.forms import Form
from spaces.nets import DEFAULTS, NetSpec, network
from spaces.widths import BITS, width

By = Literal["hawq", "calibration", "bisection", "evolution"]
COSTS = ("bytes", "bops")
"""The costs of a layer that are arithmetic."""


class FixedForm(Form):
    """Widths that the first and the last block have in every allocation."""

    first: float | int | str | None = None
    last: float | int | str | None = None


class LimitsForm(Form):
    """What every allocation keeps, beside the byte limits of the sweep."""

    bytes: Annotated[float, Field(gt=0)] | None = None
    bops: Annotated[float, Field(gt=0)] | None = None
    latency_ms: Annotated[float, Field(gt=0)] | None = None


class AllocateForm(Form):
    """Operating points with other weight bits than the trained network's, without training again."""

    bits: list[float | int | str] = Field(min_length=2)
    by: By = "hawq"
    points: Annotated[int, Field(ge=1, le=64)] = 6
    tune: Literal["none", "norm", "adaquant"] = "norm"
    at: Literal["end", "report"] = "end"
    fixed: FixedForm | None = None
    ties: list[list[Annotated[int, Field(ge=0)]]] = Field(default_factory=list)
    limits: LimitsForm | None = None

    @field_validator("bits")
    @classmethod
    def _known(cls, value: list[float | int | str]) -> list[float | int | str]:
        try:
            said = [width("bits", v, BITS) for v in value]
        except SpaceError as error:
            raise ValueError(str(error)) from None
        if len(set(said)) < len(said):
            raise ValueError(f"{value} names a width twice: an allocation chooses between different ones")
        return value

    @property
    def widths(self) -> list[float | int | str]:
        """The widths, narrowest first."""
        return sorted(self.bits, key=lambda v: (width("bits", v, BITS)[0], BITS.index(v)))

    @model_validator(mode="after")
    def _fixed(self) -> AllocateForm:
        for value in () if self.fixed is None else (self.fixed.first, self.fixed.last):
            if value is not None and value not in self.bits:
                raise ValueError(f"fixed names {value!r}, which bits do not have: add it to bits {self.bits}")
        return self

    def held(self, depth: int) -> dict[int, int]:
        """Block to index in `widths`, for blocks that are fixed; of a single block the first counts."""
        said = () if self.fixed is None else ((depth - 1, self.fixed.last), (0, self.fixed.first))
        return {block: self.widths.index(value) for block, value in said if value is not None}

    def tied(self, depth: int) -> list[list[int]]:
        """Blocks that choose alike, those that there are."""
        return [[i for i in tie if i < depth] for tie in self.ties]

    def bounds(self) -> dict[str, float]:
        """The limits that are said, by name."""
        said = {} if self.limits is None else self.limits.model_dump(exclude_none=True)
        return {name: float(value) for name, value in said.items()}


@dataclass(frozen=True, slots=True)
class Ground:
    """A network's blocks as an allocation sees them: each with its head, at each width."""

    spec: NetSpec
    widths: tuple[float | int | str, ...]
    costs: Mapping[str, Table]
    """`bytes` and `bops`, [blocks][widths]."""
    ties: tuple[tuple[int, ...], ...]
    fixed: Mapping[int, int]

    def least(self, name: str) -> float:
        """The smallest sum of a cost."""
        return least(self.costs[name], ties=self.ties, fixed=self.fixed)

    def most(self, name: str) -> float:
        """The largest sum of a cost."""
        return most(self.costs[name], ties=self.ties, fixed=self.fixed)


def ground(config: Mapping[str, Any], shape: tuple[int, ...], classes: int, said: AllocateForm) -> Ground:
    """The costs of the network of a nested config at every width of `said`. Unmet when a limit on bytes or BOPs is
    below the least possible."""
    depth = int(config.get("depth", DEFAULTS["depth"]))
    nets = [network({**config, "bits": value}, shape, classes) for value in said.widths]
    costs = {name: _table(nets, name) for name in COSTS}
    found = Ground(nets[-1], tuple(said.widths), costs, tuple(map(tuple, said.tied(depth))), said.held(depth))
    for name, at_most in said.bounds().items():
        if name in costs and found.least(name) > at_most:
            raise Unmet(name, at_most, found.least(name))
    return found


def _table(nets: list[NetSpec], name: str) -> list[list[float]]:
    """[blocks][nets]: what a block costs with its head."""
    rows = []
    for block in nets[0].blocks:
        names = {block.layer.name, f"heads.{block.index}", f"heads.{block.index}.hidden"}
        rows.append([float(sum(getattr(x, name) for x in net.layers if x.name in names)) for net in nets])
    return rows
