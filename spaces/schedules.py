"""Parameters that change while a trial trains: piecewise schedules, and the cyclic one of time-accuracy curves.

A schedule with searched knot values is dynamic algorithm configuration by policy search (Adriaensen et al., 2022,
"Automated dynamic algorithm configuration"): the policy knows the time only, and any searcher may look for it. To a
search it is a repeated parameter, one flat name a knot (`lr.0`, `lr.1`, …). To a training function it is a mapping,
`{"schedule": "piecewise", "knots": [1, 9], "values": [0.1, 0.01], "log": true}`, of which `at_step` makes numbers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from spaces.errors import SpaceError

MOST_KNOTS = 64
KIND = "piecewise"


@dataclass(frozen=True, slots=True)
class Piecewise:
    """Values at knots [steps], straight lines between them (of the logarithm where `log`), constant outside.

    `whole`: what comes out is rounded to a whole number, halves up. SpaceError for knots or values that do not fit.
    """

    knots: tuple[int, ...]
    values: tuple[float, ...]
    log: bool = False
    whole: bool = False

    def __post_init__(self) -> None:
        check_knots(self.knots)
        if len(self.values) != len(self.knots):
            raise SpaceError(f"{len(self.values)} values for {len(self.knots)} knots: give one for each")
        if self.log and min(self.values) <= 0:
            raise SpaceError(f"a log schedule needs values above 0, but has {min(self.values):g}: leave log out")

    def at(self, step: float) -> float:
        """The value while `step` trains (steps count from 1); never outside the values of the two knots beside it."""
        if step <= self.knots[0]:
            return self.values[0]
        for (k, a), (end, b) in pairwise(zip(self.knots, self.values, strict=True)):
            if step == end:
                return b
            if step < end:
                value = self._between(a, b, (step - k) / (end - k))
                return math.floor(value + 0.5) if self.whole else value
        return self.values[-1]

    def _between(self, a: float, b: float, t: float) -> float:
        value = math.exp(math.log(a) * (1 - t) + math.log(b) * t) if self.log else a * (1 - t) + b * t
        return min(max(value, min(a, b)), max(a, b))

    def dump(self) -> dict[str, Any]:
        """The mapping that a training function finds in its config; `read` takes it back."""
        out: dict[str, Any] = {"schedule": KIND, "knots": list(self.knots), "values": list(self.values)}
        return out | {name: True for name in ("log", "whole") if getattr(self, name)}

    @classmethod
    def read(cls, said: Mapping[str, Any]) -> Piecewise:
        """The schedule that `dump` wrote."""
        return cls(tuple(said["knots"]), tuple(said["values"]), bool(said.get("log")), bool(said.get("whole")))


def check_knots(knots: tuple[int, ...]) -> None:
    """SpaceError unless they are 2 to MOST_KNOTS rising steps, the first at least 1."""
    if not 2 <= len(knots) <= MOST_KNOTS:
        much = "is no schedule: leave schedule out" if len(knots) < 2 else f"is more than {MOST_KNOTS}: take fewer"
        raise SpaceError(f"a number of {len(knots)} knots {much}")
    if knots[0] < 1 or any(b <= a for a, b in pairwise(knots)):
        raise SpaceError(f"knots {list(knots)} have to rise, from step 1 or later: sort them, each once")


def is_schedule(value: Any) -> bool:
    """Whether a value of a nested config is a schedule; a conditional choice is a mapping too, but has a `name`."""
    return isinstance(value, Mapping) and value.get("schedule") == KIND and "name" not in value


def scheduled(nested: Mapping[str, Any]) -> bool:
    """Whether anything in a nested config changes with the step."""
    return any(_holds(value) for value in nested.values())


def at_step(nested: Mapping[str, Any], step: float) -> dict[str, Any]:
    """A nested config with every schedule replaced by its value while `step` trains."""
    return {name: _at(value, step) for name, value in nested.items()}


def _holds(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return any(map(_holds, value))
    return is_schedule(value) or (isinstance(value, Mapping) and scheduled(value))


def _at(value: Any, step: float) -> Any:
    if is_schedule(value):
        return Piecewise.read(value).at(step)
    if isinstance(value, Mapping):
        return at_step(value, step)
    return [_at(v, step) for v in value] if isinstance(value, list | tuple) else value


def cyclic(t: float, first: int, top: float, factor: int = 2) -> float:
    """A learning rate with warm restarts: cycle i lasts first * factor**i, a cosine from `top` to 0 in each.

    `t`: steps done, from 0. Every cycle ends with a finished model, so that one run gives a curve of quality over
    time (Portes et al., 2022, "Fast benchmarking of accuracy vs. training time with cyclic learning rates").
    SpaceError for t < 0, first < 1 or factor < 1.
    """
    _check_cycles(first, factor)
    if t < 0:
        raise SpaceError(f"t = {t:g} lies before the training: give the steps done, from 0")
    began, length = 0, first
    while t >= began + length:
        began, length = began + length, length * factor
    return top / 2 * (1 + math.cos(math.pi * (t - began) / length))


def cycle_ends(count: int, first: int, factor: int = 2) -> tuple[int, ...]:
    """Where the first `count` cycles end [steps]: the rungs to compare at, for there each model is a finished one."""
    _check_cycles(first, factor)
    ends: list[int] = []
    for i in range(count):
        ends.append((ends[-1] if ends else 0) + first * factor**i)
    return tuple(ends)


def _check_cycles(first: int, factor: int) -> None:
    if first < 1 or factor < 1:
        raise SpaceError(f"cycles need first >= 1 and factor >= 1, not {first} and {factor}: raise them")
