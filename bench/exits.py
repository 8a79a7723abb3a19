"""What a threshold for each exit buys over one shared by all, on test data that neither has seen.

    python -P bench/exits.py > bench/exits.csv

Networks of the built-in task with three exits, and one with seven, `SEEDS` seeds each, trained once; everything after
is arithmetic on their logits. Thresholds are chosen on the validation part, for the same budgets of
multiply-accumulates in the same grid of quantiles, and judged on the test part. `shared`: one threshold, `joint`: one
an exit. `by errors`: what is minimised within a budget is the validation error itself; `by confidence`: 1 - the
largest calibrated probability (what `workers.tasks.thresholds` does). `descent`: of those what coordinate descent ends
at for several prices of cost. `sweep`: one threshold at fixed quantiles, chosen by nothing, as before there was one an
exit.

A row: medians over the seeds of the test error at the budgets (their mean, percent), of the hypervolume of the points
(error x cost, each in [0, 1]; in percent), of test error minus validation error (how much too good a point looks), and
of how the hypervolume differs from that of `shared by errors`, with the seeds in which it is larger.
"""

from __future__ import annotations

import csv
import statistics
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from spaces.nets import network
from workers import data as datasets
from workers.nets.modules import Net
from workers.tasks.classify import optimizer_of, run_epoch
from workers.tasks.exits import ALWAYS_LAST, QUANTILES, correct, expected_cost, outcome, scores, taken
from workers.tasks.thresholds import (
    BUDGETS,
    LEVELS,
    TIGHT,
    Candidates,
    candidates,
    descended,
    expected_loss,
    grids,
    temperatures,
)

SEEDS = 10
ADAMW = {"optimizer": {"name": "adamw", "lr": 5e-3}}
NETWORKS: tuple[tuple[str, str, dict[str, Any], int], ...] = (
    ("digits, width 4", "digits", {"width": 4, "depth": 3, "bits": 8, "exits": [0, 1]}, 12),
    ("digits, width 12", "digits", {"width": 12, "depth": 3, "bits": 8, "exits": [0, 1]}, 12),
    ("clusters, width 24", "clusters", {"width": 24, "depth": 3, "exits": [0, 1]}, 8),
    ("clusters, width 24, seven exits", "clusters", {"width": 24, "depth": 7, "exits": [0, 1, 2, 3, 4, 5]}, 8),
)
RULES = ("probability", "entropy", "margin")
WAYS = ("sweep", "shared by errors", "shared by confidence", "joint by errors", "descent by confidence",
        "joint by confidence")  # fmt: skip
Floats = NDArray[np.floating[Any]]


def main() -> None:
    torch.set_num_threads(1)
    rows = csv.writer(sys.stdout)
    head = ["test_error", "hypervolume", "test_minus_val_error", "hypervolume_gain", "better_in", "seeds"]
    rows.writerow(["network", "rule", "thresholds", *head])
    with tempfile.TemporaryDirectory() as folder:
        options = {"digits": {}, "clusters": {"data": clusters(Path(folder) / "clusters.npz")}}
        for name, data, config, epochs in NETWORKS:
            found = [judged({**config, **ADAMW}, options[data], epochs, seed) for seed in range(SEEDS)]
            for rule in RULES:
                for way in WAYS:
                    cells = [one[rule, way] for one in found]
                    base = [one[rule, "shared by errors"][1] for one in found]
                    gains = [cell[1] - b for cell, b in zip(cells, base, strict=True)]
                    middle = [statistics.median(column) for column in zip(*cells, strict=True)]
                    better = sum(g > 0 for g in gains)
                    rows.writerow(
                        [name, rule, way, *(f"{v:.2f}" for v in (*middle, statistics.median(gains))), better, SEEDS]
                    )
            sys.stdout.flush()


