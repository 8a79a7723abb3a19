"""The built-in task `classify`: a multi-exit network on images or vectors (`spaces.nets`)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

from numpy.random import Generator, Philox
from pydantic import Field

from spaces.allocating import COSTS as ALLOCATED
from spaces.allocating import AllocateForm, ground
from spaces.allocation import Unmet
from spaces.builtin.base import BuiltIn, Description, Nested, Options
from spaces.chains import Segments, chains
from spaces.data import NAMED, DataShape, data_shape
from spaces.domains import Choice, Const, Domain, Subset
from spaces.errors import ParameterError, SpaceError
from spaces.exits import exit_training
from spaces.forms import Form
from spaces.formulas import COSTS, TRAIN_S
from spaces.kernels import RUNTIMES, expected
from spaces.morphs import GROWS, unfit
from spaces.nets import DEFAULTS, NetSpec, network
from spaces.problems import Path as KeyPath
from spaces.problems import Problems
from spaces.space import Space
from spaces.training_checks import check_training
from spaces.tree import largest_count
from spaces.widths import ACTIVATION_BITS, BITS, FORMS

METRICS: tuple[str, ...] = (
    "val_error", "val_loss", "train_loss", "latency_ms", "latency_p95_ms", "params", "macs", "bops", "bytes", TRAIN_S,
    *COSTS,
)  # fmt: skip
"""What the task can be judged by: error in %, latency in ms a sample, `bytes` of the weight artifact, `COSTS` as
the device's counters say."""

SCHEDULES: tuple[str, ...] = ("batch_size", "optimizer")
"""The parameters that may change while it trains: that one, and all below the optimizer."""

READ = ("width", "depth", "kernel", "bits", "exits", "exit_head", "activation_bits", "granularity", "group")
"""The parameters that make the network."""


DRAWS = 16
"""Configs that a study is tried with before it is taken."""


class ClassifyForm(Form):
    """Options of the built-in task. `shape` and `classes` are filled in from the data file."""

    data: str = "digits"
    shape: list[Annotated[int, Field(ge=1)]] | None = Field(default=None, min_length=1, max_length=3)
    classes: Annotated[int, Field(ge=2)] | None = None
    time_limit_s: Annotated[float, Field(gt=0)] | None = None
    allocate: AllocateForm | None = None


def shape_of(options: Options) -> DataShape:
    """Shape and classes of the task's data: as the options say, else by name, else from the file."""
    name = str(options.get("data", "digits"))
    if "shape" in options and "classes" in options:
        return DataShape(tuple(int(n) for n in options["shape"]), int(options["classes"]))
    return NAMED[name] if name in NAMED else data_shape(name)


def network_of(options: Options, nested: Nested) -> NetSpec:
    """The network of a nested config. SpaceError when the data set is not there or it cannot be built."""
    data = shape_of(options)
    return network(nested, data.shape, data.classes)


def read_data(form: Form, at: KeyPath, problems: Problems, base: Path | None) -> dict[str, Any] | None:
    """The options of a form that names data (`data`, `shape`, `classes`), with what its file says."""
    out = form.model_dump(exclude_none=True)
    name = str(out["data"])
    said = {"shape", "classes"} & set(out)
    if name.endswith(".npz"):
        if base is not None and not Path(name).is_absolute():
            out["data"] = str((base / name).resolve())
        if len(said) == 2:
            return out
    elif name in NAMED:
        if said:
            problems.add(at, f"shape and classes belong to a data file, and {name!r} is none: leave them out")
            return None
        return out
    try:
        found = data_shape(str(out["data"]))
    except SpaceError as error:
        problems.add((*at, "data"), str(error))
        return None
    return out | {"shape": list(found.shape), "classes": found.classes}


def describe(options: Options, nested: Nested) -> Description:
    """Parameters, MACs, BOPs, bytes and signatures of a nested config."""
    exit_training(nested)
    allocates = options.get("allocate")
    return _describe(_said(nested), shape_of(options), json.dumps(allocates, sort_keys=True) if allocates else "")


