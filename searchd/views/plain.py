"""Values as strict JSON has them, and the parts of a study's spec that views need."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from searchd.errors import NotFound
from searchd.store.base import Reader, StudyRow


def plain(value: Any) -> Any:
    """`value` with dicts and lists throughout, and null for NaN and infinities."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [plain(v) for v in value]
    return value


def number(value: Any) -> float | None:
    """A finite number, or None for everything else (NaN, text, nothing)."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return value


def the(reader: Reader, study: str) -> StudyRow:
    """The study's row; NotFound when there is none."""
    row = reader.study(study)
    if row is None:
        raise NotFound(f"there is no study {study!r} in this store: `searchd list` shows those that are")
    return row


@dataclass(frozen=True, slots=True)
class Goal:
    """An objective as the spec has it. `loss` turns a value in the user's own sense into lower-is-better."""

    name: str
    goal: str
    at_most: float | None = None
    at_least: float | None = None

    def loss(self, value: float) -> float:
        return -value if self.goal == "maximize" else value

    def better(self, values: Sequence[float]) -> float | None:
        """The best of some values; None of none."""
        return min(values, key=self.loss, default=None)


def goals(row: StudyRow) -> tuple[Goal, ...]:
    """The objectives of a study, in their order; each a mapping, or only its goal as a study file may have it."""
    found = []
    for name, said in row.spec.get("objectives", {}).items():
        options = said if isinstance(said, Mapping) else {"goal": said}
        found.append(
            Goal(name, options.get("goal", "minimize"), options.get("at_most"), options.get("at_least"))
        )
    return tuple(found)


def losses(objectives: Sequence[Goal], metrics: Mapping[str, Any]) -> tuple[float, ...] | None:
    """Lower is better, one an objective; None when one is missing or not finite."""
    values = []
    for o in objectives:
        value = number(metrics.get(o.name))
        if value is None:
            return None
        values.append(o.loss(value))
    return tuple(values)
