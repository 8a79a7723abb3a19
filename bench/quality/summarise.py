"""From runs to tables: results/runs.csv (a row a run), table.csv (a row a problem and method), ranks.csv, workers.csv.

    python -m bench.quality.summarise out/quality.jsonl …
    python -m bench.quality.summarise bench/quality/results/runs.csv out/quality.jsonl …

With runs.csv among its files, the runs that it has are kept, in three digits, but for those that were run again: so run
a method that changed with all the seeds that it had.
Average ranks are over problems, by the median regret; two methods whose ranks differ by less than the critical
difference are not told apart. Source: Demšar (2006), JMLR: Friedman's test, Nemenyi's difference.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import friedmanchisquare, rankdata, studentized_range

from bench.quality.problems import DEVICES, OTHERS, PUBLIC, known
from bench.quality.run import rows
from bench.quality.score import GRID, anytime, regret, speed_up

RESULTS = Path(__file__).with_name("results")
EVERY = 2
"""runs.csv keeps every second point of the anytime curve."""
SETS = {"public": PUBLIC, "others": OTHERS, "all": (*PUBLIC, *OTHERS)}


@dataclass(frozen=True, slots=True)
class Scored:
    """A run: `curve` [GRID / EVERY], regret over time, or 1 - HV / HV* with two objectives."""

    problem: str
    method: str
    seed: int
    curve: tuple[float, ...]
    speed_up: float
    cpu_s: float
    trials: int
    full: int
    cut: bool

    def at(self, share: float) -> float:
        """The regret when that share of the budget was spent."""
        return self.curve[round(share * len(self.curve)) - 1]


def score(found: Iterable[Mapping[str, Any]], before: Sequence[Scored] = ()) -> list[Scored]:
    """Runs of one number of workers, scored, the last of equal ones; speed-ups are over the last median of `random`:
    of these runs, else of those of `before`, to three digits."""
    once = {(r["problem"], r["method"], r["seed"]): r for r in found}
    runs = [once[key] for key in sorted(once)]
    targets: dict[str, float] = {}
    for problem in {r["problem"] for r in runs}:
        ends = [r["path"][-1][1] for r in runs if (r["problem"], r["method"]) == (problem, "random") and r["path"]]
        if ends:
            targets[problem] = float(np.median(ends))
        elif kept := [s.at(1.0) for s in before if (s.problem, s.method) == (problem, "random")]:
            facts = known(problem)
            targets[problem] = facts.best + float(np.median(kept)) * (facts.typical - facts.best)
    return [_scored(r, targets.get(r["problem"])) for r in runs]


def _scored(run: Mapping[str, Any], target: float | None) -> Scored:
    facts, two = known(run["problem"]), run["problem"].startswith(("nb201", "elastic"))
    path = [(float(at), float(value)) for at, value in run["path"]]
    values = anytime(path, run["budget"], 0.0 if two else float("inf"))[EVERY - 1 :: EVERY]
    sign = -1.0 if two else 1.0
    speed = float("nan") if target is None else speed_up([(t, sign * v) for t, v in path], sign * target, run["budget"])
    return Scored(
        run["problem"], run["method"], run["seed"],
        tuple(1.0 if v == float("inf") else regret(v, facts.best, facts.typical) for v in values),
        speed, run["cpu"], run["trials"], run["full"], run["cut"],
    )  # fmt: skip


def critical_difference(methods: int, problems: int) -> float:
    """Nemenyi's, at 5 %: q / √2 · √(k (k + 1) / (6 N))."""
    q = float(studentized_range.ppf(0.95, methods, 1e6)) / np.sqrt(2)
    return float(q * np.sqrt(methods * (methods + 1) / (6 * problems)))


def ranks(medians: np.ndarray) -> tuple[np.ndarray, float]:
    """Average rank of each method (1 is best) from median regrets [problems, methods], ties shared; Friedman's p."""
    by_problem = np.array([rankdata(row) for row in medians])
    same = medians.shape[1] < 3 or len(medians) < 2
    p = float("nan") if same else float(friedmanchisquare(*medians.T).pvalue)
    return by_problem.mean(axis=0), p


def table(scored: Sequence[Scored]) -> list[dict[str, Any]]:
    """A row a problem and method: median regret with quartiles at 25, 50 and 100 % of the budget, and what it cost."""
    lines = []
    for problem, method in sorted({(s.problem, s.method) for s in scored}):
        runs = [s for s in scored if (s.problem, s.method) == (problem, method)]
        line: dict[str, Any] = {"problem": problem, "method": method, "runs": len(runs)}
        for share in (0.25, 0.5, 1.0):
            quartiles = np.percentile([s.at(share) for s in runs], (50, 25, 75))
            for name, value in zip(("", "_q1", "_q3"), quartiles, strict=True):
                line[f"regret_{share * 100:.0f}{name}"] = f"{value:.4f}"
        line["speed_up"] = f"{np.median([s.speed_up for s in runs]):.2f}"
        line["hits"] = sum(s.speed_up >= 1 for s in runs)
        line["cpu_s"] = f"{np.median([s.cpu_s for s in runs]):.3f}"
        line["cpu_s_most"] = f"{max(s.cpu_s for s in runs):.3f}"
        line["trials"] = round(np.median([s.trials for s in runs]))
        line["full"] = round(np.median([s.full for s in runs]))
        line["cut"] = sum(s.cut for s in runs)
        lines.append(line)
    return sorted(lines, key=lambda x: (x["problem"], float(x["regret_100"])))


