"""Evolution: new configs are children of good ones.

`evolution`: regularised (aging) evolution. The population are the youngest `population` trials of a rung, however
good: the oldest dies. The best of a random tournament among them is mutated.

`mo-evolution`: elitist, for several objectives (and one). The population are the best trials of a rung, by
non-dominated layers, spread inside a layer; two parents, each the better of two, are crossed and mutated. A trial
with several operating points counts by its best.

Both look at the deepest rung that knows enough (see `merit.deepest`), and are random before. With `morph` a share of
the children are their parent made wider or deeper, and begin with its trained weights (see `growth`).

Sources: Real, Aggarwal, Huang, Le (2019), AAAI, algorithm 1; Deb, Pratap, Agarwal, Meyarivan (2002), IEEE TEC,
with the ε-net order of Schmucker et al. (2021) instead of the crowding distance.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.random import Generator

from searchd.schedulers.events import TrialId
from searchd.searchers.base import History, Morphed
from searchd.searchers.growth import GROWS, grown
from searchd.searchers.merit import Rows, deepest, finite, ordered
from searchd.searchers.mutation import child
from spaces.config import Config

GENERATION = 10
"""The elite is chosen anew when this many more trials entered the rung."""
CROSSOVER = 0.9
"""How often `mo-evolution` has two parents."""


class EvolutionSearcher:
    """`population`: how many trials live. `tournament`: how many of them compete to be the parent. `startup`: a rung
    needs max(startup, d + 1) trials. `morph`: share of the children that begin with their parent's weights, [0, 1];
    `grow`: the parameters that those may raise."""

    def __init__(
        self, *, population: int = 50, tournament: int = 10, startup: int = 10, morph: float = 0.0,
        grow: Sequence[str] = GROWS,
    ) -> None:  # fmt: skip
        self._population = population
        self._tournament = tournament
        self._startup = startup
        self._morph, self._grow = morph, tuple(grow)

    def suggest(self, trial: TrialId, history: History, rng: Generator) -> Config | Morphed:  # noqa: ARG002
        rung = deepest(history, self._startup)
        if rung is None:
            return history.space.sample(rng)
        alive = rung.rows[-self._population :]
        able = alive[finite(history.table, rung.column)[alive]]
        if not len(able):
            return history.space.sample(rng)
        drawn = rng.choice(able, size=min(self._tournament, len(able)), replace=False)
        best = ordered(history, rung.column, np.sort(drawn))
        if self._morph and rng.random() < self._morph and (heir := grown(history, best, self._grow, rng)):
            return heir
        parent = history.records[best[0]].config
        return child(history.space, (parent,), rng, history.rejected)


class MoEvolutionSearcher:
    """`population`: how many of the best trials may be parents. `startup`: a rung needs max(startup, d + 1) trials.
    `morph` and `grow`: as for `evolution`; such a child has one parent."""

    def __init__(
        self, *, population: int = 50, startup: int = 10, morph: float = 0.0, grow: Sequence[str] = GROWS
    ) -> None:
        self._population = population
        self._startup = startup
        self._morph, self._grow = morph, tuple(grow)

    def suggest(self, trial: TrialId, history: History, rng: Generator) -> Config | Morphed:  # noqa: ARG002
        rung = deepest(history, self._startup)
        if rung is None:
            return history.space.sample(rng)
        settled = rung.rows[: max(len(rung.rows) // GENERATION * GENERATION, min(len(rung.rows), GENERATION))]
        able = settled[finite(history.table, rung.column)[settled]]
        if not len(able):
            return history.space.sample(rng)
        elite = ordered(history, rung.column, np.sort(able))[: self._population]
        parents = (_better(elite, rng), _better(elite, rng))
        if self._morph and rng.random() < self._morph and (heir := grown(history, parents, self._grow, rng)):
            return heir
        configs = tuple(history.records[row].config for row in parents)
        alone = len(elite) == 1 or parents[0] == parents[1] or rng.random() >= CROSSOVER
        return child(history.space, configs[:1] if alone else configs, rng, history.rejected)


def _better(elite: Rows, rng: Generator) -> int:
    """The better of two members drawn at random; they are in order."""
    return int(elite[rng.integers(len(elite), size=2).min()])
