"""The searcher's contract, and the history that is all a searcher may use (DESIGN 3)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.random import Generator, Philox
from numpy.random.bit_generator import ISeedSequence

from searchd.schedulers.events import Losses, TrialId
from searchd.searchers.bounds import Bound, bounds_of
from searchd.searchers.earlier import Foreign
from searchd.searchers.morphed import Morphed
from searchd.searchers.record import Record, State
from searchd.searchers.table import Table
from searchd.values import value
from spaces.config import Config
from spaces.describe import Description
from spaces.space import Space

__all__ = [
    "History", "Morphed", "Record", "Remarking", "Searcher", "State", "bounds_of", "generator", "remark_of",
]  # fmt: skip


def _no_description(_: Config) -> Description | None:
    return None


def _no_table() -> Table | None:
    return None


def _fits(_: Config, __: Config) -> str | None:
    return None


@value
class History:
    """What a searcher may know. `records` by trial id; `objectives`: how many; `ladders`: the rungs of each bracket.

    What `suggest` gets is the search's own list, not a copy: it stands while the call lasts (`Search.history` is a
    copy).

    `rejected`: what was suggested for this trial already and refused (it breaks a bound on an exact metric, or is
    there already). `earlier`: what other studies found (`warm_start`). `parent`: the trial whose weights the new one
    takes over, None: it starts from nothing. `unfit`: why weights of the first config cannot be morphed to the second,
    None: they can, or only the task knows. `live`: the table that is kept while the search goes on, None once it went
    on from here. `bounds`: on which objectives, one by one. `goals`: the name of each objective, and what its metric is
    multiplied by to be a loss, 1 or -1; empty where nobody says.
    """

    space: Space
    records: Sequence[Record] = ()
    objectives: int = 1
    ladders: tuple[tuple[int, ...], ...] = ()
    rejected: tuple[Config, ...] = ()
    describer: Callable[[Config], Description | None] = _no_description
    live: Callable[[], Table | None] = _no_table
    earlier: tuple[Foreign, ...] = ()
    parent: TrialId | None = None
    unfit: Callable[[Config, Config], str | None] = _fits
    bounds: tuple[Bound, ...] = ()
    goals: tuple[tuple[str, float], ...] = ()
    _built: list[Table] = field(default_factory=list, init=False, repr=False, compare=False)

    @property
    def table(self) -> Table:
        """The history in columns: the one that the search keeps, or else one built from the records."""
        if not self._built:
            kept = self.live()
            if kept is not None:
                return kept
            self._built.append(Table.of(self.space, self.objectives, self.ladders, self.records))
        return self._built[0]

    def describe(self, configs: Iterable[Config]) -> list[Mapping[str, float] | None]:
        """The exact metrics of configs (params, macs, bytes, …) where the task is pure arithmetic; else None each. Of
        several operating points the least."""
        found = [self.describer(config) for config in configs]
        return [None if d is None else d.bounded for d in found]

    def at(self, step: int) -> dict[TrialId, tuple[Losses, ...]]:
        """What each trial brought at a rung step. One that failed on its way there is in, without any point."""
        entries = {r.trial: r.losses[step] for r in self.records if step in r.losses}
        entries.update((r.trial, ()) for r in self.records if r.fell == step)
        return entries

    def steps(self) -> list[int]:
        """The rung steps that somebody reported at, lowest first."""
        return sorted({step for record in self.records for step in record.losses})


class Searcher(Protocol):
    """Which config a new trial gets. Stateless: a function of its arguments, whatever was asked before."""

    def suggest(self, trial: TrialId, history: History, rng: Generator) -> Config | Morphed:
        """A config of `history.space` that honours its constraints, perhaps with a trial whose weights can be morphed
        to it; SpaceError when there seems to be none."""
        ...


@runtime_checkable
class Remarking(Protocol):
    """A searcher that has something to say of the study besides a config."""

    @property
    def remark(self) -> str | None:
        """What the last suggestion showed, in words for the user: a function of its arguments, as the suggestion is.
        "" for nothing, None before the first one."""
        ...


def remark_of(searcher: Searcher) -> str | None:
    """What a searcher had to say when it suggested last; None when it never says anything, or has not suggested yet."""
    return searcher.remark if isinstance(searcher, Remarking) else None


class _Key(ISeedSequence):
    """A key of Philox as it is. `Philox(key=...)` gives the same stream, but gathers entropy that nobody uses first."""

    def __init__(self, words: tuple[int, int]) -> None:
        self.words = words

    def generate_state(self, n_words: int, dtype: Any = np.uint32) -> Any:  # noqa: ARG002
        """What Philox reads word by word: it need not be an array."""
        return self.words[:n_words]


class Stream:
    """`generator` for one trial after another, at a third of its cost: the same object, set back to where a key begins.

    Who keeps it beyond its call reads what is meant for another trial.
    """

    def __init__(self, seed: int) -> None:
        self._rng = generator(seed, 0)
        self._begin: Any = self._rng.bit_generator.state
        self._key = self._begin["state"]["key"]

    def at(self, trial: TrialId) -> Generator:
        """The generator of this trial's suggestion, at its first number."""
        self._key[1] = trial
        self._rng.bit_generator.state = self._begin
        return self._rng


def generator(seed: int, trial: TrialId) -> Generator:
    """The randomness of one trial's suggestion: the order of calls cannot change it."""
    return Generator(Philox(_Key((seed % 2**64, trial))))  # type: ignore[arg-type]  # documented, but not typed
