"""What goes wrong in a simulated fleet: workers that die, jobs that crawl, machines of different speeds.

Whether a job is struck depends on the seed, its trial, its start and its attempt only, so two schedulers meet the
same troubles on the jobs that they have in common.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import numpy as np
from numpy.random import Generator, Philox

from searchd.errors import SearchdError
from searchd.schedulers.events import TrialId
from searchd.wire import LEASE_S

ATTEMPTS = 5
"""A job lost so often fails its trial, as in the service."""
_OURS = 1 << 63  # keeps our draws apart from those of the searcher, which has keys (seed, trial)


@dataclass(frozen=True, slots=True)
class Faults:
    """Off by default.

    lifetime_s  mean time until a worker that works dies (exponential); None: never
    down_s      how long a dead worker is away
    lease_s     how long nobody notices: then the job is lost, and goes on elsewhere from its last checkpoint
    save_every  steps between durable checkpoints (a job's end is always one)
    straggling  the share of jobs that crawl, `slowness` times longer a step
    speeds      relative speeds of the workers, taken in turn: (1.0, 0.5) makes every other one half as fast
    """

    lifetime_s: float | None = None
    down_s: float = 60.0
    lease_s: float = LEASE_S
    save_every: int = 1
    straggling: float = 0.0
    slowness: float = 5.0
    speeds: tuple[float, ...] = (1.0,)
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.speeds or not all(0 < speed < inf for speed in self.speeds):
            raise SearchdError(f"speeds need to be above 0, but are {list(self.speeds)}")
        if not 0 <= self.straggling <= 1:
            raise SearchdError(f"straggling is a share of jobs, 0 to 1, but is {self.straggling:g}")
        if self.lifetime_s is not None and not self.lifetime_s > 0:
            raise SearchdError(
                f"lifetime_s needs to be above 0, or None for workers that never die, but is {self.lifetime_s:g}"
            )
        if self.save_every < 1:
            raise SearchdError(f"save_every needs to be 1 step or more, but is {self.save_every}")

    def strike(self, worker: int, trial: TrialId, since: int, attempt: int) -> tuple[float, float]:
        """For a job that starts: how many times longer a step takes, and after how many seconds its worker dies."""
        longer = 1 / self.speeds[worker % len(self.speeds)]
        if not self.straggling and self.lifetime_s is None:
            return longer, inf
        key = np.array([self.seed % 2**64, _OURS | (trial << 24) | (attempt << 20) | (since % 2**20)], dtype=np.uint64)
        rng = Generator(Philox(key=key))
        if rng.random() < self.straggling:
            longer *= self.slowness
        return longer, inf if self.lifetime_s is None else float(rng.exponential(self.lifetime_s))


NO_FAULTS = Faults()
