"""Explore, the searcher's half of population-based training: a config near that of the trial whose weights it takes.

Only the parameters named by `explore` change, for the weights must fit: with probability `resample` each is drawn anew,
else a number is multiplied by 1.2 or 0.8 (by a step at least), and a choice goes to a neighbour when its options are
ordered. Everything else is the parent's. A trial without a parent is a random config.

Source: Jaderberg et al. (2017), arXiv:1711.09846, section 4.1.1, "perturb" and "resample".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.random import Generator

from searchd.schedulers.events import TrialId
from searchd.searchers.base import History
from spaces.config import Config
from spaces.domains import Choice, Domain, Float, Int

FACTORS = (0.8, 1.2)
TRIES = 16


class PbtSearcher:
    """`explore`: names of parameters, or of a group (`optimizer.adamw` for all below it). `resample`: in [0, 1]."""

    def __init__(self, explore: Sequence[str] = (), *, resample: float = 0.25) -> None:
        self._explore = tuple(explore)
        self._resample = resample

    def suggest(self, trial: TrialId, history: History, rng: Generator) -> Config:  # noqa: ARG002
        if history.parent is None:
            return history.space.sample(rng)
        parent = history.records[history.parent].config
        for _ in range(TRIES):
            config = history.space.walk(lambda name, domain: self._value(name, domain, parent, rng))
            if history.space.feasible(config):
                return config
        return parent

    def _value(self, name: str, domain: Domain, parent: Config, rng: Generator) -> Any:
        if name not in parent:
            return domain.sample(rng)
        if not any(name == known or name.startswith(f"{known}.") for known in self._explore):
            return parent[name]
        if rng.random() < self._resample:
            return domain.sample(rng)
        return perturbed(domain, parent[name], FACTORS[int(rng.integers(2))])


def perturbed(domain: Domain, value: Any, factor: float) -> Any:
    """A value times `factor`, kept in its range; a step away at least on a grid, one place among ordered options."""
    match domain:
        case Float(low, high, _, step):
            moved = value * factor if value else (high - low) * (factor - 1)
            if step is None:
                return min(max(moved, low), high)
            last = int(domain.count()) - 1
            steps = round((moved - value) / step) or (1 if factor > 1 else -1)
            at = min(max(round((value - low) / step) + steps, 0), last)
            return domain.decode(((at + 0.5) / (last + 1),))
        case Int(low, high, _, step):
            last = low + (high - low) // step * step
            steps = round(value * (factor - 1) / step) or (1 if factor > 1 else -1)
            return min(max(value + steps * step, low), last)
        case Choice(options, True):
            place = domain.index(value) + (1 if factor > 1 else -1)
            return options[min(max(place, 0), len(options) - 1)]
        case _:
            return value
