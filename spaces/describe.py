"""What is known of a config before anything runs: exact, for built-in tasks, and cheap enough to ask thousands."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from numpy.random import Generator, Philox

from spaces.allocating import COSTS, AllocateForm, ground
from spaces.allocation import Unmet
from spaces.data import NAMED, DataShape, data_shape
from spaces.errors import SpaceError
from spaces.morphs import unfit
from spaces.nets import NetSpec, network
from spaces.space import Space
from spaces.task import Task

DRAWS = 16
"""Configs that a study is tried with before it is taken."""


@dataclass(frozen=True, slots=True)
class Description:
    """`metrics`: params, macs, bops, bytes (see `spaces.nets`), the same at every step and operating point.

    `prefixes`: one signature an exit, cumulative; `signature`: that of the whole (the last prefix). Equal signatures
    have equal latency on one device.
    """

    metrics: Mapping[str, float] = field(default_factory=dict)
    signature: str = ""
    prefixes: tuple[str, ...] = ()
    least: Mapping[str, float] | None = None
    """What bounds are held against where operating points have figures of their own: the least of each."""

    @property
    def bounded(self) -> Mapping[str, float]:
        """The metrics that a bound is held against before anything is trained."""
        return self.metrics if self.least is None else self.least


def spec_of(task: Task, nested: Mapping[str, Any]) -> NetSpec | None:
    """The network that the task builds for a nested config; None for tasks that are not built in. SpaceError when the
    data set is not there or the network cannot be built."""
    if task.kind != "classify":
        return None
    data = shape_of(task)
    return network(nested, data.shape, data.classes)


def shape_of(task: Task) -> DataShape:
    """Shape and classes of a classify task's data: as the task says, else by name, else from the file."""
    options = task.options
    name = str(options.get("data", "digits"))
    if "shape" in options and "classes" in options:
        return DataShape(tuple(int(n) for n in options["shape"]), int(options["classes"]))
    return NAMED[name] if name in NAMED else data_shape(name)


def describe(task: Task, space: Space, config: Mapping[str, Any]) -> Description | None:
    """The exact figures of a config; None for a task that is not built in. SpaceError when it cannot be built."""
    if task.kind != "classify":
        return None
    nested = space.nested(config)
    data = shape_of(task)
    if isinstance(shares := nested.get("granularity"), dict):  # a conditional choice, with its own `group`
        nested = {**nested, "group": shares.get("group", nested.get("group")), "granularity": shares.get("name")}
    return _describe(tuple(_frozen(nested.get(name)) for name in _READ), data, _text(task.options.get("allocate")))


def refused(task: Task, space: Space) -> tuple[tuple[str, ...], str] | None:
    """Where in a study, and why, configs cannot be built: the first of 16 draws that fails, or a limit on allocations
    that none of them keeps."""
    rng = Generator(Philox(key=0))
    unmet: list[Unmet] = []
    for _ in range(DRAWS):
        try:
            describe(task, space, space.sample(rng))
        except Unmet as error:
            unmet.append(error)
        except SpaceError as error:
            return ("space",), str(error)
    if len(unmet) < DRAWS:
        return None
    return ("task", "classify", "allocate", "limits"), str(min(unmet, key=lambda e: e.least))


def unfit_weights(task: Task, space: Space, before: Mapping[str, Any], after: Mapping[str, Any]) -> str | None:
    """Why the weights of config `before` cannot be morphed to `after`; None when they can, as far as it is known: a
    task that is not built in knows by itself."""
    try:
        old, new = spec_of(task, space.nested(before)), spec_of(task, space.nested(after))
    except SpaceError as error:
        return str(error)
    return None if old is None or new is None else unfit(old, new)


_READ = ("width", "depth", "kernel", "bits", "exits", "activation_bits", "granularity", "group")


@lru_cache(maxsize=8192, typed=True)
def _describe(said: tuple[Any, ...], data: DataShape, allocates: str) -> Description:
    config = {n: v for n, v in zip(_READ, said, strict=True) if v is not None}
    net = network(config, data.shape, data.classes)
    prefixes = tuple(net.signature(k) for k in range(len(net.exits)))
    metrics = {"params": net.params, "macs": net.macs, "bops": net.bops, "bytes": net.bytes}
    exact = MappingProxyType({name: float(value) for name, value in metrics.items()})
    if not allocates:
        return Description(exact, prefixes[-1], prefixes)
    on = ground(config, data.shape, data.classes, AllocateForm.model_validate_json(allocates))
    least = {**exact, **{name: min(exact[name], on.least(name)) for name in COSTS}}
    return Description(exact, prefixes[-1], prefixes, MappingProxyType(least))


def _text(allocates: Any) -> str:
    return json.dumps(allocates, sort_keys=True) if allocates else ""


def _frozen(value: Any, inside: bool = False) -> Any:
    if isinstance(value, list) and not inside:
        return tuple(_frozen(v, inside=True) for v in value)
    if isinstance(value, dict | list) or (inside and isinstance(value, bool)):
        raise SpaceError(f"{value!r} is no plain number, but the network needs numbers: flatten it")
    return value
