"""The engine's step: the only place where pure meets impure (DESIGN 4)."""

from searchd.engine.core import Engine, Stops
from searchd.engine.outbox import publish, republish, withdraw
from searchd.engine.recording import ATTEMPTS
from searchd.engine.submitting import submit

__all__ = ["ATTEMPTS", "Engine", "Stops", "publish", "republish", "submit", "withdraw"]
