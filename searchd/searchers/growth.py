"""Growth: a mutant that is its parent made wider or deeper, so that it can begin with the parent's trained weights.

One of the parameters named by `grow` is raised, by a step in the unit cube or to twice its value; everything else is
the parent's. What that newly activates (the bits of a new block) is as its last neighbour. Whether weights can follow
is said by `History.unfit`; who has no durable checkpoint has nothing to give.

Source: Cai, Chen, Zhang, Yu, Wang (2018), AAAI, "Efficient architecture search by network transformation", with a
mutation in the place of the controller; Chen, Goodfellow, Shlens (2016), ICLR, "Net2Net".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from numpy.random import Generator

from searchd.searchers.base import History, Morphed
from searchd.searchers.mutation import STEP, TRIES
from spaces.config import Config
from spaces.domains import Choice, Domain, Int
from spaces.morphs import GROWS

__all__ = ["GROWS", "grown", "raised"]


def grown(history: History, rows: Iterable[int], grow: Sequence[str], rng: Generator) -> Morphed | None:
    """A child of the first of these rows that has weights to give and a way to grow; None when none has. Never a config
    that was rejected."""
    refused = {config.digest for config in history.rejected}
    for row in rows:
        record = history.records[row]
        if not record.holds:
            continue
        for _ in range(TRIES):
            config = _bigger(history, record.config, grow, rng)
            if config is None:
                break
            fits = config.digest not in refused and history.space.feasible(config)
            if fits and history.unfit(record.config, config) is None:
                return Morphed(config, record.trial)
    return None


def _bigger(history: History, parent: Config, grow: Sequence[str], rng: Generator) -> Config | None:
    """The parent with one parameter raised; None when none can be."""
    space = history.space
    able = [name for name in grow if name in parent and _top(space[name].domain) not in (None, parent[name])]
    if not able:
        return None
    picked = able[int(rng.integers(len(able)))]

    def choose(name: str, domain: Domain) -> Any:
        if name == picked:
            return raised(domain, parent[name], rng)
        return parent[name] if name in parent else _as_neighbour(name, domain, parent, rng)

    return space.walk(choose)


def raised(domain: Domain, value: Any, rng: Generator) -> Any:
    """A larger value of an integer or an ordered choice: twice as much, if there is that and a coin says so, else the
    one that a normal step in the unit cube leads to, the next at least. The value itself when it is the largest."""
    if isinstance(domain, Choice):
        last = len(domain.options) - 1
        place = domain.index(value)
        return domain.options[min(place + 1 + int(abs(rng.normal()) * STEP * last), last)]
    if not isinstance(domain, Int) or value == _top(domain):
        return value
    if rng.random() < 0.5 and domain.contains(2 * value):
        return 2 * value
    there = domain.decode((min(domain.encode(value)[0] + STEP * abs(rng.normal()), 1.0),))
    return there if there > value else value + domain.step


def _top(domain: Domain) -> Any:
    """The largest value of a domain that can grow; None for any other."""
    match domain:
        case Int(low, high, _, step):
            return low + (high - low) // step * step
        case Choice(options, True):
            return options[-1]
        case _:
            return None


def _as_neighbour(name: str, domain: Domain, parent: Config, rng: Generator) -> Any:
    """The value of the last element of a repeated parameter that the parent has; any, where it is no such element."""
    stem, _, index = name.rpartition(".")
    before = [n for n in parent if n.rpartition(".")[0] == stem and n.rpartition(".")[2].isdigit()]
    if not index.isdigit() or not before:
        return domain.sample(rng)
    return parent[max(before, key=lambda n: int(n.rpartition(".")[2]))]
