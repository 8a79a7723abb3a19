"""A made-up world for any study, with a known optimum: learning curves that may cross, noise, divergence, costs.

The final value of a config (at the study's R) is `best` plus a weighted distance from a hidden optimum, each
parameter adding at most its weight, all together at most 1. Its curve comes down to that value by a power law:

    value(step) = final + gap · (step^-rate − R^-rate) / (1 − R^-rate)

so that at R nothing is left of the gap. `crossing` above 0 makes good configs start worse, at 1 so much that step 1
ranks them the wrong way round: what a low first rung is fooled by.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import exp, inf, nan
from typing import Any

import numpy as np
from numpy.random import Generator, Philox

from searchd.errors import SearchdError
from searchd.schedulers.events import TrialId
from searchd.search.events import Measured
from searchd.search.points import LATENCIES
from searchd.simulator.world import Step
from spaces.config import Config
from spaces.domains import Choice, Const
from spaces.formulas import TRAIN_S
from spaces.study import Objective, Study

GAP = 1.0
"""How much better than at step 1 a config is at R, without `crossing`."""
CROSSING = 2.5
"""By how much more the best config starts above the worst, at crossing = 1."""
_OURS = 1 << 62  # keeps these draws apart from those of searchers and faults


class Synthetic:
    """
    seed       draws the optimum, the weights, and all noise
    noise      standard deviation of each report (the best final value is `best`, the worst `best` + 1)
    crossing   0 to 1, see above
    diverging  the share of the range of one parameter, at its upper end, where training turns NaN
    seconds    what a step of a middling config takes; `spread` makes it up to exp(spread) times longer or shorter
    best       the value of the optimum, for every objective; with several each has an optimum of its own
    """

    def __init__(
        self, study: Study, *, seed: int = 0, noise: float = 0.0, crossing: float = 0.0, diverging: float = 0.0,
        seconds: float = 1.0, spread: float = 1.0, best: float = 0.0,
    ) -> None:  # fmt: skip
        for name, share in (("crossing", crossing), ("diverging", diverging)):
            if not 0 <= share <= 1:
                raise SearchdError(f"{name} is a share, 0 to 1, but is {share:g}")
        for name, size in (("noise", noise), ("seconds", seconds)):
            if not 0 <= size < inf:
                raise SearchdError(f"{name} needs to be 0 or more, but is {size:g}")
        self.study = study
        self.seed = seed
        self.noise = noise
        self.crossing = crossing
        self.diverging = diverging
        self.seconds = seconds
        self.spread = spread
        self.best = best
        self.objectives: tuple[Objective, ...] = tuple(
            o for o in _made_of(study) if not _brought(study, o.name)
        )
        rng = self._rng(0)
        self._slots = [slot for slot in study.space.slots if not isinstance(slot.domain, Const)]
        shares = rng.exponential(size=max(1, len(self._slots))) ** 2  # a few matter, as in life
        self._weights = dict(zip((s.name for s in self._slots), shares / shares.sum(), strict=False))
        self.optima: tuple[Config, ...] = tuple(study.space.sample(rng) for _ in self.objectives or ("one",))
        self._risky, self._costly, self._rapid = (
            self._slots[int(rng.integers(len(self._slots)))].name if self._slots else "" for _ in range(3)
        )

    @property
    def optimum(self) -> Config:
        """The best config by the first objective."""
        return self.optima[0]

    def final(self, config: Mapping[str, Any], objective: int = 0) -> float:
        """The value at R without noise, lower is better (a maximised objective reports it with the sign turned)."""
        return self.best + self._distance(config, self.optima[objective])

    def train(self, trial: TrialId, config: Config, since: int, until: int) -> Iterator[Step]:
        """The first objective has a curve; the others are what they are from step 1 on, like a latency."""
        R = self.study.search.R
        final = self.final(config)
        good = 1.0 - min(1.0, final - self.best)
        rate = exp(self._unit(config, self._rapid) - 0.5)
        gap = GAP + self.crossing * CROSSING * good
        rest = R**-rate if R > 1 else 0.0
        seconds = self.seconds * exp(self.spread * (2 * self._unit(config, self._costly) - 1))
        signs = [-1.0 if o.goal == "maximize" else 1.0 for o in self.objectives]
        fixed = [sign * self.final(config, k) for k, sign in enumerate(signs)]
        noise = self._rng(trial + 1).normal(size=(until, len(signs))) * self.noise if self.noise else None
        breaks = self._breaks(trial, config)
        for step in range(since + 1, until + 1):
            values = list(fixed)
            values[:1] = [signs[0] * (final + gap * (step**-rate - rest) / (1 - rest))] if signs else []
            if noise is not None:
                values = [value + float(extra) for value, extra in zip(values, noise[step - 1], strict=True)]
            if step >= breaks and values:
                values[0] = nan
            yield Step(step, seconds, {o.name: value for o, value in zip(self.objectives, values, strict=True)})

    def measure(self, signature: str, config: Config) -> tuple[float, Measured]:
        """A device whose latency is one more distance, from 1 to 11 ms; one value serves every exit's trial."""
        cost = 1.0 + 10.0 * self._unit(config, self._costly)
        return self.seconds, Measured(signature, (cost,), (1.2 * cost,), device="synthetic", alone=True)

    def _breaks(self, trial: TrialId, config: Config) -> float:
        """The step from which on training is NaN: the sooner the deeper in the risky region."""
        inside = self._unit(config, self._risky) - (1 - self.diverging)
        if inside <= 0 or config == self.optimum:
            return float("inf")
        share = 1 - inside / self.diverging
        return 1 + share * self.study.search.R * float(self._rng(trial + 1).random())

    def _distance(self, config: Mapping[str, Any], optimum: Config) -> float:
        total = 0.0
        for slot in self._slots:
            name = slot.name
            here, there = name in config, name in optimum
            if not (here and there):
                total += self._weights[name] * (here != there)
            elif isinstance(slot.domain, Choice) and not slot.domain.ordered:
                total += self._weights[name] * (config[name] != optimum[name])
            else:
                a, b = slot.domain.encode(config[name]), slot.domain.encode(optimum[name])
                most = sum(max(v, 1 - v) ** 2 for v in b)
                total += self._weights[name] * sum((u - v) ** 2 for u, v in zip(a, b, strict=True)) / most
        return float(total)

    def _unit(self, config: Mapping[str, Any], name: str) -> float:
        """Where a parameter stands in [0, 1]; 0.5 where it is not active."""
        return self.study.space[name].domain.encode(config[name])[0] if name in config else 0.5

    def _rng(self, stream: int) -> Generator:
        return Generator(Philox(key=np.array([self.seed % 2**64, _OURS | stream], dtype=np.uint64)))


def _brought(study: Study, name: str) -> bool:
    """Whether the built-in task's figures or its device bring the metric: this world leaves it to them."""
    task = study.task.built_in
    return task is not None and (name in task.exact or (task.measured and name in LATENCIES))


def _made_of(study: Study) -> list[Objective]:
    """The objectives, with what formulas read in their place; the time is the simulator's to tell."""
    found = {o.name: o for o in study.objectives if o.formula is None and o.name != TRAIN_S}
    reads = sorted({name for o in study.objectives if o.formula is not None for name in o.reads} - {TRAIN_S})
    return [*found.values(), *(Objective(name=name) for name in reads if name not in found)]
