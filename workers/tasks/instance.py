"""A user's program on one problem instance: algorithm configuration, where configs race and slow runs are cut.

A job runs the config on one instance, once. The program gets its config as any command does, and `{instance}` (the
instance's name) and `{instance_seed}` (the same for every config) in argv, as `$SEARCHD_INSTANCE` and
`$SEARCHD_INSTANCE_SEED` in its environment. It ends by itself: exit code 0 means solved, another one fails the trial.
JSON lines on its standard output are metrics. The worker adds

    run_time_s   wall-clock seconds; of a run that was cut: a little more than the limit that it met
    solved       1, or 0 when it was cut
    par10_s      run_time_s when solved, else ten times `cap_s`

It is cut at the task's `cap_s`, or as soon as it has run longer than the best of its race: that limit comes with the
job, or while it runs.
"""

from __future__ import annotations

import hashlib
import math
import time
from typing import Any

from searchd.wire import cut_s
from workers.tasks.command import program
from workers.trial import Ending, Trial

PAR = 10.0
"""What an unsolved run counts as, in caps: the penalised average run time of the field (PAR10)."""


def train(trial: Trial, argv: list[str], folder: str | None) -> None:
    """Run the program on the instance of this job, and report how long it took."""
    names = list(trial.options["instances"])
    cap = float(trial.options["cap_s"])
    number = trial.jump()
    known = {"instance": str(names[(number - 1) % len(names)]), "instance_seed": str(seed(trial.study_seed, number))}
    running = program(trial, argv, folder, known)
    began = time.monotonic()

    def limit() -> float:
        """Seconds that the run may take: the cap, or the time of the one that won."""
        request = trial.request
        told = None if request is None else cut_s(request.reason)
        if request is not None and told is None:
            raise Ending("stopped" if request.kind == "stop" else "lost", request.reason)
        return min(cap, math.inf if trial.cap_s is None else trial.cap_s, math.inf if told is None else told)

    try:
        said = running.to_the_end(limit)
        took = time.monotonic() - began
    finally:
        running.end()
    metrics: dict[str, Any] = {k: v for line in said or () for k, v in line.items() if k != "step"}
    solved = said is not None
    if not solved:
        took = max(took, math.nextafter(limit(), math.inf))
    metrics |= {"run_time_s": took, "solved": float(solved), "par10_s": took if solved else PAR * cap}
    trial.report(metrics)


def seed(study: int, number: int) -> int:
    """The seed of an instance, 31 bits: the same for every config that meets it."""
    return int.from_bytes(hashlib.sha256(f"instance {study}:{number}".encode()).digest()[:4], "big") >> 1
