"""One search over architecture, bits and exits beside three searches one after the other, at the same budget of steps.

    OMP_NUM_THREADS=1 python -m bench.joint [--seeds 0-4] [--steps 300] [--out bench/joint.csv]

Real trainings on digits, in this process; three objectives: error on validation (%), latency (ms, measured on this
machine, once a shape and for all), bytes. Joint: one study over all of it. Separate: a third of the steps searches
architectures (float, no exits); the next third bits, for up to k architectures of the front so far; the last exits,
for up to k quantized ones; k = 1 (the one nearest to the ideal corner) is what one usually does, k = 6 keeps the front.
Every stage searches the learning rate anew, by the same scheduler and searcher. All points of all stages count. The
hypervolume is taken over error, log latency and log bytes, each scaled to the range that all together saw, with the
reference at 1.1.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from searchd.schedulers.front import hypervolume, non_dominated
from searchd.search import Exhausted, Finished, Reported, Search, Wait
from spaces.nets import network
from spaces.study import Study
from workers.measure import latency, untrained
from workers.rehearse import Rehearsal, rehearse
from workers.tasks.classify import train
from workers.tasks.exits import expected_cost

SHAPE = (1, 8, 8)
KEPT = (6, 1)
ARCHITECTURE: dict[str, Any] = {
    "width": {"int": [4, 32], "log": True}, "depth": {"int": [1, 3]}, "kernel": {"choice": [3, 5], "ordered": True},
}  # fmt: skip
BITS = {"bits": {"repeat": 3, "choice": [2, 4, 8, 32], "ordered": True}}
EXITS = {"exits": {"subset": [0, 1]}}
RATE = {"lr": {"float": [1e-3, 0.03], "log": True}}
COLUMNS = ("seed", "steps", "joint_hv", "separate6_hv", "separate1_hv", "ratio6", "ratio1")
Point = dict[str, Any]


@dataclass
class Costs:
    """Latencies by shape, measured once for all arms of this run."""

    known: dict[str, tuple[float, ...]]

    def of(self, config: Mapping[str, Any]) -> tuple[float, ...]:
        """Cumulative milliseconds up to each exit."""
        spec = network(config, SHAPE, 10)
        key = spec.signature(len(spec.exits) - 1)
        if key not in self.known:
            self.known[key] = tuple(e.p50_ms for e in latency(untrained(spec)).exits)
        return self.known[key]


def study(space: Mapping[str, Any], seed: int) -> Study:
    """Two halves of the product's default, over three objectives."""
    return Study.parse({
        "study": "stage", "space": {**space, **RATE},
        "objectives": {"val_error": "minimize", "latency_ms": "minimize", "bytes": "minimize"},
        "search": {"scheduler": "asha", "searcher": "auto", "r": 1, "R": 9, "eta": 3},
        "budget": {"steps": 10**6, "parallel": 1}, "task": {"function": "bench.joint:nothing"}, "seed": seed,
    })  # fmt: skip


def search(
    space: Mapping[str, Any], steps: int, seed: int, costs: Costs, complete: Callable[[dict[str, Any]], dict[str, Any]]
) -> list[Point]:
    """Search for `steps` epochs; every point reported at any epoch of a rung, with the config that it belongs to."""
    the_study = study(space, seed)
    engine = Search(the_study, seed=seed)
    runs: dict[int, Rehearsal] = {}
    found: list[Point] = []
    spent = 0
    while spent < steps:
        job = engine.ask()
        if isinstance(job, Wait | Exhausted):
            raise RuntimeError(f"{job} with nothing running: this is a bug of the bench")
        config = complete(the_study.space.nested(job.config))
        spec = network(config, SHAPE, 10)
        cumulative = costs.of(config)
        run = rehearse(
            train, config, until=job.until, seed=job.trial, kind="classify", resume=runs.get(job.trial),
            objectives=["val_error"], options={"data": "digits"},
        )  # fmt: skip
        runs[job.trial] = run
        spent += job.until - job.since
        last = run.reports[-1]
        points = tuple(
            {
                "val_error": float(p["val_error"]), "bytes": float(spec.bytes),
                "latency_ms": expected_cost(p["exit_rates"], cumulative),
            }
            for p in last.points
        )  # fmt: skip
        found += [{**p, "config": config} for p in points]
        engine.tell(Reported(job.trial, job.until, {}, points))
        engine.tell(Finished(job.trial, job.until))
    return found


