"""The bounds of a study as a searcher sees them: one number a bound, above 0 where it is broken.

`violation`, which schedulers rank by, is the sum of what is above 0; a model of each bound learns more from the
numbers themselves, how far a bound is from being broken included.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from spaces.study import Objective


@dataclass(frozen=True, slots=True)
class Bound:
    """`sign` · loss <= `limit` for the loss (signed: lower is better) of objective number `objective`. `size`: what
    excess is counted in, as in the violation; `name` and `above`: the metric, and which way it breaks the bound."""

    name: str
    objective: int
    sign: float
    limit: float
    size: float
    above: bool

    def excess(self, losses: Sequence[float]) -> float:
        """How far the losses of a point are beyond the bound: 0 and less when it holds."""
        return (self.sign * losses[self.objective] - self.limit) / self.size

    def broken(self, metrics: Mapping[str, float]) -> bool:
        """Whether exact metrics of a config, where they have this one, break it."""
        value = metrics.get(self.name)
        if value is None:
            return False
        edge = self.limit if self.above else -self.limit
        return value > edge if self.above else value < edge


def bounds_of(objectives: Iterable[Objective]) -> tuple[Bound, ...]:
    """Every `at_most` and `at_least` of a study."""
    found: list[Bound] = []
    for i, objective in enumerate(objectives):
        flip = -1.0 if objective.goal == "maximize" else 1.0  # a maximised metric is told with its sign turned
        for edge, way in ((objective.at_most, 1.0), (objective.at_least, -1.0)):
            if edge is not None:
                found.append(Bound(objective.name, i, flip * way, way * edge, abs(edge) or 1.0, way > 0))
    return tuple(found)