def rank_table(scored: Sequence[Scored]) -> list[dict[str, Any]]:
    """Average ranks on each set of problems, of the methods that ran on all of its problems that were run."""
    lines: list[dict[str, Any]] = []
    have = {(s.problem, s.method) for s in scored}
    for name, members in {**SETS, "devices": DEVICES}.items():
        problems = [p for p in members if (p, "random") in have]
        methods = sorted({m for _, m in have if problems and all((p, m) in have for p in problems)})
        if len(methods) < 2:
            continue
        for share in (0.25, 0.5, 1.0):
            medians = np.array([[_median(scored, p, m, share) for m in methods] for p in problems])
            averages, p_value = ranks(medians)
            for method, average in sorted(zip(methods, averages, strict=True), key=lambda pair: pair[1]):
                lines.append({
                    "set": name, "at": f"{share * 100:.0f}", "method": method, "rank": f"{average:.2f}",
                    "problems": len(problems), "methods": len(methods), "friedman_p": f"{p_value:.2g}",
                    "critical_difference": f"{critical_difference(len(methods), len(problems)):.2f}",
                })  # fmt: skip
    return lines


def worker_table(found: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row a problem, method and number of workers, of those that ran with other numbers than 4 too: the same worker
    seconds in all, so more workers know less when they decide."""
    varied = {(r["problem"], r["method"]) for r in found if r["workers"] != 4}
    lines = []
    for workers in sorted({r["workers"] for r in found} if varied else ()):
        runs = [r for r in found if r["workers"] == workers and (r["problem"], r["method"]) in varied]
        for line in table(score(runs)):
            kept = ("problem", "method", "runs", "regret_50", "regret_100", "regret_100_q1", "regret_100_q3", "cpu_s")
            lines.append({"workers": workers, **{name: line[name] for name in (*kept, "trials")}})
    return sorted(lines, key=lambda line: (line["problem"], line["method"], line["workers"]))


def _median(scored: Sequence[Scored], problem: str, method: str, share: float) -> float:
    return float(np.median([s.at(share) for s in scored if (s.problem, s.method) == (problem, method)]))


def write(path: Path, lines: Sequence[Mapping[str, Any]]) -> None:
    """A CSV file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        out = csv.DictWriter(file, lines[0].keys(), lineterminator="\n")
        out.writeheader()
        out.writerows(lines)


def as_row(scored: Scored) -> dict[str, Any]:
    """A line of runs.csv."""
    head = {
        "problem": scored.problem, "method": scored.method, "seed": scored.seed, "cpu_s": f"{scored.cpu_s:.3f}",
        "trials": scored.trials, "full": scored.full, "cut": int(scored.cut), "speed_up": f"{scored.speed_up:.3g}",
    }  # fmt: skip
    points = range(EVERY, GRID + 1, EVERY)
    return head | {f"r{100 * k // GRID}": f"{v:.3g}" for k, v in zip(points, scored.curve, strict=True)}


def read(path: Path) -> list[Scored]:
    """runs.csv back, three digits of it."""
    with path.open() as file:
        return [
            Scored(r["problem"], r["method"], int(r["seed"]), tuple(float(v) for k, v in r.items() if k[1:].isdigit()),
                   float(r["speed_up"]), float(r["cpu_s"]), int(r["trials"]), int(r["full"]), r["cut"] == "1")
            for r in csv.DictReader(file)
        ]  # fmt: skip


def together(before: Sequence[Scored], scored: Sequence[Scored]) -> list[Scored]:
    """Runs of before that were not run again, and the new ones, sorted."""
    anew = {(s.problem, s.method, s.seed) for s in scored}
    kept = [s for s in before if (s.problem, s.method, s.seed) not in anew]
    return sorted([*kept, *scored], key=lambda s: (s.problem, s.method, s.seed))


def main(given: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="summarise.py", description="From runs to the tables in results/.")
    parser.add_argument("paths", nargs="+", metavar="FILE", help="runs.csv, to be kept, or files of JSON lines of runs")
    paths: list[str] = parser.parse_args(given).paths
    before = [row for path in paths if path.endswith(".csv") for row in read(Path(path))]
    every = [row for path in paths if not path.endswith(".csv") for row in rows(Path(path))]
    scored = together(before, score((row for row in every if row["workers"] == 4), before))
    if not scored:
        parser.error(f"{', '.join(paths)}: no run by 4 workers there, so results/ is left as it is")
    write(RESULTS / "runs.csv", [as_row(s) for s in scored])
    lines = table(scored)
    write(RESULTS / "table.csv", lines)
    write(RESULTS / "ranks.csv", rank_table(scored))
    by_workers = worker_table(every)
    if by_workers:
        if before:
            with (RESULTS / "workers.csv").open() as file:
                anew = {(line["problem"], line["method"]) for line in by_workers}
                by_workers += [r for r in csv.DictReader(file) if (r["problem"], r["method"]) not in anew]
        by_workers.sort(key=lambda line: (line["problem"], line["method"], int(line["workers"])))
        write(RESULTS / "workers.csv", by_workers)
    for line in lines:
        print(f"{line['problem']:26} {line['method']:24} n={line['runs']:<3} "
              f"{line['regret_25']} {line['regret_50']} {line['regret_100']}  "
              f"{line['speed_up']:>6}x {line['hits']}/{line['runs']} cpu {line['cpu_s']} {line['trials']}")  # fmt: skip
    for line in rank_table(scored):
        print(line["set"], line["at"], line["method"], line["rank"], "CD", line["critical_difference"])


if __name__ == "__main__":
    main(sys.argv[1:])
