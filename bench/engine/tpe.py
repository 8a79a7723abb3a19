"""What TPE costs: CPU of ask + tell after 100, 1,000 and 10,000 finished trials, ours beside Optuna's.

    OMP_NUM_THREADS=1 python -P bench/engine/tpe.py > bench/engine/tpe.csv

Ten parameters as in decisions.py (4 float, 3 int, 3 choice), one rung, one worker. Two pasts: `random`, trials drawn at
random; `own`, trials that TPE suggested on a smooth loss, which lie close together (ours only: Optuna's would take an
hour). Median and mean of the last TURNS turns, in ms of CPU; `ratio`: Optuna's median over ours. Optuna's is the
searcher `optuna-tpe`, which builds its study anew for each suggestion; a study that lives on costs Optuna 92 to 276 ms
at 10,000 trials. tpe.csv was taken while the machine (2 cores) was busy otherwise: about 1.3 times the quiet figures.
"""

from __future__ import annotations

import csv
import statistics
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from decisions import SPACE

from searchd.search.algorithms import make_searcher
from searchd.search.events import Finished, Job
from searchd.search.search import Search
from spaces.study import Study

TURNS = 60
SIZES = (100, 1000, 10_000)


def loss(config: dict[str, float]) -> float:
    """Smooth, with a best value in each parameter."""
    away = (np.log10(config["lr"]) + 2) ** 2 + (np.log10(config["decay"]) + 4) ** 2 / 2
    away += (config["momentum"] - 0.9) ** 2
    kinds = (config["optimizer"] != "adam") + 0.5 * (config["activation"] != "gelu") + 0.2 * (config["norm"] != "layer")
    return float(away + (config["depth"] - 5) ** 2 / 20 + abs(np.log2(config["width"] / 64)) / 4 + kinds)


def turn(search: Search) -> float:
    """CPU seconds of one ask and one tell."""
    start = time.process_time()
    job = search.ask()
    spent = time.process_time() - start
    assert isinstance(job, Job)
    metrics = {"loss": loss(dict(job.config))}
    start = time.process_time()
    search.tell(Finished(job.trial, 1, metrics))
    return spent + time.process_time() - start


def measure(name: str, n: int, past: str) -> tuple[float, float]:
    """Median and mean of a turn in ms after `n` trials of a past."""
    said = {
        "study": "cost", "space": SPACE, "objectives": {"loss": "minimize"}, "task": "a.b:c",
        "search": {"scheduler": "fifo", "searcher": name, "r": 1, "R": 1}, "budget": {"trials": n + TURNS},
    }  # fmt: skip
    study = Study.parse(said)
    search = Search(study)
    if past == "random":
        search.searcher = make_searcher(study.search.model_copy(update={"searcher": "random"}), 0)
    for _ in range(n):
        turn(search)
    search.searcher = make_searcher(study.search, 0) if past == "random" else search.searcher
    turn(search)  # fits whatever there is to fit
    spent = [turn(search) * 1e3 for _ in range(5 if name != "tpe" and n > 5000 else TURNS - 1)]
    return statistics.median(spent), statistics.fmean(spent)


def main() -> None:
    out = csv.writer(sys.stdout, lineterminator="\n")
    out.writerow(["past", "trials", "tpe_ms", "tpe_mean_ms", "optuna_tpe_ms", "ratio"])
    for past in ("random", "own"):
        for n in SIZES:
            median, mean = measure("tpe", n, past)
            row = [past, n, f"{median:.2f}", f"{mean:.2f}", "", ""]
            if past == "random":
                theirs = measure("optuna-tpe", n, past)[0]
                row[4:] = [f"{theirs:.1f}", f"{theirs / median:.0f}"]
            out.writerow(row)
            sys.stdout.flush()


if __name__ == "__main__":
    main()
