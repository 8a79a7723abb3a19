"""The built-in task `dnas`: a differentiable search over the blocks of a small network (`spaces.blocks`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Any, Literal

from numpy.random import Generator
from pydantic import Field

from spaces.blocks import MOST_LAYERS, Layout, candidates_of, layout
from spaces.builtin.base import BuiltIn, Description, Nested, Options
from spaces.builtin.classify import (
    ClassifyForm,
    check_buildable,
    check_schedules,
    read_data,
    shape_of,
)
from spaces.chains import Segments
from spaces.errors import ParameterError
from spaces.formulas import TRAIN_S
from spaces.problems import Problems
from spaces.space import Space
from spaces.training_checks import check_training

METRICS: tuple[str, ...] = (
    "val_error", "val_loss", "train_loss", "latency_ms", "expected_ms", "entropy", "params", "macs", "bytes", TRAIN_S,
)  # fmt: skip
"""What it can be judged by: those of the architecture that it would choose now; `expected_ms` of the mixture, and the
mean `entropy` of a layer's choice in nats."""

Loss = Literal["fbnet", "proxyless-mul", "proxyless-add"]

LIMITS: Mapping[str, tuple[float, float, float]] = MappingProxyType({
    "theta_lr": (0.01, 0.0, 10.0), "theta_decay": (5e-4, 0.0, 10.0), "temperature": (5.0, 1e-3, 1e3),
    "anneal": (0.956, 1e-3, 1.0), "alpha": (0.2, 0.0, 1e6), "beta": (0.6, 0.0, 100.0), "weight": (0.1, 0.0, 1e6),
})  # fmt: skip
"""Parameters that are numbers: default, least, largest. The defaults are FBNet's, `weight` ProxylessNAS'."""

READS = ("width", "architecture", "batch_size", "optimizer", *LIMITS, "target_ms")


class DnasForm(ClassifyForm):
    """Options of the built-in task: those of `classify`, and the space of the search."""

    layers: Annotated[int, Field(ge=1, le=MOST_LAYERS)] = 4
    candidates: list[str] | None = Field(default=None, min_length=1, max_length=32)
    loss: Loss = "fbnet"
    masks: Literal["hard", "soft", "two"] = "hard"
    theta_share: Annotated[float, Field(gt=0, lt=1)] = 0.2
    warmup: Annotated[int, Field(ge=0)] = 1
    samples: Annotated[int, Field(ge=0, le=64)] = 3


@dataclass(frozen=True, slots=True)
class Plan:
    """A nested config of the task, read. `target_ms`: None is the latency of the uniform mixture; `architecture`: where
    it is given nothing is searched, and that network is trained."""

    layout: Layout
    loss: Loss
    theta_lr: float
    theta_decay: float
    temperature: float
    anneal: float
    alpha: float
    beta: float
    weight: float
    target_ms: float | None
    architecture: tuple[str, ...] | None

    def tau(self, step: int) -> float:
        """The temperature of the Gumbel-softmax while `step` (from 1) trains."""
        return float(self.temperature * self.anneal ** (step - 1))


def plan_of(options: Options, nested: Nested) -> Plan:
    """What a nested config asks for; SpaceError when it cannot be built."""
    data = shape_of(options)
    names = candidates_of(options, len(data.shape) == 3)
    made = layout(data.shape, data.classes, nested.get("width", 16), int(options.get("layers", 4)), names)
    loss: Loss = options.get("loss", "fbnet")
    numbers = {name: _number(nested, name) for name in LIMITS}
    if loss == "proxyless-mul" and "beta" not in nested:
        numbers["beta"] = 0.3
    target = nested.get("target_ms")
    if target is not None and not (_is_number(target) and 0 < target < float("inf")):
        raise ParameterError("target_ms", f"= {target!r}, but a latency is a number of ms above 0: change its range")
    if target is not None and loss == "proxyless-mul" and target <= 1e-3:
        said = "proxyless-mul takes its logarithm in us, which needs more than 1 us"
        raise ParameterError("target_ms", f"= {target:g}: {said}")
    fixed = nested.get("architecture")
    chosen = None if fixed is None else made.check(fixed)
    target_ms = None if target is None else float(target)
    return Plan(layout=made, loss=loss, target_ms=target_ms, architecture=chosen, **numbers)


def describe(options: Options, nested: Nested) -> Description:
    """The exact figures of a config that names its architecture; a search has none before it has chosen."""
    plan = plan_of(options, nested)
    if plan.architecture is None:
        return Description()
    signature = plan.layout.signature(plan.architecture)
    return Description(MappingProxyType(plan.layout.figures(plan.architecture)), signature, (signature,))


def operators(options: Options, nested: Nested) -> Segments:
    """The operators of the architecture that a config names; none where it is searched."""
    plan = plan_of(options, nested)
    return () if plan.architecture is None else (plan.layout.operators(plan.architecture),)


def networks(options: Options, nested: Nested, rng: Generator) -> dict[str, Any]:
    """The config with an architecture at random, where it names none."""
    plan = plan_of(options, nested)
    if plan.architecture is not None:
        return dict(nested)
    drawn = [layer.candidates[int(rng.integers(len(layer.candidates)))] for layer in plan.layout.layers]
    return {**nested, "architecture": drawn}


def check(space: Space, options: Options, problems: Problems, typed: bool) -> None:
    """What the task would refuse in each trial."""
    check_training(space, problems, typed=typed)
    if check_schedules(space, ("batch_size", "optimizer"), problems):
        check_buildable(DNAS, space, options, problems)


def lint(space: Space, _: frozenset[str]) -> Iterable[tuple[str, str]]:
    """A searched architecture beside parameters that only a search reads."""
    names = {node.name for node in space.nodes}
    if "architecture" in names:
        for name in sorted(names & {*LIMITS, "target_ms"}):
            yield f"space.{name}", "nothing reads it where architecture is given: there is nothing to choose then"


def _number(nested: Nested, name: str) -> float:
    default, low, high = LIMITS[name]
    value = nested.get(name, default)
    if not _is_number(value) or not low <= value <= high:
        rule = f"the search needs a number in [{low:g}, {high:g}]"
        raise ParameterError(name, f"= {value!r}, but {rule}: change its range")
    return float(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


DNAS = BuiltIn(
    name="dnas", form=DnasForm, metrics=METRICS, reads=READS, schedules=("batch_size", "optimizer"),
    architecture=("architecture",), options=read_data, describe=describe, exact=(), measured=False, operators=operators,
    networks=networks, check=check, lint=lint,
)  # fmt: skip
