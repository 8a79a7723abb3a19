"""Studies for tests: small, in memory; and a loop that runs one to its end with arithmetic instead of training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import log10
from random import Random
from typing import Any

from searchd.search.events import Exhausted, Finished, Job, Measured, Reported, SearchAnswer, Wait
from searchd.search.search import Search
from spaces.describe import describe
from spaces.study import Study

FUNCTION: dict[str, Any] = {
    "study": "toy",
    "space": {
        "x": {"float": [0, 1]},
        "lr": {"float": [1e-4, 1], "log": True},
        "optimizer": {"choice": {"sgd": {"momentum": {"float": [0, 0.99]}}, "adam": {"beta": {"float": [0.8, 0.999]}}}},
    },
    "objectives": {"loss": "minimize"},
    "search": {"scheduler": "asha", "searcher": "random", "r": 1, "R": 9, "eta": 3},
    "budget": {"trials": 20},
    "task": "toys.module:train",
}

NETS: dict[str, Any] = {
    "study": "nets",
    "space": {
        "width": {"int": [4, 24], "log": True},
        "depth": {"int": [1, 3]},
        "bits": {"repeat": "depth", "choice": [2, 4, 8, 32], "ordered": True},
        "exits": {"subset": [0, 1]},
    },
    "objectives": {"val_error": "minimize", "latency_ms": "minimize", "bytes": "minimize"},
    "search": {"scheduler": "async-hyperband", "searcher": "random", "r": 1, "R": 9, "eta": 3, "brackets": 2},
    "budget": {"trials": 20},
    "task": "classify",
}


def study(base: Mapping[str, Any] = FUNCTION, /, **changes: Any) -> Study:
    """A study: `base` with some of its parts changed; mappings are merged one level deep."""
    said = dict(base)
    for key, value in changes.items():
        old = said.get(key)
        said[key] = {**old, **value} if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return Study.parse(said)


def ask(search: Search) -> Job:
    """The next job; there must be one."""
    answer = search.ask()
    assert isinstance(answer, Job), answer
    return answer


def toy_loss(config: Mapping[str, Any], step: int) -> float:
    """Least at x = 0.3, lr = 0.01, under sgd; falls with the step."""
    away = (config["x"] - 0.3) ** 2 + 0.1 * (log10(config["lr"]) + 2) ** 2 + (config["optimizer"] != "sgd") * 0.3
    return float(away + 1 / (1 + step))


def toy_report(search: Search, job: Job, step: int) -> tuple[dict[str, float], tuple[dict[str, Any], ...]]:
    """Metrics and points of a job's trial at a step, by arithmetic; the built-in task reports three thresholds."""
    if search.study.task.kind != "classify":
        return {"loss": toy_loss(job.config, step)}, ()
    found = describe(search.study.task, search.study.space, job.config)
    assert found is not None
    error = 60 / (1 + step) + 40 / job.config["width"] + Random(job.trial).random()
    exits = len(found.prefixes)
    points = []
    for t in range(3):
        rates = [0.0] * exits
        rates[0] += t / 2
        rates[-1] += 1 - t / 2
        points.append({"threshold": t / 2, "val_error": error * (1 + t / 4), "exit_rates": rates})
    return {"val_error": error}, tuple(points)


def measurement(search: Search, job: Job) -> Measured:
    """What a device might measure for the shape of a job's config: more for wide and deep."""
    found = describe(search.study.task, search.study.space, job.config)
    assert found is not None
    assert job.signature is not None
    costs = tuple(0.01 * (k + 1) * job.config["width"] for k in range(len(found.prefixes)))
    return Measured(job.signature, costs, tuple(2 * c for c in costs), device="toy")


Report = Callable[[Search, Job, int], tuple[dict[str, float], tuple[dict[str, Any], ...]]]


def do(search: Search, job: Job, report: Report = toy_report) -> None:
    """One job from its beginning to its end."""
    if job.kind == "measure":
        search.tell(measurement(search, job))
        return
    for step in range(job.since + 1, job.until + 1):
        metrics, points = report(search, job, step)
        if search.is_rung(job.trial, step) and search.tell(Reported(job.trial, step, metrics, points)):
            return
    search.tell(Finished(job.trial, job.until))


def run(search: Search, workers: int = 1, most: int = 10_000, report: Report = toy_report) -> list[Job]:
    """Runs a search to its end, the oldest job first; every job that it gave."""
    jobs: list[Job] = []
    running: list[Job] = []
    for _ in range(most):
        answer: SearchAnswer = Wait()
        while len(running) < workers and isinstance(answer := search.ask(), Job):
            running.append(answer)
            jobs.append(answer)
        if not running:
            assert isinstance(answer, Exhausted)
            return jobs
        do(search, running.pop(0), report)
    raise AssertionError(f"not at its end after {most} turns")