def operators(options: Options, nested: Nested) -> Segments:
    """The operators of a nested config by exit."""
    return _operators(_said(nested), shape_of(options))


def kernels(options: Options, nested: Nested, runtime: str) -> tuple[str, ...]:
    """Which bits of a nested config a runtime has a kernel for, a line each."""
    return expected(_network(_said(nested), shape_of(options)).layers, runtime)


def _said(nested: Nested) -> tuple[Any, ...]:
    """The values of READ, hashable."""
    if isinstance(shares := nested.get("granularity"), dict):  # a conditional choice, with its own `group`
        nested = {**nested, "group": shares.get("group", nested.get("group")), "granularity": shares.get("name")}
    return tuple(_frozen(nested.get(name)) for name in READ)


def _network(said: tuple[Any, ...], data: DataShape) -> NetSpec:
    return network({n: v for n, v in zip(READ, said, strict=True) if v is not None}, data.shape, data.classes)


@lru_cache(maxsize=8192, typed=True)
def _describe(said: tuple[Any, ...], data: DataShape, allocates: str) -> Description:
    net = _network(said, data)
    prefixes = tuple(net.signature(k) for k in range(len(net.exits)))
    metrics = {"params": net.params, "macs": net.macs, "bops": net.bops, "bytes": net.bytes}
    exact = MappingProxyType({name: float(value) for name, value in metrics.items()})
    low_bit = net.signature(len(net.exits) - 1, low_bit=True)
    if not allocates:
        return Description(exact, prefixes[-1], prefixes, low_bit)
    config = {n: v for n, v in zip(READ, said, strict=True) if v is not None}
    on = ground(config, data.shape, data.classes, AllocateForm.model_validate_json(allocates))
    least = {**exact, **{name: min(exact[name], on.least(name)) for name in ALLOCATED}}
    return Description(exact, prefixes[-1], prefixes, low_bit, MappingProxyType(least))


@lru_cache(maxsize=8192, typed=True)
def _operators(said: tuple[Any, ...], data: DataShape) -> Segments:
    return chains(_network(said, data))


def _frozen(value: Any, inside: bool = False) -> Any:
    if isinstance(value, list) and not inside:
        return tuple(_frozen(v, inside=True) for v in value)
    if isinstance(value, dict | list) or (inside and isinstance(value, bool)):
        raise SpaceError(f"{value!r} is no plain number, but the network needs numbers: flatten it")
    return value


def unfit_weights(options: Options, before: Nested, after: Nested) -> str | None:
    """Why the weights of `before` cannot be morphed to `after`; None when they can."""
    try:
        return unfit(network_of(options, before), network_of(options, after))
    except SpaceError as error:
        return str(error)


def check_schedules(space: Space, free: tuple[str, ...], problems: Problems) -> bool:
    """A schedule of a parameter that is not in `free` is a problem; whether there was none."""
    fixed = [n for n in space.nodes if n.knots is not None and n.name not in free]
    for node in fixed:
        said = f"{node.name} is fixed while the network trains: leave schedule out"
        problems.add(("space", node.name, "schedule"), f"{said} ({', '.join(free)} may have one)")
    return not fixed


def check_buildable(task: BuiltIn, space: Space, options: Options, problems: Problems) -> None:
    """A space whose drawn configs cannot be built is a problem, and a limit on allocations that none of them keeps."""
    rng = Generator(Philox(key=0))
    unmet: list[Unmet] = []
    wrong: set[str] = set()
    for _ in range(DRAWS):
        nested = space.nested(space.sample(rng))
        try:
            _build(task, options, nested, wrong, problems)
        except Unmet as error:
            unmet.append(error)
        except SpaceError as error:
            problems.add(("space",), str(error))
            return
    if len(unmet) == DRAWS:
        problems.add(("task", task.name, "allocate", "limits"), str(min(unmet, key=lambda e: e.least)))


