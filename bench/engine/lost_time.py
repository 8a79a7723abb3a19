"""Worker time that is lost: 27 steps of 50 ms, ASHA, 2 workers, 60 trials; and where it goes.

    python -P bench/engine/lost_time.py [--tree DIR …] [--runs 3] [--scheduler asha] > bench/engine/lost_time.csv

Real broker, daemon and workers. `lost_s`: (wall × workers − steps × 50 ms) ÷ trials, the wall from the submission to
the study's end. Of it, a trial: `idle_s` while the search had no job for the worker (at the end), `gap_s` between two
jobs of a worker, `step_s` inside jobs beyond 50 ms a step. `busy`: steps × 50 ms ÷ (wall × workers).
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import tempfile
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import stage as staging

STEP_S = 0.05
WORKERS = 2
COLUMNS = ("tree", "trials", "jobs", "steps", "wall_s", "busy", "lost_s", "gap_ms", "gaps_s", "step_s", "idle_s",
           "daemon_cpu_ms", "workers_cpu_ms")  # fmt: skip


def measure(tree: Path, trials: int, scheduler: str = "asha") -> dict[str, Any]:
    """One row; CPU is a trial's."""
    with tempfile.TemporaryDirectory() as folder:
        stage = staging.Stage(Path(folder), tree, ("tasks:sleepy",))
        try:
            stage.start_daemon()
            fleet = stage.start_workers(WORKERS, Path(__file__).parent)
            pids = (stage.pid, fleet.pid or 0)
            before = [staging.cpu_s(pid, children=True) for pid in pids]
            asked = staging.study("lost", "tasks:sleepy", budget={"trials": trials})
            study = stage.submit(asked | {"search": asked["search"] | {"scheduler": scheduler}})
            stage.wait(study)
            cpu = [staging.cpu_s(pid, children=True) - was for pid, was in zip(pids, before, strict=True)]
            return {"tree": tree.name, **_account(stage, study, trials),
                    "daemon_cpu_ms": round(1e3 * cpu[0] / trials, 2),
                    "workers_cpu_ms": round(1e3 * cpu[1] / trials, 2)}  # fmt: skip
        finally:
            stage.close()


def _account(stage: staging.Stage, study: str, trials: int) -> dict[str, Any]:
    with stage.reading() as raw:
        log = [(at, kind, json.loads(text)) for at, kind, text in raw.execute(
            "SELECT at, kind, payload FROM events WHERE study=? ORDER BY seq", (study,))]  # fmt: skip
        rows = raw.execute("SELECT worker, begun_at, ended_at, (SELECT count(*) FROM reports WHERE job = jobs.id) "
                           "FROM jobs WHERE study=? ORDER BY begun_at", (study,)).fetchall()  # fmt: skip
        (steps,) = raw.execute("SELECT count(*) FROM reports WHERE study=?", (study,)).fetchone()
    began = next(at for at, kind, _ in log if kind == "submitted")
    ended = next(at for at, kind, said in log if kind == "status" and said["status"] == "done")
    wall = ended - began
    lives: dict[str, list[tuple[float, float, int]]] = defaultdict(list)
    for worker, begun, end, n in rows:
        lives[worker].append((begun, end, n))
    gaps = [b[0] - a[1] for life in lives.values() for a, b in pairwise(life)]
    inside = sum(end - begun - n * STEP_S for life in lives.values() for begun, end, n in life)
    idle = sum(life[0][0] - began + ended - life[-1][1] for life in lives.values())
    gaps.sort()
    return {
        "trials": trials, "jobs": len(rows), "steps": steps, "wall_s": round(wall, 3),
        "busy": round(steps * STEP_S / wall / WORKERS, 4),
        "lost_s": round((wall * WORKERS - steps * STEP_S) / trials, 4),
        "gap_ms": round(1e3 * gaps[len(gaps) // 2], 2), "gaps_s": round(sum(gaps) / trials, 4),
        "step_s": round(inside / trials, 4), "idle_s": round(idle / trials, 4),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tree", nargs="*", type=Path, default=[staging.HERE])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--scheduler", default="asha", help="`stopping` is what peers do")
    said = parser.parse_args()
    rows = csv.DictWriter(sys.stdout, COLUMNS, lineterminator="\n")
    rows.writeheader()
    for _ in range(said.runs):
        for tree in said.tree:
            rows.writerow(measure(tree.resolve(), said.trials, said.scheduler))
            sys.stdout.flush()


if __name__ == "__main__":
    main()