def front(points: Sequence[Point]) -> list[Point]:
    """The points that no other beats, the lowest error first."""
    best = [p for p, keep in zip(points, non_dominated(_values(points)), strict=True) if keep]
    return sorted(best, key=lambda p: float(p["val_error"]))


def kept(points: Sequence[Point], names: Sequence[str], most: int) -> list[dict[str, Any]]:
    """Up to `most` different configs of the front, spread over it by error; just one: the nearest to the ideal."""
    if most == 1:
        values = _values(points)
        low, high = values.min(axis=0), values.max(axis=0)
        near = ((values - low) / np.where(high > low, high - low, 1)) ** 2
        config = points[int(near.sum(axis=1).argmin())]["config"]
        return [{name: config[name] for name in names}]
    seen: dict[str, dict[str, Any]] = {}
    for point in front(points):
        part = {name: point["config"][name] for name in names}
        seen.setdefault(json.dumps(part, sort_keys=True), part)
    every = list(seen.values())
    picks = sorted({int(i) for i in np.linspace(0, len(every) - 1, min(most, len(every))).round()})
    return [every[i] for i in picks]


def joint(steps: int, seed: int, costs: Costs) -> list[Point]:
    """All of it at once."""
    return search({**ARCHITECTURE, **BITS, **EXITS}, steps, seed, costs, _full)


def separate(steps: int, seed: int, costs: Costs, most: int) -> list[Point]:
    """Architecture, then bits, then exits."""
    third = steps // 3
    points = search(ARCHITECTURE, third, seed, costs, lambda c: _full({**c, "bits": [32] * 3, "exits": []}))
    shapes = kept(points, ("width", "depth", "kernel"), most)
    points += search(
        {"one": {"choice": list(range(len(shapes)))}, **BITS}, third, seed + 1000, costs,
        lambda c: _full({**shapes[c["one"]], "bits": c["bits"], "exits": [], "lr": c["lr"]}),
    )  # fmt: skip
    nets = kept(points, ("width", "depth", "kernel", "bits"), most)
    points += search(
        {"one": {"choice": list(range(len(nets)))}, **EXITS}, steps - 2 * third, seed + 2000, costs,
        lambda c: _full({**nets[c["one"]], "exits": c["exits"], "lr": c["lr"]}),
    )  # fmt: skip
    return points


def _full(config: dict[str, Any]) -> dict[str, Any]:
    rest = {k: v for k, v in config.items() if k != "lr"}
    lr = config.get("lr")
    return rest if lr is None else {**rest, "optimizer": {"name": "adamw", "lr": lr}}


def volumes(arms: Sequence[Sequence[Point]]) -> list[float]:
    """The hypervolume of each arm, scaled to what all saw; errors above 50 % do not count."""
    values = [_values([p for p in arm if p["val_error"] <= 50]) for arm in arms]
    every = np.concatenate(values)
    low, high = every.min(axis=0), every.max(axis=0)
    return [hypervolume((v - low) / np.where(high > low, high - low, 1), (1.1, 1.1, 1.1)) for v in values]


def _values(points: Sequence[Point]) -> np.ndarray:
    return np.array([[p["val_error"], np.log(p["latency_ms"]), np.log(p["bytes"])] for p in points])


def main(arguments: Sequence[str] | None = None) -> None:
    """One row a seed, and the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0-4")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".csv"))
    said = parser.parse_args(arguments)
    first, _, last = said.seeds.partition("-")
    costs = Costs({})
    rows = []
    for seed in range(int(first), int(last or first) + 1):
        arms = [joint(said.steps, seed, costs), *(separate(said.steps, seed, costs, most) for most in KEPT)]
        hv = volumes(arms)
        row = dict(zip(COLUMNS, (seed, said.steps, *hv, hv[0] / hv[1], hv[0] / hv[2]), strict=True))
        rows.append(row)
        print(*(f"{name} {value:.4g}" for name, value in row.items()), flush=True)
        with said.out.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)
    for name in ("ratio6", "ratio1"):
        ratios = [row[name] for row in rows]
        print(f"median {name} {statistics.median(ratios):.3f}, {sum(r > 1 for r in ratios)} of {len(ratios)} above 1")


if __name__ == "__main__":
    main()
