"""Runs methods on problems and appends a JSON line a run; what is there already is not run again.

    python -m bench.quality.run --problem lcbench:167168 noisy --method auto+auto asha+tpe optuna-tpe --seeds 0-9

A method with a `+` is ours (SCHEDULER+SEARCHER), any other a peer's (see peers.py). Set OMP_NUM_THREADS=1.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from pathlib import Path
from typing import Any

from bench.quality.loop import run_peer
from bench.quality.peers import make_peer
from bench.quality.problems import known, make
from bench.quality.spec import Problem


def one(problem: Problem, method: str, seed: int, workers: int = 4, cap_s: float = 100.0) -> dict[str, Any]:
    """One run as a row. More workers have less time each: the worker seconds of a run are those of 4 workers."""
    budget = known(problem.name).full_s * problem.full_runs * 4 / workers
    began = time.perf_counter()
    if "+" in method:
        from bench.quality.ours import run_ours

        outcome = run_ours(problem, method, seed, budget, workers)
    else:
        before = time.process_time()
        peer = make_peer(method, problem, seed)
        made = time.process_time() - before
        del made  # importing a library is no decision
        outcome = run_peer(problem, peer, budget, workers, cap_s)
    return {
        "problem": problem.name, "method": method, "seed": seed, "budget": budget, "workers": workers,
        "trials": outcome.trials, "full": outcome.full, "reports": outcome.reports, "cpu": round(outcome.cpu_s, 4),
        "cut": outcome.cut, "wall": round(time.perf_counter() - began, 2), "path": outcome.path,
    }  # fmt: skip


def rows(path: Path) -> list[dict[str, Any]]:
    """What a file of runs has; a line that was cut off is left out."""
    found = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return found


def main() -> None:
    say = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    say.add_argument("--problem", nargs="+", required=True)
    say.add_argument("--method", nargs="+", required=True)
    say.add_argument("--seeds", default="0-9", help="FIRST-LAST")
    say.add_argument("--workers", type=int, default=4)
    say.add_argument("--cap", type=float, default=100.0, help="decision CPU seconds after which a peer is cut")
    say.add_argument("--out", type=Path, default=Path("out/quality.jsonl"))
    said = say.parse_args()
    warnings.filterwarnings("ignore")
    first, _, last = said.seeds.partition("-")
    said.out.parent.mkdir(parents=True, exist_ok=True)
    done = {(r["problem"], r["method"], r["seed"], r["workers"]) for r in rows(said.out)}
    for name in said.problem:
        problem = make(name)
        for method in said.method:
            for seed in range(int(first), int(last or first) + 1):
                if (name, method, seed, said.workers) in done:
                    continue
                try:
                    row = one(problem, method, seed, said.workers, said.cap)
                except Exception as error:
                    print(f"{name} {method} {seed}: {type(error).__name__}: {error}", flush=True)
                    break
                with said.out.open("a") as file:
                    file.write(json.dumps(row) + "\n")
                end = f"{row['path'][-1][1]:.4f}" if row["path"] else "nothing"
                print(name, method, seed, end, f"trials {row['trials']} cpu {row['cpu']}", flush=True)


if __name__ == "__main__":
    main()
