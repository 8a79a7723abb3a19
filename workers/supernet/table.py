"""What operators cost on this machine, each timed once, and what a sub-network costs by their sum.

Every operator is a model of its own for the runtime, timed as whole networks are (`workers.measure`). A call of the
runtime costs something by itself: that is taken off each operator and added once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from spaces.operators import Operator
from workers import measure
from workers.nets.subnet_graph import alone, empty

EMPTY = "empty"
_TIMED: dict[str, float] = {}
"""Milliseconds by key, for the life of this process: its device does not change."""


class Table:
    """Milliseconds by `Operator.key`. `known`: what an earlier job of the trial timed, which holds."""

    def __init__(self, known: Mapping[str, float] | None = None) -> None:
        self.ms: dict[str, float] = dict(known or {})

    def latency(self, operators: Iterable[Operator]) -> float:
        """Milliseconds of one sample through all operators; times those that are new."""
        base = self._of(EMPTY, None)
        return base + sum(max(0.0, self._of(o.key, o) - base) for o in operators)

    def _of(self, key: str, operator: Operator | None) -> float:
        if key not in self.ms:
            if key not in _TIMED:
                _TIMED[key] = _time(operator)
            self.ms[key] = _TIMED[key]
        return self.ms[key]


def _time(operator: Operator | None) -> float:
    model, shape = (empty(), [1]) if operator is None else alone(operator)
    x = np.random.default_rng(0).random((1, *shape), dtype=np.float32)
    return measure.time_models([model], x, rounds=3, round_s=0.004)[0].p50_ms
