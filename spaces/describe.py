"""What is known of a config before anything runs: exact, for built-in tasks, and cheap enough to ask thousands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.random import Generator

from spaces.builtin import BUILT_IN, Description
from spaces.chains import Segments
from spaces.space import Space
from spaces.task import Task

__all__ = ["NAMES", "Description", "describe", "drawn", "kernels", "operators", "point_operators", "unfit_weights"]

NAMES = ("subnet", "architecture")
"""What in a point names one of the many networks of its trial."""


def describe(task: Task, space: Space, config: Mapping[str, Any]) -> Description | None:
    """The exact figures of a config; None for a task that is not built in. SpaceError when it cannot be built."""
    known = BUILT_IN.get(task.kind)
    return None if known is None else known.describe(task.options, space.nested(config))


def kernels(task: Task, space: Space, config: Mapping[str, Any], runtime: str) -> tuple[str, ...]:
    """Which bits of a config a runtime has a kernel for, a line each, as far as arithmetic knows; none for a task whose
    configs have no bits. SpaceError when it cannot be built."""
    known = BUILT_IN.get(task.kind)
    if known is None or known.kernels is None:
        return ()
    return known.kernels(task.options, space.nested(config), runtime)


def operators(task: Task, space: Space, config: Mapping[str, Any]) -> Segments | None:
    """The operators of a config by exit; None for a task that does not say them. SpaceError when it cannot be built."""
    known = BUILT_IN.get(task.kind)
    if known is None or known.operators is None:
        return None
    return known.operators(task.options, space.nested(config))


def drawn(task: Task, space: Space, config: Mapping[str, Any], rng: Generator) -> tuple[dict[str, Any], Segments]:
    """(a nested config with what names one of its networks, at random; its operators by exit) for a config that brings
    many, else the config itself. No operators for a task that does not say them. SpaceError when it cannot be built."""
    known, nested = BUILT_IN.get(task.kind), space.nested(config)
    if known is None or known.operators is None:
        return nested, ()
    one = nested if known.networks is None else known.networks(task.options, nested, rng)
    return dict(one), known.operators(task.options, one)


def point_operators(task: Task, space: Space, config: Mapping[str, Any], point: Mapping[str, Any]) -> Segments:
    """The operators of the network that a point of a config names, by exit; none for a task whose configs are the
    networks."""
    known = BUILT_IN.get(task.kind)
    if known is None or known.operators is None or known.networks is None:
        return ()
    named = {name: point[name] for name in NAMES if name in point}
    return known.operators(task.options, {**space.nested(config), **named}) if named else ()


def unfit_weights(task: Task, space: Space, before: Mapping[str, Any], after: Mapping[str, Any]) -> str | None:
    """Why the weights of config `before` cannot be morphed to `after`; None when they can, as far as it is known: a
    task that is not built in knows by itself."""
    known = BUILT_IN.get(task.kind)
    if known is None or known.unfit is None:
        return None
    return known.unfit(task.options, space.nested(before), space.nested(after))
