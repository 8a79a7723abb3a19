"""What the fleet trains under fire: a formula, checkpointed in each step; each step that is computed is noted in a file
that lies outside of everything that breaks. A worker imports this file by `--path tests/crash`."""

from __future__ import annotations

import os
import time

import workers.trial
from workers.trial import Trial


def error(x: float, step: int) -> float:
    """What a config's error is after so many steps."""
    return (x - 0.3) ** 2 + 1.0 / (1 + step)


def train(trial: Trial) -> None:
    """`count` counts the steps over all jobs of the trial: it is the step, or a state was lost or used twice."""
    workers.trial.SAVE_EVERY_S = workers.trial.SAVE_SHARE = 0.0  # in this child each `save` is a file
    count = int(trial.load(count=0).get("count", 0))
    for step in trial.steps():
        time.sleep(trial.options["step_s"])
        count += 1
        who = f"{trial.options['study']} {trial.number} {step} {os.getpid()}"
        note(trial.options["notes"], f"{who} {time.time():.3f}\n")
        trial.report(error=error(trial.config["x"], step), count=count, pid=os.getpid())
        trial.save(count=count)


def note(path: str, line: str) -> None:
    """Append a line, whole; a witness does not fail."""
    while True:
        try:
            file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                os.write(file, line.encode())
            finally:
                os.close(file)
        except OSError:
            time.sleep(0.05)
        else:
            return
