"""With what a new trial begins: from nothing, with a copy of its parent's weights, or with these morphed to its config.

The scheduler may name a parent (population-based training: a copy, at the step that it says), or the searcher (a morph,
from the parent's newest durable checkpoint). A rule of the records alone, so that a replay proves it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from searchd.schedulers.events import Start, TrialId
from searchd.searchers.base import Morphed, Record
from spaces.config import Config


class Origin(NamedTuple):
    """A config, and whose weights it begins with; `morph`: of which step of the parent, where they are morphed."""

    config: Config
    parent: TrialId | None
    morph: int | None
    reason: str


def origin(said: Config | Morphed | Record, answer: Start, records: Mapping[TrialId, Record]) -> Origin:
    """The origin of the trial that `answer` starts. `said`: the searcher's suggestion, or what the trial is already:
    brought by the user, or known from before a rebase. A parent without a durable checkpoint is none."""
    if isinstance(said, Record) and said.morph is not None and said.parent is not None:
        return _morphed(said.config, said.parent, said.morph, answer.reason, records)
    if not isinstance(said, Morphed):
        config = said.config if isinstance(said, Record) else said
        return Origin(config, answer.parent, None, answer.reason)
    parent = records.get(said.parent)
    if parent is None or not parent.holds:
        why = f"from nothing: trial {said.parent} has no durable checkpoint to morph"
        return Origin(said.config, None, None, _both(answer.reason, why))
    return _morphed(said.config, said.parent, parent.step, answer.reason, records)


def _morphed(
    config: Config, parent: TrialId, step: int, reason: str, records: Mapping[TrialId, Record]
) -> Origin:  # fmt: skip
    known = records.get(parent)
    before: Mapping[str, object] = {} if known is None else known.config
    changes = [f"{name} {before[name]} -> {config[name]}" for name in config
               if name in before and before[name] != config[name]]  # fmt: skip
    how = f" by {', '.join(changes)}" if changes else ""
    why = f"from the weights of trial {parent} at step {step}, morphed{how}"
    return Origin(config, parent, step, _both(reason, why))


def _both(reason: str, more: str) -> str:
    return f"{reason}; {more}" if reason else more
