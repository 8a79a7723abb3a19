"""How many events a second the simulator does: a report a step, random configs, a world that costs next to nothing.

    OMP_NUM_THREADS=1 python -P bench/engine/simulator.py > bench/engine/simulator.csv

`told`: events at which a scheduler decided (reports at rungs, ends of jobs); the other reports are only recorded.
Events a second of CPU, the best of `ROUNDS`; `decisions` is the share of it that the search took.
"""

from __future__ import annotations

import csv
import sys
import time
from collections.abc import Iterator

from searchd.schedulers.events import TrialId
from searchd.simulator import Run, Step, simulate
from spaces.config import Config
from spaces.study import Study

ROUNDS = 2
EVENTS = 100_000


class Cheap:
    """One multiplication a step."""

    def train(self, trial: TrialId, config: Config, since: int, until: int) -> Iterator[Step]:  # noqa: ARG002
        x = config["x"]
        for step in range(since + 1, until + 1):
            yield Step(step, 1.0 + 0.1 * x, {"loss": x + 1 / step})


def study(scheduler: str, r: int, R: int) -> Study:
    return Study.parse({
        "study": "bench", "space": {"x": {"float": [0, 1]}, "y": {"float": [0, 1]}}, "objectives": {"loss": "minimize"},
        "search": {"scheduler": scheduler, "searcher": "random", "r": r, "R": R, "eta": 3},
        "budget": {"steps": EVENTS, "trials": EVENTS}, "task": "bench.none:train",
    })  # fmt: skip


def timed(said: Study, workers: int) -> tuple[float, Run]:
    began = time.process_time()
    run = simulate(said, Cheap(), workers=workers)
    return time.process_time() - began, run


def main() -> None:
    rows = csv.writer(sys.stdout)
    rows.writerow(["scheduler", "r", "R", "workers", "events", "told", "trials", "cpu_s", "events_per_s", "decisions"])
    for scheduler, r, R in (("fifo", 1, 52), ("asha", 1, 52), ("asha", 1, 81), ("asha", 4, 108), ("stopping", 1, 81),
                            ("hyperband", 1, 81), ("async-hyperband", 1, 81)):  # fmt: skip
        for workers in (4, 100, 1000 if scheduler == "hyperband" else 10_000):  # its open brackets are looked through
            spent, run = min(
                (timed(study(scheduler, r, R), workers) for _ in range(ROUNDS)), key=lambda found: found[0]
            )
            cells = (run.counts.events, run.counts.told, len(run.search.trials), f"{spent:.3f}",
                     round(run.counts.events / spent), f"{run.decision_cpu_s / spent:.2f}")  # fmt: skip
            rows.writerow([scheduler, r, R, workers, *cells])
            sys.stdout.flush()


if __name__ == "__main__":
    main()
