"""How a learning rate changes over a training whose length is declared: warm-up, then a decay to 0 at the horizon.

The horizon is a parameter of the config, in steps; a training never knows how far its search will take it. Optimizers
are compared at the end of a decayed schedule, for in the middle of one their order is another (Wen and others, 2025).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from spaces.errors import SpaceError
from spaces.schedules import cyclic
from spaces.suggest import did_you_mean

DECAYS: tuple[str, ...] = ("constant", "cosine", "linear", "cyclic")
KEYS: tuple[str, ...] = ("horizon", "warmup")


@dataclass(frozen=True, slots=True)
class Decay:
    """`horizon` [steps]: where the factor is 0; of `cyclic` the length of the first cycle, each later one is twice as
    long. `warmup` [steps]: the factor rises to 1 in a straight line, and the decay begins."""

    kind: str
    horizon: int | None = None
    warmup: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in DECAYS:
            raise SpaceError(f"there is no schedule {self.kind!r}: {did_you_mean(self.kind, DECAYS)}")
        if self.kind != "constant" and self.horizon is None:
            raise SpaceError(f"schedule: {self.kind} needs a horizon, where the learning rate is 0: give horizon: R")
        for name, value in (("horizon", self.horizon), ("warmup", self.warmup)):
            number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
            if value is not None and not (number and value >= (name == "horizon")):
                least = "a whole number of steps from 1" if name == "horizon" else "a number of steps from 0"
                raise SpaceError(f"{name} is {value!r}, but has to be {least}")
        if self.kind != "constant" and self.horizon is not None and self.warmup >= self.horizon:
            raise SpaceError(f"warmup = {self.warmup:g} leaves nothing of horizon = {self.horizon}: lower it")

    def at(self, t: float) -> float:
        """The factor of the learning rate after `t` steps, in [0, 1]; `t` may lie inside a step."""
        if t < self.warmup:
            return t / self.warmup
        if self.kind == "constant" or self.horizon is None:
            return 1.0
        if self.kind == "cyclic":
            return cyclic(t - self.warmup, self.horizon, 1.0)
        done = min((t - self.warmup) / (self.horizon - self.warmup), 1.0)
        return (1 + math.cos(math.pi * done)) / 2 if self.kind == "cosine" else 1 - done


def decay_of(config: Mapping[str, Any]) -> Decay | None:
    """The schedule of a nested config: `schedule` is a name, or a choice with `horizon` and `warmup` below it; else
    these stand beside it. None where the learning rate is constant from the first step. SpaceError for odd values."""
    said = config.get("schedule", "constant")
    inner = said if isinstance(said, Mapping) else {"name": said}
    kind = str(inner.get("name"))
    horizon, warmup = (inner.get(key, config.get(key)) for key in KEYS)
    made = Decay(kind, horizon, warmup or 0.0)
    return None if kind == "constant" and made.warmup == 0 else made
