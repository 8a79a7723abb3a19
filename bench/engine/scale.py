"""The daemon at 10,000 trials of 27 reports: its memory, the size of the database, and how long a restart takes.

    python -P bench/engine/scale.py [--tree DIR …] [--scheduler fifo asha] [--trials 10000] > bench/engine/scale.csv

A real daemon takes a whole study from scripted workers (270,000 reports under `fifo`; under `asha` the reports that it
asks for, in 1.5 jobs a trial: the longer log). Nine tenths in, when nothing has ended, it is killed and started again
`--runs` times. `restart_s`: from the start of the process to its first answer over HTTP; `cpu_s`: its CPU until then;
`empty_s`, `empty_cpu_s`: the same of a daemon without a study. `rss_mb` after the restart, `grown_mb` before.
`--keep DIR`: build there, or use what an earlier run has built there.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import sqlite3
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import stage as staging

COLUMNS = ("tree", "scheduler", "trials", "reports", "events", "mb_on_disk", "grown_mb", "empty_mb", "rss_mb",
           "empty_s", "restart_s", "empty_cpu_s", "cpu_s")  # fmt: skip


def build(tree: Path, folder: Path, scheduler: str, trials: int) -> float:
    """A study in the middle of its life, in `folder`; MB of the daemon then."""
    stage = staging.Stage(folder, tree)
    try:
        with staging.Scripted(stage, 64):
            stage.start_daemon()
            stage.submit(staging.study("scale", "tasks:noop", budget={"trials": trials}, search={
                "scheduler": scheduler, "searcher": "random", "r": 1, "R": 27, "eta": 3}))  # fmt: skip
            with stage.reading() as raw:
                while raw.execute("SELECT count(*) FROM trials").fetchone()[0] < trials * 0.98:
                    time.sleep(0.2)
            grown = staging.rss_mb(stage.pid)
            stage.end_daemon(kill=True)
        (folder / "grown").write_text(str(grown))
        return grown
    finally:
        stage.close()


def restart(tree: Path, folder: Path) -> tuple[float, float, float]:
    """(seconds to the first answer, CPU seconds until then, MB) of a daemon that starts over what lies in `folder`."""
    stage = staging.Stage(folder, tree)
    try:
        seconds = stage.start_daemon()
        cpu = staging.cpu_s(stage.pid)
        time.sleep(1.0)
        found = staging.rss_mb(stage.pid)
        stage.end_daemon(kill=True)
        return seconds, cpu, found
    finally:
        stage.close()


def measure(tree: Path, folder: Path, scheduler: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as nothing:
        empty_s, empty_cpu, empty_mb = restart(tree, Path(nothing))
    with tempfile.TemporaryDirectory() as copy:
        shutil.copytree(folder, copy, dirs_exist_ok=True, ignore=shutil.ignore_patterns("broker"))
        seconds, cpu, found = restart(tree, Path(copy))
    raw = sqlite3.connect(folder / "study.db")
    (trials,), (reports,), (events,) = (
        raw.execute(f"SELECT count(*) FROM {table}").fetchone() for table in ("trials", "reports", "events")
    )
    raw.close()
    return {
        "tree": tree.name, "scheduler": scheduler, "trials": trials, "reports": reports, "events": events,
        "mb_on_disk": round((folder / "study.db").stat().st_size / 1e6, 1),
        "grown_mb": round(float((folder / "grown").read_text()), 1), "empty_mb": round(empty_mb, 1),
        "rss_mb": round(found, 1), "empty_s": round(empty_s, 2), "restart_s": round(seconds, 2),
        "empty_cpu_s": round(empty_cpu, 2), "cpu_s": round(cpu, 2),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tree", nargs="*", type=Path, default=[staging.HERE])
    parser.add_argument("--scheduler", nargs="*", default=["fifo", "asha"])
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--keep", type=Path, default=None)
    said = parser.parse_args()
    rows = csv.DictWriter(sys.stdout, COLUMNS, lineterminator="\n")
    rows.writeheader()
    for scheduler in said.scheduler:
        for tree in said.tree:
            with tempfile.TemporaryDirectory() as spare:
                folder = Path(spare) if said.keep is None else said.keep / f"{tree.resolve().name}-{scheduler}"
                folder.mkdir(parents=True, exist_ok=True)
                if not (folder / "grown").exists():
                    build(tree.resolve(), folder, scheduler, said.trials)
                for _ in range(said.runs):
                    rows.writerow(measure(tree.resolve(), folder, scheduler))
                    sys.stdout.flush()


if __name__ == "__main__":
    main()