def _build(task: BuiltIn, options: Options, nested: Nested, wrong: set[str], problems: Problems) -> None:
    """Each parameter whose value cannot be built from is told once, at its place; the rest is built without it."""
    left = {name: value for name, value in nested.items() if name not in wrong}
    while True:
        try:
            task.describe(options, left)
            return
        except ParameterError as error:
            if error.parameter not in left:
                raise
            del left[error.parameter]
            wrong.add(error.parameter)
            problems.add(("space", error.parameter), str(error))


def check(space: Space, options: Options, problems: Problems, typed: bool) -> None:
    """What the task would refuse in each trial: an unknown optimizer, an even kernel."""
    check_training(space, problems, typed=typed, shows=True)
    if typed:
        _check_ties(space, options, problems)
    if check_schedules(space, SCHEDULES, problems):
        check_buildable(CLASSIFY, space, options, problems)


def _check_ties(space: Space, options: Options, problems: Problems) -> None:
    """Blocks that choose their bits alike are blocks that some network has."""
    most = _blocks(space)
    for i, tie in enumerate((options.get("allocate") or {}).get("ties", ())):
        beyond = [block for block in tie if most is not None and block >= most]
        if beyond:
            said = f"there is no block {beyond[0]}: up to {most} blocks are 0 to {most - 1 if most else 0}"
            problems.add(("task", "classify", "allocate", "ties", i), f"{said}; leave it out, or raise depth")


def lint(space: Space, reads: frozenset[str]) -> Iterator[tuple[str, str]]:
    """Widths that the network does not have or no kernel runs, exits that never make a head."""
    for node in space.nodes:
        at = f"space.{node.name}"
        if node.name in ("bits", "activation_bits") and isinstance(node.domain, Choice):
            has = BITS if node.name == "bits" else ACTIVATION_BITS
            odd = [b for b in node.domain.options if b not in has]
            if odd:
                yield at, f"{odd} are no widths of the network: {', '.join(map(str, has))}"
            wide = [str(b) for b in node.domain.options if b in FORMS or b == 16]
            if wide and not reads.isdisjoint(("latency_ms", "latency_p95_ms")):
                runs = "no runtime here has a kernel for them, they run as float32"
                yield at, f"{', '.join(wide)}: {runs}, so they buy bytes and no time; use 8 for time"
        elif node.name == "granularity" and "group" in _options(node.domain):
            if not reads.isdisjoint(("latency_ms", "latency_p95_ms")):
                runs = "ONNX Runtime has no kernel for scales of groups and runs float32"
                yield at, f"group: {runs}, so it buys bytes and no time; use channel for time"
        elif node.name == "exits" and isinstance(node.domain, Subset):
            yield from _exits(space, node.domain, at)


def _options(domain: Domain) -> tuple[Any, ...]:
    match domain:
        case Choice(options=options):
            return tuple(options)
        case Const(value=value):
            return (value,)
        case _:
            return ()


def _blocks(space: Space) -> int | None:
    """How many blocks the deepest network of the space has; None where that cannot be said."""
    return largest_count(next((n.domain for n in space.nodes if n.name == "depth"), Const(DEFAULTS["depth"])))


def _exits(space: Space, domain: Subset, at: str) -> Iterator[tuple[str, str]]:
    most = _blocks(space)
    if most is None:
        return
    beyond = [i for i in domain.items if isinstance(i, int) and i >= most - 1]
    if beyond:
        yield at, f"{beyond} never make a head: with up to {most} blocks, those before {most - 1} do"


CLASSIFY = BuiltIn(
    name="classify", form=ClassifyForm, metrics=METRICS, reads=tuple(DEFAULTS), schedules=SCHEDULES, grows=GROWS,
    architecture=READ, options=read_data, describe=describe, operators=operators,
    runtimes=RUNTIMES, kernels=kernels, unfit=unfit_weights, check=check, lint=lint,
)  # fmt: skip
