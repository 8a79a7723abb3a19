"""What a decision costs: CPU of ask and tell after 100, 1,000 and 10,000 trials, for every scheduler and searcher.

    OMP_NUM_THREADS=1 python -P bench/engine/decisions.py > bench/engine/decisions.csv
    python -P bench/engine/decisions.py --only asha tpe --sizes 100 1000

Ten parameters (4 float, 3 int, 3 choice), r = 1, R = 81, eta = 3, 4 workers, losses at random. A search is filled to
its size with random configs; then `TURNS` jobs are told and asked for. Rows of a scheduler: configs are given, so only
rungs cost. Rows of a searcher: under asha, from the first suggestion on (which builds and fits whatever there is to):
the median of the suggestions, their mean, and the first. `points`: operating points a report; with 8, three objectives.
decisions.csv was taken with --seconds 1.5 on two busy cores; `optuna-*` and `nsga2` while they were quiet.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import sys
import time
from typing import Any

import numpy as np
from numpy.random import Generator

from searchd.search.algorithms import SCHEDULERS, SEARCHERS, make_searcher
from searchd.search.events import Finished, Job, Reported
from searchd.search.search import Search
from searchd.searchers.base import History
from spaces.config import Config
from spaces.study import Study

TURNS = 200
ALONE = ("acband", "pbt")
"""Left out: they go with one task, or with one partner."""
SPACE: dict[str, Any] = {
    "lr": {"float": [1e-5, 1], "log": True},
    "decay": {"float": [1e-6, 0.1], "log": True},
    "momentum": {"float": [0, 0.99]},
    "dropout": {"float": [0, 0.8]},
    "width": {"int": [8, 512], "log": True},
    "depth": {"int": [1, 8]},
    "batch": {"int": [16, 512]},
    "optimizer": {"choice": ["sgd", "adam", "lion", "rmsprop"]},
    "activation": {"choice": ["relu", "gelu", "silu"]},
    "norm": {"choice": ["batch", "layer", "none"]},
}
NAMES = ("error", "latency", "bytes")


class Given:
    """Configs that were drawn before the clock ran."""

    def __init__(self, study: Study, count: int) -> None:
        rng = np.random.default_rng(7)
        self.configs = [study.space.sample(rng) for _ in range(count)]

    def suggest(self, trial: int, history: History, rng: Generator) -> Config:  # noqa: ARG002
        return self.configs[trial]


class Drive:
    """Four workers; what they report is drawn at random. `spent` has the seconds of each turn while `timed`."""

    def __init__(self, search: Search, points: int) -> None:
        self.search = search
        self.points = points
        self.rng = np.random.default_rng(1)
        self.jobs: list[Job] = []
        self.spent: list[float] = []

    def report(self) -> tuple[dict[str, float], tuple[dict[str, float], ...]]:
        if self.points == 1:
            return {"error": float(self.rng.random())}, ()
        rows = self.rng.random((self.points, len(NAMES))).tolist()
        return {}, tuple(dict(zip(NAMES, row, strict=True)) for row in rows)

    def turn(self) -> float:
        """The oldest job reports at its rungs and ends, the next one is asked for; CPU seconds of the search."""
        spent = 0.0
        if len(self.jobs) >= 4:
            job = self.jobs.pop(0)
            for step in range(job.since + 1, job.until + 1):
                if not self.search.is_rung(job.trial, step):
                    continue
                metrics, points = self.report()
                began = time.process_time()
                stops = self.search.tell(Reported(job.trial, step, metrics, points))
                spent += time.process_time() - began
                if stops:
                    break
            else:
                began = time.process_time()
                self.search.tell(Finished(job.trial, job.until))
                spent += time.process_time() - began
        began = time.process_time()
        answer = self.search.ask()
        spent += time.process_time() - began
        if isinstance(answer, Job):
            self.jobs.append(answer)
        return spent

    def fill(self, trials: int) -> None:
        while len(self.search.trials) < trials:
            self.turn()


def study_of(scheduler: str, objectives: int) -> Study:
    return Study.parse({
        "study": "bench", "space": SPACE, "objectives": dict.fromkeys(NAMES[:objectives], "minimize"),
        "search": {"scheduler": scheduler, "searcher": "random", "r": 1, "R": 81, "eta": 3},
        "budget": {"trials": 1_000_000}, "task": "bench.none:train",
    })  # fmt: skip


def measure(drive: Drive, turns: int) -> list[float]:
    return [1e6 * drive.turn() for _ in range(turns)]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", nargs="*", default=None)
    parser.add_argument("--sizes", nargs="*", type=int, default=[100, 1000, 10_000])
    parser.add_argument("--seconds", type=float, default=20.0, help="at most, for the timed turns of one row")
    said = parser.parse_args()
    rows = csv.writer(sys.stdout)
    rows.writerow(
        ["what", "name", "objectives", "points", "trials", "turns", "median_us", "mean_us", "p95_us", "first_us"]
    )

    def row(what: str, name: str, objectives: int, points: int, trials: int, us: list[float]) -> None:
        cells = (statistics.median(us), statistics.fmean(us), float(np.quantile(us, 0.95)), us[0])
        rows.writerow([what, name, objectives, points, trials, len(us), *(f"{v:.1f}" for v in cells)])
        sys.stdout.flush()

    for name in [n for n in SCHEDULERS if n not in ALONE]:
        if said.only is not None and name not in said.only:
            continue
        for objectives, points, sizes in (
            (1, 1, said.sizes),
            (3, 8, [n for n in (100, 300, 1000) if n <= max(said.sizes)]),
        ):
            study = study_of(name, objectives)
            drive = Drive(Search(study, 0, searcher=Given(study, max(sizes) + 4 * TURNS)), points)
            for size in sizes:
                drive.fill(size)
                row("scheduler", name, objectives, points, size, measure(drive, TURNS))
    for name in [n for n in SEARCHERS if n not in ALONE]:
        if said.only is not None and name not in said.only:
            continue
        study = study_of("asha", 1)
        drive = Drive(Search(study, 0, searcher=Given(study, max(said.sizes) + 4 * TURNS)), 1)
        for size in said.sizes:
            given = drive.search.searcher
            drive.fill(size)
            spec = study.search.model_copy(update={"searcher": name})
            drive.search.searcher = make_searcher(spec, 0)
            us: list[float] = []
            while len(us) < TURNS and sum(us) < 1e6 * said.seconds:
                before = len(drive.search.trials)
                spent = 1e6 * drive.turn()
                if len(drive.search.trials) > before:
                    us.append(spent)
            row("searcher", name, 1, 1, size, us)
            drive.search.searcher = given


if __name__ == "__main__":
    main()