def clusters(path: Path) -> str:
    """6,000 points in six classes of three clusters each, 20 features: harder than digits, and more of them."""
    from sklearn.datasets import make_classification

    x, y = make_classification(
        n_samples=6000, n_features=20, n_informative=12, n_redundant=4, n_classes=6, n_clusters_per_class=3,
        class_sep=1.3, random_state=0,
    )  # fmt: skip
    np.savez(path, x=x.astype(np.float32), y=y)
    return str(path)


def judged(
    config: Mapping[str, Any], options: Mapping[str, Any], epochs: int, seed: int
) -> dict[tuple[str, str], tuple[float, float, float]]:
    """(mean test error, hypervolume, test minus validation error) of one trained network, by rule and way."""
    data = datasets.load(options)
    net = Net(network(config, data.shape, data.classes), seed)
    optimizer = optimizer_of(net, config)
    for epoch in range(1, epochs + 1):
        run_epoch(net, optimizer, data.train, 64, seed, epoch)
    net.eval()
    with torch.no_grad():
        val, test = ([z.numpy() for z in net(part.x)] for part in (data.val, data.test))
    macs = [sum(layer.macs for layer in net.spec.prefix(k)) for k in range(len(net.spec.exits))]
    costs = [m / macs[-1] for m in macs]
    rights = correct(val, data.val.y.numpy()), correct(test, data.test.y.numpy())
    warm = temperatures(val, data.val.y.numpy())
    out = {}
    for rule in RULES:
        score = scores(rule, val, warm), scores(rule, test, warm)
        losses = {"errors": 1.0 - rights[0], "confidence": expected_loss(val, warm)}
        for way in WAYS:
            out[rule, way] = worth(chosen(way, score[0], losses, costs), score, rights, costs)
    return out


def chosen(way: str, score: Floats, losses: Mapping[str, Floats], costs: list[float]) -> list[tuple[float, ...]]:
    """The threshold vectors of one way: one a budget, and the two ends."""
    early = score.shape[1] - 1
    ends = (0.0,) * early, (ALWAYS_LAST,) * early
    if way == "sweep":
        inner = [(float(t),) * early for t in np.quantile(score[:, :-1], QUANTILES)]
        return [ends[0], *inner, ends[1]]
    kind, _, by = way.split()
    if kind == "descent":
        known = descended(score, losses[by], costs, grids(score, LEVELS))
    else:
        known = candidates(score, losses[by], costs) if kind == "joint" else shared(score, losses[by], costs)
    way_ = (np.arange(1, BUDGETS + 1) / (BUDGETS + 1)) ** TIGHT
    inner = [known.within(costs[0] + w * (costs[-1] - costs[0])) for w in way_]
    return [ends[0], *inner, ends[1]]


def shared(score: Floats, loss: Floats, costs: list[float]) -> Candidates:
    """The same grid's thresholds, all exits' together, each for all exits."""
    every = np.unique(np.concatenate(grids(score, 32)))
    vectors = np.repeat(every[:, None], score.shape[1] - 1, axis=1)
    at = [taken(score, v) for v in vectors]
    paid, rows = np.asarray(costs), np.arange(len(score))
    return Candidates(vectors, np.array([loss[rows, a].mean() for a in at]), np.array([paid[a].mean() for a in at]))


def worth(
    vectors: list[tuple[float, ...]], score: tuple[Floats, Floats], rights: tuple[Any, Any], costs: list[float]
) -> tuple[float, float, float]:
    points = [[outcome(s, r, v) for v in vectors] for s, r in zip(score, rights, strict=True)]
    val, test = ([p.error for p in part] for part in points)
    pairs = sorted((expected_cost(p.rates, costs), p.error / 100) for p in points[1])
    best, volume = 1.0, 0.0
    for cost, error in pairs:
        if error < best and cost < 1:
            volume += (best - error) * (1 - cost)
            best = error
    return float(np.mean(test)), 100 * volume, float(np.mean(test) - np.mean(val))


if __name__ == "__main__":
    main()
