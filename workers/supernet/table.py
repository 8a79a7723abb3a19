"""What operators cost on this machine, each timed once, and what a sub-network costs by their sum.

Every operator is a model of its own for the runtime, the one that a device's profile times (`workers.nets.alone`). A
call of the runtime costs something by itself: that is taken off each operator and added once. The sum is then put
to scale by a few whole sub-networks: between operators of a whole the runtime need not arrange maps anew, so it is a
little faster than the sum (docs/log.md says how much).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from spaces.chains import occurrences
from spaces.operators import Operator, signature
from spaces.predictor import Predictor
from workers import measure
from workers.measurers import OnnxCpu

EMPTY = "empty"
SCALE = "scale"
Whole = tuple[tuple[Operator, ...], Callable[[], bytes]]
"""The operators of a whole sub-network, and what builds its model."""
_TIMED: dict[str, float] = {}
"""Milliseconds by key, for the life of this process: its device does not change."""


class Table:
    """Milliseconds by `Operator.key`, and `SCALE`. `known`: what an earlier job of the trial timed, which holds."""

    def __init__(self, known: Mapping[str, float] | None = None) -> None:
        self.ms: dict[str, float] = dict(known or {})

    def latency(self, operators: Iterable[Operator]) -> float:
        """Milliseconds of one sample through all operators; times those that are new."""
        return self.ms.get(SCALE, 1.0) * self._sum(operators)

    def scale(self, wholes: Iterable[Whole]) -> None:
        """Put sums to scale, once: by the median over whole sub-networks of measured by summed."""
        if SCALE in self.ms:
            return
        ratios = []
        for operators, build in wholes:
            key = f"whole-{signature(operators)}"
            if key not in _TIMED:
                first = operators[0]
                x = _sample([first.inputs] if first.op == "linear" else [first.inputs, first.height, first.width])
                _TIMED[key] = measure.time_models([build()], x)[0].p50_ms
            ratios.append(_TIMED[key] / self._sum(operators))
        self.ms[SCALE] = float(np.median(ratios))

    def _sum(self, operators: Iterable[Operator]) -> float:
        base = self._of(EMPTY, None)
        floats = (replace(o, bits=32) for o in operators)  # narrow weights are computed in float32 as well
        return base + sum(max(0.0, self._of(o.key, o) - base) for o in floats)

    def _of(self, key: str, operator: Operator | None) -> float:
        if key not in self.ms:
            if key not in _TIMED:
                _TIMED[key] = _time(operator)
            self.ms[key] = _TIMED[key]
        return self.ms[key]


class Predicted:
    """Milliseconds by the profile of the study's device: nothing is timed here."""

    ms: Mapping[str, float] = {}

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor

    def latency(self, operators: Iterable[Operator]) -> float:
        """Milliseconds of one sample through all operators. SpaceError for one that the profile does not know."""
        chain = tuple(replace(o, bits=32) for o in operators)
        return self._predictor.ms(occurrences((chain,), 0))

    def scale(self, wholes: Iterable[Whole]) -> None:
        """Predictions are to scale."""


def _time(operator: Operator | None) -> float:
    by = OnnxCpu()
    run = by.empty() if operator is None else by.operator(operator)
    return measure.time_runs(by, [run], rounds=3, round_s=0.004)[0].p50_ms


def _sample(shape: list[int]) -> NDArray[np.float32]:
    return np.random.default_rng(0).random((1, *shape), dtype=np.float32)
