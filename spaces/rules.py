"""Operators that were not timed, by what they do: time = a · multiplications + b · bytes moved + c, one rule a kind.

Source: Inbar and Sernau (2024), Time Matters: operations and bytes read and written explain the time of an operator.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

LEAST = 4
"""Operators of a kind that a rule needs."""
BEYOND = 3.0
"""A rule covers operators up to so many times larger, or smaller, than those that it was made from."""


def kind(key: str) -> str:
    """What operators have in common that are alike: `conv-16x32x3x1x1x4x4-8` → `conv-8`."""
    return f"{key.partition('-')[0]}-{key.rpartition('-')[2]}"


@dataclass(frozen=True, slots=True)
class Rule:
    """Milliseconds a million multiplications, a million elements moved, and a call; `low` to `high`: of `size`."""

    work: float
    moved: float
    call: float
    low: float
    high: float

    def ms(self, key: str) -> float:
        """Milliseconds of one operator."""
        work, moved = size(key)
        return max(0.0, self.work * work + self.moved * moved + self.call)

    def covers(self, key: str) -> bool:
        """Whether an operator is about as large as those that were timed."""
        total = sum(size(key))
        return self.low / BEYOND <= total <= self.high * BEYOND

    def as_json(self) -> list[float]:
        return [self.work, self.moved, self.call, self.low, self.high]


def size(key: str) -> tuple[float, float]:
    """(multiplications, elements read and written), in millions, of an operator by its key; zeros for other keys."""
    try:
        op, shape, _ = key.split("-")
        inputs, outputs, kernel, stride, groups, height, width = (int(n) for n in shape.split("x"))
    except ValueError:
        return 0.0, 0.0
    if op == "attention":
        return 2 * height * outputs / 1e6, (2 * height + 4) * outputs / 1e6
    if op in ("embed", "norm"):
        return 0.0, 3 * outputs / 1e6
    weights = outputs * (inputs // max(groups, 1)) * kernel * kernel if op in ("conv", "linear") else 0
    cells = -(-height // stride) * -(-width // stride) if op == "conv" else 1
    leaves = kernel * kernel if op in ("pool", "resize") else cells if op == "conv" else height * width
    moved = inputs * height * width + outputs * leaves + weights
    return weights * cells / 1e6, moved / 1e6


def rules(table: Mapping[str, float]) -> dict[str, Rule]:
    """The rules of all kinds that have enough operators in a table."""
    found: dict[str, Rule] = {}
    for name in sorted({kind(key) for key in table}):
        keys = sorted(key for key in table if kind(key) == name)
        sizes = np.array([size(key) for key in keys])
        if len(keys) < LEAST or not sizes.any():
            continue
        ms = np.array([table[key] for key in keys])
        x = np.column_stack([sizes, np.ones(len(keys))])
        work, moved, call = np.linalg.lstsq(x, ms, rcond=1e-9)[0]
        totals = sizes.sum(axis=1)
        found[name] = Rule(float(work), float(moved), float(call), float(totals.min()), float(totals.max()))
    return found
