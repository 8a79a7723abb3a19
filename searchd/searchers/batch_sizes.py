"""Which batch size should a job that recurs have? Zeus: prune the sizes, then Thompson sampling over what is left.

    sizes = BatchSizes((16, 32, 64, 128), default=64)
    runs.append(Run(size := sizes.next(runs, rng), cost=…, reached=…))        # again and again

It is for the same job run anew many times, each run once to its target (the cost: `spaces.scalarizers.zeus`). A study
trains many configs a part of the way and asks each once, so it is no searcher of one. Not here: the power limit, which
needs an administrator's rights and may not stay changed.
Source: You, Chung, Chowdhury (2023, NSDI), Zeus, section 4.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from math import inf, sqrt
from statistics import fmean, pvariance

import numpy as np

from searchd.errors import SearchdError

ROUNDS = 2


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the job: its batch size, what it cost, and whether it reached the target."""

    size: int
    cost: float
    reached: bool = True


@dataclass(frozen=True, slots=True)
class Posterior:
    """Belief in an arm's mean reward: normal, with this `precision` (1 / variance); infinite: it is known."""

    mean: float
    precision: float

    @property
    def sd(self) -> float:
        """Standard deviation; infinite before anything was seen."""
        return inf if self.precision == 0 else 1.0 / sqrt(self.precision)


def posterior(rewards: Sequence[float], prior: Posterior = Posterior(0.0, 0.0)) -> Posterior:
    """The belief after these rewards, whose precision is that of what was observed: prior + n / var. One reward, or
    equal ones, are taken for the truth."""
    if not rewards:
        return prior
    mean, variance = fmean(rewards), pvariance(rewards)
    if variance == 0:
        return Posterior(mean, inf)
    seen = len(rewards) / variance
    total = prior.precision + seen
    return Posterior((prior.precision * prior.mean + seen * mean) / total, total)


@dataclass(frozen=True, slots=True)
class BatchSizes:
    """`sizes` rise; `default` is one of them. `beta`: a run that costs more than beta times the best so far counts as
    one that missed the target. `window`: only so many of the latest runs of a size count, where costs drift."""

    sizes: tuple[int, ...]
    default: int
    beta: float = 2.0
    window: int | None = None

    def __post_init__(self) -> None:
        if list(self.sizes) != sorted(set(self.sizes)) or self.default not in self.sizes:
            raise SearchdError(f"sizes {self.sizes} have to rise, and the default {self.default} to be one of them")
        if not self.beta > 1 or (self.window is not None and self.window < 1):
            raise SearchdError(f"beta = {self.beta:g} has to be above 1, and window = {self.window} at least 1")

    def next(self, runs: Sequence[Run], rng: np.random.Generator) -> int:
        """The size of the next run, after `runs` of these rules. SearchdError when no size reached the target."""
        pruning = self._prune()
        wanted = next(pruning)
        for number, run in enumerate(runs):
            if run.size != wanted:
                raise SearchdError(f"run {number} had size {run.size}, but {wanted} was due: keep the runs in order")
            try:
                wanted = pruning.send(run)
            except StopIteration as end:
                return self._thompson(end.value, runs, rng)
        return wanted

    def _prune(self) -> Generator[int, Run, tuple[int, ...]]:
        """Asks for one size after another; answers those that are left."""
        kept, default, best = self.sizes, self.default, inf
        for _ in range(ROUNDS):
            costs: dict[int, float] = {}
            at = kept.index(default)
            for direction in (kept[at::-1], kept[at + 1 :]):
                for size in direction:
                    run = yield size
                    if not run.reached or run.cost > self.beta * best:
                        break
                    best = min(best, run.cost)
                    costs[size] = run.cost
            if not costs:
                raise SearchdError(f"no batch size of {kept} reached the target: lower it, or give other sizes")
            kept, default = tuple(sorted(costs)), min(costs, key=lambda s: costs[s])
        return kept

    def _thompson(self, kept: Sequence[int], runs: Sequence[Run], rng: np.random.Generator) -> int:
        drawn = {}
        for size in kept:
            rewards = [-run.cost for run in runs if run.size == size][-(self.window or len(runs)) :]
            belief = posterior(rewards)
            drawn[size] = belief.mean if belief.precision == inf else float(rng.normal(belief.mean, belief.sd))
        return max(drawn, key=lambda s: drawn[s])
