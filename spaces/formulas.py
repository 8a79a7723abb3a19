"""Formulas over metrics: an objective that is computed from others, such as `val_error + 5 * log(train_s / 60)`.

The language is that of constraints (`spaces.constraints`): a safe evaluator, never Python's own. Beside its functions
there are the scalarisations of `spaces.scalarizers`. A metric is any name that is no function of the language, and is
not called as one.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from spaces.constraints import FUNCTIONS, Constraint
from spaces.errors import SpaceError
from spaces.scalarizers import SCALARIZERS, misuses

TRAIN_S = "train_s"
"""The metric that is always there to be asked for: seconds that a trial was trained, up to this step."""
TRAIN_ENERGY_J = "train_energy_j"
"""Joules that the device spent while a trial was trained, up to this step; there where a counter can be read."""
MEASURED = ("energy_mj", "peak_memory_bytes")
"""What a measure job says beside latency: mJ of a sample (where there is a counter), the most memory in use."""
COSTS = (TRAIN_ENERGY_J, *MEASURED)


@dataclass(frozen=True, slots=True)
class Formula:
    """`reads`: the metrics that it needs."""

    text: str
    reads: frozenset[str]
    _expression: Constraint

    def value(self, metrics: Mapping[str, Any]) -> float | None:
        """Its value at these metrics; None where one is missing, NaN where there is none (the log of a negative)."""
        if not all(name in metrics for name in self.reads):
            return None
        try:
            found = self._expression.value(metrics)
        except (ZeroDivisionError, OverflowError, ValueError, SpaceError):
            return math.nan
        if isinstance(found, bool) or not isinstance(found, int | float):
            return math.nan
        return float(found)


@lru_cache(maxsize=256)
def formula(text: str) -> Formula:
    """The formula in a text; SpaceError says what is wrong with it."""
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        names: set[str] = set()
    else:
        called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
        words = [node for node in ast.walk(tree) if isinstance(node, ast.Name) and id(node) not in called]
        names = {node.id for node in words} - FUNCTIONS.keys()
        if (wrong := next(misuses(tree), None)) is not None:
            raise SpaceError(wrong)
    expression = Constraint.parse(text, names, functions={**FUNCTIONS, **SCALARIZERS})
    return Formula(text, expression.reads, expression)
