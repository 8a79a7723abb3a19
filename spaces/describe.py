"""What is known of a config before anything runs: exact, for built-in tasks, and cheap enough to ask thousands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from spaces.builtin import BUILT_IN, Description
from spaces.chains import Segments
from spaces.space import Space
from spaces.task import Task

__all__ = ["Description", "describe", "operators", "unfit_weights"]


def describe(task: Task, space: Space, config: Mapping[str, Any]) -> Description | None:
    """The exact figures of a config; None for a task that is not built in. SpaceError when it cannot be built."""
    known = BUILT_IN.get(task.kind)
    return None if known is None else known.describe(task.options, space.nested(config))


def operators(task: Task, space: Space, config: Mapping[str, Any]) -> Segments | None:
    """The operators of a config by exit; None for a task that does not say them. SpaceError when it cannot be built."""
    known = BUILT_IN.get(task.kind)
    if known is None or known.operators is None:
        return None
    return known.operators(task.options, space.nested(config))


def unfit_weights(task: Task, space: Space, before: Mapping[str, Any], after: Mapping[str, Any]) -> str | None:
    """Why the weights of config `before` cannot be morphed to `after`; None when they can, as far as it is known: a
    task that is not built in knows by itself."""
    known = BUILT_IN.get(task.kind)
    if known is None or known.unfit is None:
        return None
    return known.unfit(task.options, space.nested(before), space.nested(after))
