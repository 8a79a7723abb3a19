"""A suggestion that comes with a parent: the new trial begins with that trial's weights, morphed to its own config."""

from __future__ import annotations

from dataclasses import dataclass

from searchd.schedulers.events import TrialId
from spaces.config import Config


@dataclass(frozen=True, slots=True)
class Morphed:
    """`config`, and the `parent` whose newest durable checkpoint is morphed to it."""

    config: Config
    parent: TrialId
