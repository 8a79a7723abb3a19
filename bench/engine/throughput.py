"""What goes through: durable reports a second, and no-op trials of 27 reports a second.

    python -P bench/engine/throughput.py [--tree DIR …] [--only reports scripted workers] > bench/engine/throughput.csv

Real broker and daemon throughout.
`reports`: 20 jobs of 1,000 steps are out; then scripted senders put all 20,000 reports on the stream. From the first to
the moment when the last is committed and acknowledged.
`scripted`: trials of 27 reports (`fifo`), 64 scripted slots that put all of a job's messages on the stream at once,
from the submission to the study's end: each is asked for, dispatched, claimed, reported and ended. `asha`: the same
with 4 rungs and pauses.
`workers`: the same with two real workers, whose training function returns at once after 27 reports.
CPU: of the daemon, the broker, and the workers or the sender, in ms a trial (a report, for `reports`).
"""

from __future__ import annotations

import argparse
import csv
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import stage as staging

COLUMNS = ("tree", "what", "trials", "reports", "wall_s", "reports_s", "trials_s", "daemon_cpu_ms", "broker_cpu_ms",
           "workers_cpu_ms")  # fmt: skip


def _own() -> float:
    spent = resource.getrusage(resource.RUSAGE_SELF)
    return spent.ru_utime + spent.ru_stime


class Clock:
    """Wall and CPU of every part since `start`."""

    def __init__(self, stage: staging.Stage, workers: int | None = None) -> None:
        self._pids = (stage.pid, stage.broker.pid or 0, workers)
        self._before = self._now()

    def _now(self) -> tuple[float, float, float, float]:
        daemon, broker, workers = self._pids
        theirs = _own() if workers is None else staging.cpu_s(workers, children=True)
        return time.perf_counter(), staging.cpu_s(daemon), staging.cpu_s(broker), theirs

    def row(self, tree: Path, what: str, trials: int, reports: int, of: int) -> dict[str, Any]:
        wall, *cpu = (now - was for now, was in zip(self._now(), self._before, strict=True))
        daemon, broker, workers = (round(1e3 * spent / of, 3) for spent in cpu)
        return {"tree": tree.name, "what": what, "trials": trials, "reports": reports, "wall_s": round(wall, 3),
                "reports_s": round(reports / wall, 1), "trials_s": round(trials / wall, 1), "daemon_cpu_ms": daemon,
                "broker_cpu_ms": broker, "workers_cpu_ms": workers}  # fmt: skip


def reports(tree: Path, jobs: int = 20, steps: int = 1000) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        stage = staging.Stage(Path(folder), tree)
        try:
            with staging.Scripted(stage, jobs) as fleet:
                fleet.held = []
                stage.start_daemon()
                name = stage.submit(staging.study(
                    "reports", "tasks:noop", search={"scheduler": "fifo", "searcher": "random", "r": 1, "R": steps,
                                                     "eta": 3}, budget={"trials": jobs}))  # fmt: skip
                while fleet.reports < jobs * steps:
                    time.sleep(0.01)
                time.sleep(1.0)
                texts = sorted(fleet.held, key=lambda text: int(text.partition('"step":')[2].partition(",")[0] or 0)
                               if '"report"' in text else -1 if '"begun"' in text else steps + 1)  # fmt: skip
                clock = Clock(stage)
                for at in range(0, len(texts), 500):
                    pipe = stage.redis.pipeline(transaction=False)
                    for text in texts[at : at + 500]:
                        pipe.xadd(staging.UP, {"m": text})
                    pipe.execute()
                stage.wait(name)
                while not staging.drained(stage):
                    time.sleep(0.005)
                row = clock.row(tree, "reports", jobs, jobs * steps, jobs * steps)
            with stage.reading() as raw:
                assert raw.execute("SELECT count(*) FROM reports").fetchone() == (jobs * steps,)
            return row
        finally:
            stage.close()


def scripted(tree: Path, trials: int = 1000, scheduler: str = "fifo", slots: int = 64) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        stage = staging.Stage(Path(folder), tree)
        try:
            with staging.Scripted(stage, slots) as fleet:
                stage.start_daemon()
                time.sleep(1.0)
                clock = Clock(stage)
                name = stage.submit(staging.study("scripted", "tasks:noop", budget={"trials": trials},
                                                  search=_search(scheduler)))  # fmt: skip
                stage.wait(name)
                what = "scripted" if scheduler == "fifo" else f"scripted {scheduler}"
                return clock.row(tree, what, trials, fleet.reports, trials)
        finally:
            stage.close()


def workers(tree: Path, trials: int = 400, slots: int = 2) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        stage = staging.Stage(Path(folder), tree, ("tasks:noop",))
        try:
            stage.start_daemon()
            fleet = stage.start_workers(slots, Path(__file__).parent)
            clock = Clock(stage, fleet.pid)
            name = stage.submit(staging.study("noop", "tasks:noop", budget={"trials": trials}, search=_search("fifo")))
            stage.wait(name)
            return clock.row(tree, "workers", trials, 27 * trials, trials)
        finally:
            stage.close()


def _search(scheduler: str) -> dict[str, Any]:
    return {"scheduler": scheduler, "searcher": "random", "r": 1, "R": 27, "eta": 3}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tree", nargs="*", type=Path, default=[staging.HERE])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=["reports", "scripted", "asha", "workers"])
    said = parser.parse_args()
    rows = csv.DictWriter(sys.stdout, COLUMNS, lineterminator="\n")
    rows.writeheader()
    benches = {"reports": reports, "scripted": scripted, "asha": lambda tree: scripted(tree, scheduler="asha"),
               "workers": workers}  # fmt: skip
    for _ in range(said.runs):
        for name in said.only:
            for tree in said.tree:
                rows.writerow(benches[name](tree.resolve()))
                sys.stdout.flush()


if __name__ == "__main__":
    main()
