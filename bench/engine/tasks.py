"""The training functions of the benches: steps of a known length, and steps of none."""

from __future__ import annotations

import time
from typing import Any


def _loss(config: dict[str, Any], step: int) -> float:
    return (config["momentum"] - 0.5) ** 2 + 1.0 / (1 + step)


def sleepy(trial: Any) -> None:
    """Steps of 50 ms, each reported and offered as a checkpoint."""
    trial.load()
    for step in trial.steps():
        time.sleep(0.05)
        trial.report(loss=_loss(trial.config, step))
        trial.save(step=step)


def noop(trial: Any) -> None:
    """Steps that take no time."""
    for step in trial.steps():
        trial.report(loss=_loss(trial.config, step))
