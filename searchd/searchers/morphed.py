"""A suggestion that comes with a parent: the new trial begins with that trial's weights, morphed to its own config."""

from __future__ import annotations

from searchd.schedulers.events import TrialId
from searchd.values import value
from spaces.config import Config


@value
class Morphed:
    """`config`, and the `parent` whose newest durable checkpoint is morphed to it."""

    config: Config
    parent: TrialId
