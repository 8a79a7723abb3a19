"""What earlier studies found, as a searcher sees it: foreign configs on this space, ranked within their study.

Losses of two studies cannot be compared (other data, other budgets), but who is good can: each trial has its rank
among the trials of its own study. A parameter that the earlier study did not have is drawn (by its prior), the same
for each reading; a config with a value outside this space is left out; what this space does not know is dropped.

Source: ranks instead of losses as in Salinas, Shen, Perrone (2020), ICML, quantile-based transfer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np
from numpy.random import Generator, Philox
from numpy.typing import NDArray

from searchd.searchers.split import ranks
from spaces.config import Config
from spaces.domains import Domain
from spaces.errors import SpaceError
from spaces.space import Space
from spaces.study import Earlier

Floats = NDArray[np.float64]

FADE = 10.0
"""With so many trials of its own, a study trusts the earlier ones and itself alike."""


@dataclass(frozen=True, slots=True, eq=False)
class Foreign:
    """One earlier study: its configs, the best first. `units` [n, width] as `Space.encode`; `rank` [n]: the share of
    its trials that are better, 0 the best; trials that diverged are all last."""

    name: str
    configs: tuple[Config, ...]
    units: Floats
    rank: Floats


def share(n: int) -> float:
    """How much earlier studies count beside `n` trials of one's own: 1 at first, a half at FADE, fading."""
    return FADE / (FADE + n)


def foreign(space: Space, earlier: Sequence[Earlier]) -> tuple[Foreign, ...]:
    """The earlier studies that have a config on this space."""
    found = []
    for source in earlier:
        pairs = mapped(space, source)
        if pairs:
            trials = [source.trials[i] for i, _ in pairs]
            m = max(len(t.values or (0.0,)) for t in trials)
            values = np.array([t.values or (inf,) * m for t in trials])
            place = ranks(values, np.array([inf if t.values is None else t.violation for t in trials]))
            order = np.argsort(place, kind="stable")
            configs = tuple(pairs[i][1] for i in order)
            units = np.array([space.encode(config) for config in configs])
            found.append(Foreign(source.name, configs, units, place[order] / len(pairs)))
    return tuple(found)


def first_configs(found: Sequence[Foreign], n: int) -> list[Config]:
    """At most `n` configs to begin with: the best of each study, then the second of each, …; none twice."""
    taken: dict[str, Config] = {}
    for place in range(max((len(f.configs) for f in found), default=0)):
        for one in found:
            if len(taken) == n:
                return list(taken.values())
            if place < len(one.configs):
                config = one.configs[place]
                taken.setdefault(config.digest, config)
    return list(taken.values())


def mapped(space: Space, earlier: Earlier) -> list[tuple[int, Config]]:
    """The trials (by place) whose configs this space has, with those configs."""
    found: list[tuple[int, Config]] = []
    for i, trial in enumerate(earlier.trials):
        rng = Generator(Philox(key=np.array([i, len(earlier.trials)], dtype=np.uint64)))
        taken = 0

        def choose(name: str, domain: Domain, known: Any = trial.config, rng: Generator = rng) -> Any:
            nonlocal taken
            if name not in known:
                return domain.sample(rng)
            taken += 1
            return domain.canonical(known[name])

        try:
            config = space.walk(choose)
        except SpaceError:
            continue
        if taken:
            found.append((i, config))
    return found
