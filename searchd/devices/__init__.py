"""Registered devices: what they are, what their operators cost, and what predicts a latency there."""

from searchd.devices.asking import asked
from searchd.devices.predicted import with_predictor
from searchd.devices.profile import profile_of, stale
from searchd.devices.runtime import with_runtime

__all__ = ["asked", "profile_of", "stale", "with_predictor", "with_runtime"]
