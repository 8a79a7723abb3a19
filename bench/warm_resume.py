"""What it buys that a trial goes on in the process that has its checkpoint in memory.

    OMP_NUM_THREADS=1 python bench/warm_resume.py [OUT.csv]

A chain of linear layers with AdamW's state, of several sizes, goes on for one step: from its file (hot in the page
cache: the best case of a cold resume; a network folder is slower) and from memory, in turns. Medians in milliseconds:
`load` is `trial.load` into fresh objects, `job` the whole resumed job: build, load, one cheap step, write.
"""

from __future__ import annotations

import csv
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from workers.kept import Kept
from workers.rehearse import rehearse
from workers.trial import Trial

COLUMNS = ("megabytes", "load_cold_ms", "load_warm_ms", "load_ratio", "job_cold_ms", "job_warm_ms", "job_ratio", "runs")
SIZES = ((64, 31), (512, 15), (1024, 11), (2048, 7))
"""(width of the layers, runs)"""


def function(width: int, loads: list[float]) -> Any:
    """A training function that notes the seconds of its load."""

    def train(trial: Trial) -> None:
        model = torch.nn.Sequential(*(torch.nn.Linear(width, width) for _ in range(8)))
        optimizer = torch.optim.AdamW(model.parameters())
        began = time.perf_counter()
        trial.load(model, optimizer)
        loads.append(time.perf_counter() - began)
        x = torch.ones(1, width)
        for _ in trial.steps():
            optimizer.zero_grad()
            model(x).sum().backward()
            optimizer.step()
            trial.report(error=0.5)
            trial.save(model, optimizer)

    return train


def measure(width: int, runs: int) -> dict[str, Any]:
    """One row."""
    spent: dict[str, tuple[list[float], list[float]]] = {"cold": ([], []), "warm": ([], [])}
    size = 0
    with tempfile.TemporaryDirectory() as folder:
        for n in range(runs + 1):
            for name, (loads, jobs) in spent.items():
                root = Path(folder) / name
                kept = Kept(1 << 30) if name == "warm" else None
                train = function(width, loads)
                first = rehearse(train, {}, until=1, folder=root, seed=n, kept=kept)
                began = time.perf_counter()
                second = rehearse(train, {}, until=2, folder=root, seed=n, resume=first, kept=kept)
                jobs.append(time.perf_counter() - began)
                assert second.checkpoint is not None
                size = second.checkpoint.bytes
                del loads[-2]  # of the first job, which loads nothing
    row: dict[str, Any] = {"megabytes": f"{size / 1e6:.1f}", "runs": runs}
    for i, what in enumerate(("load", "job")):
        cold, warm = (1e3 * statistics.median(spent[name][i][1:]) for name in ("cold", "warm"))  # less the first
        row |= {f"{what}_cold_ms": f"{cold:.2f}", f"{what}_warm_ms": f"{warm:.2f}"}
        row[f"{what}_ratio"] = f"{cold / warm:.1f}"
    return row


def main(argv: list[str]) -> None:
    """Print the rows, and write them as CSV where a file is named."""
    torch.set_num_threads(1)
    rows = [measure(width, runs) for width, runs in SIZES]
    for row in rows:
        print("  ".join(f"{name} {row[name]}" for name in COLUMNS), flush=True)
    if argv:
        with Path(argv[0]).open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main(sys.argv[1:])
