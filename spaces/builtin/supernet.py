"""The built-in task `supernet`: one training, many sub-networks (`spaces.elastic`). A config is the largest shape of a
super-network and how it is trained; its points are sub-networks that a search without training finds in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import isfinite
from pathlib import Path
from typing import Annotated, Any, Literal

from numpy.random import Generator
from pydantic import Field

from spaces.builtin.base import BuiltIn, Description, Nested, Options
from spaces.builtin.classify import check_buildable, check_schedules, read_data, shape_of
from spaces.chains import Segments
from spaces.elastic import Block, ElasticSpace, Unit
from spaces.errors import ParameterError, SpaceError
from spaces.exits import ExitTraining, exit_training
from spaces.forms import Form, Number
from spaces.formulas import TRAIN_S
from spaces.problems import Path as KeyPath
from spaces.problems import Problems
from spaces.space import Space
from spaces.subnets import subnet, whole
from spaces.suggest import did_you_mean
from spaces.training_checks import check_training

COSTS: tuple[str, ...] = ("latency_ms", "params", "macs", "bops", "bytes")
"""What a sub-network costs: known without training it."""
METRICS: tuple[str, ...] = ("val_error", "val_loss", "train_loss", *COSTS, TRAIN_S)
SCHEDULES: tuple[str, ...] = ("batch_size", "optimizer", "distill")
TRAININGS: tuple[str, ...] = ("sandwich", "progressive", "sorted")
BITS: tuple[int, ...] = (2, 3, 4, 5, 6, 7, 8, 32)
DEFAULTS: dict[str, Any] = {
    "block": "bottleneck", "width": 16, "units": 2, "depth": 2, "kernel": 5, "expand": 4, "training": "sandwich",
    "samples": 2, "distill": 1.0, "stage": 3, "batch_size": 64, "optimizer": {"name": "adamw", "lr": 3e-3},
    "exits": [], "exit_rule": "probability", "exit_weights": "uniform", "exit_distill": 0.0,
}  # fmt: skip


class SubnetForm(Form):
    """How sub-networks are looked for in a trained super-network. `at_most`: bounds on what they cost, by metric."""

    method: Literal["evolution", "linas", "random"] = "linas"
    evaluations: Annotated[int, Field(ge=4, le=10_000)] = 40
    every: Annotated[int, Field(ge=1)] = 3
    population: Annotated[int, Field(ge=4, le=1000)] = 32
    generations: Annotated[int, Field(ge=1, le=1000)] = 12
    at_most: dict[str, Number] = Field(default_factory=dict)


class SupernetForm(Form):
    """Options of the task. `shape` and `classes` are filled in from the data file; `points`: sub-networks that a report
    has at most; `calibration`: training samples for batch norm statistics."""

    data: str = "digits"
    shape: list[Annotated[int, Field(ge=1)]] | None = Field(default=None, min_length=1, max_length=3)
    classes: Annotated[int, Field(ge=2)] | None = None
    bits: list[int] = Field(default=[32], min_length=1)
    resolutions: list[Annotated[int, Field(ge=2)]] | None = Field(default=None, min_length=1)
    points: Annotated[int, Field(ge=1, le=64)] = 8
    calibration: Annotated[int, Field(ge=2)] = 512
    search: SubnetForm = SubnetForm()
    time_limit_s: Annotated[float, Field(gt=0)] | None = None


def read_options(form: Form, at: KeyPath, problems: Problems, base: Path | None) -> dict[str, Any] | None:
    """The options of a form, with what its data file says, bits and resolutions rising; None after a problem."""
    before = len(problems.found)
    out = read_data(form, at, problems, base)
    if out is None:
        return None
    odd = [b for b in out["bits"] if b not in BITS]
    if odd:
        problems.add((*at, "bits"), f"{odd[0]} is no width of the super-network: {', '.join(map(str, BITS))}")
    out["bits"] = sorted(set(out["bits"]))
    for name, bound in out["search"]["at_most"].items():
        where = (*at, "search", "at_most", name)
        if name not in COSTS:
            problems.add(where, f"{name!r} is no cost of a sub-network: {did_you_mean(name, COSTS)}")
        elif not bound > 0:
            problems.add(where, f"{bound} leaves no sub-network: give a number above 0")
    if "resolutions" in out:
        out["resolutions"] = sorted(set(out["resolutions"]))
        shape = shape_of(out).shape
        if len(shape) != 3 or shape[1] != shape[2]:
            said = f"a sample has shape {list(shape)}, and only square images have resolutions: leave them out"
            problems.add((*at, "resolutions"), said)
        elif out["resolutions"][-1] > shape[1]:
            larger = f"{out['resolutions'][-1]} is larger than the images, which have {shape[1]} rows"
            problems.add((*at, "resolutions"), f"{larger}: nothing is gained by enlarging them, stay below")
    return out if len(problems.found) == before else None


def space_of(options: Options, nested: Nested) -> ElasticSpace:
    """The elastic space that a nested config asks for. SpaceError when the data set is not there or it cannot be built.

    Unit u has width * 2^min(u, 2) channels and halves the map from the second on while its side is above 2. Depths are
    1 to `depth`, kernels 3 (or 1, where it is the largest) to `kernel` in steps of 2, widths a quarter, a half and all
    of `expand`. Early exits behind units that there are not, and the last, fall away.
    """
    data = shape_of(options)
    image = len(data.shape) == 3
    width, units = _whole(nested, "width", 1, 4096), _whole(nested, "units", 1, 16)
    depth, kernel = _whole(nested, "depth", 1, 16), _whole(nested, "kernel", 1, 15)
    if kernel % 2 == 0:
        raise ParameterError("kernel", f"= {kernel} is even, but same padding needs an odd one: use {kernel - 1}")
    expand = nested.get("expand", DEFAULTS["expand"])
    if isinstance(expand, bool) or not isinstance(expand, int | float) or not 0 < expand <= 64:
        raise ParameterError("expand", f"= {expand!r}, but blocks need a number in (0, 64]: change its range")
    block = nested.get("block", DEFAULTS["block"])
    if block not in ("bottleneck", "residual"):
        raise ParameterError("block", f"= {block!r} is none of bottleneck, residual: choose one")
    kind: Block = "residual" if block == "residual" or not image else "bottleneck"
    training = nested.get("training", DEFAULTS["training"])
    if training not in TRAININGS:
        raise ParameterError("training", f"= {training!r} is none of {', '.join(TRAININGS)}: choose one")
    widths = tuple(sorted({float(expand) / 4, float(expand) / 2, float(expand)}))
    kernels = (tuple(range(3, kernel + 1, 2)) or (kernel,)) if image else (1,)
    resolutions = tuple(options.get("resolutions") or ((data.shape[1],) if image else ()))
    side, made = (resolutions[0] if image else 1), []
    for u in range(units):
        stride = 2 if u > 0 and side > 2 else 1
        side = -(-side // stride)
        made.append(Unit(width * 2 ** min(u, 2), stride, tuple(range(1, depth + 1)), kernels, widths))
    bits = tuple(int(b) for b in options.get("bits") or (32,))
    exits = tuple(sorted({u for u in _exits(nested) if u < units - 1}))
    return ElasticSpace(data.shape, data.classes, kind, width, tuple(made), resolutions, bits, exits=exits)


def describe(options: Options, nested: Nested) -> Description:
    """Nothing exact: what a sub-network costs is said with its point. SpaceError when the config cannot be built."""
    space_of(options, nested)
    exits_of(nested)
    _whole(nested, "samples", 1, 64)
    _whole(nested, "stage", 1, 100_000)
    return Description()


def operators(options: Options, nested: Nested) -> Segments:
    """The operators of the sub-network that `subnet` names beside a config, in float32 as they are computed; none
    where there is no such name: a super-network is many networks."""
    if "subnet" not in nested:
        return ()
    found = subnet(space_of(options, nested), whole(nested["subnet"]))
    return tuple(tuple(replace(step.operator, bits=32) for step in segment) for segment in found.segments)


def networks(options: Options, nested: Nested, rng: Generator) -> dict[str, Any]:
    """The config with one of its sub-networks, at random."""
    return {**nested, "subnet": space_of(options, nested).sample(rng)}


def _whole(config: Mapping[str, Any], name: str, low: int, high: int) -> int:
    value = config.get(name, DEFAULTS[name])
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        rule = f"the super-network needs a whole number in [{low}, {high}]"
        raise ParameterError(name, f"= {value!r}, but {rule}: change its range")
    return value


def _exits(nested: Nested) -> list[int]:
    said = nested.get("exits", DEFAULTS["exits"])
    listed = list(said) if isinstance(said, list | tuple) else [said]
    for value in listed:
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise SpaceError(f"exits holds {value!r}, but it lists units: use whole numbers from 0")
    return listed


def exits_of(nested: Nested) -> ExitTraining:
    """How early exits are trained, and the rule by which samples leave. SpaceError for what a super-network does not
    do: it has one loss for all exits of a sub-network, and weights them by the loss alone."""
    found = exit_training(nested)
    if found.weights == "equilibrium" or found.backbone == "frozen":
        odd = "exit_weights = 'equilibrium'" if found.weights == "equilibrium" else "exit_backbone = 'frozen'"
        raise SpaceError(f"{odd} is not for a super-network, whose heads train with its blocks: leave it out")
    return found


def distill_of(config: Mapping[str, Any]) -> float:
    """How much a sub-network learns from the biggest one rather than the labels, in [0, 1]."""
    said = config.get("distill", DEFAULTS["distill"])
    if isinstance(said, bool) or not isinstance(said, int | float) or not (isfinite(said) and 0 <= said <= 1):
        raise ParameterError("distill", f"= {said!r}, but it is a share: use a number in [0, 1]")
    return float(said)


def check(space: Space, options: Options, problems: Problems, typed: bool) -> None:
    """What every trial would refuse."""
    check_training(space, problems, typed=typed)
    if check_schedules(space, SCHEDULES, problems):
        check_buildable(SUPERNET, space, options, problems)


SUPERNET = BuiltIn(
    name="supernet", form=SupernetForm, metrics=METRICS, reads=tuple(DEFAULTS), describe=describe, schedules=SCHEDULES,
    architecture=("block", "width", "units", "depth", "kernel", "expand", "exits"), exact=(), measured=False,
    options=read_options, operators=operators, networks=networks, check=check,
)  # fmt: skip
