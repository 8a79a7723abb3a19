"""Every exported point of every example, measured again from its files: does it hold what its card says?

    python -P bench/deployed.py > bench/deployed.csv          # or some of them: python -P bench/deployed.py exits bits

Each example that yields models is run as a user would (`searchd run`, smaller where it is long), and each trial on its
front goes through `searchd verify`, `REPEATS` times. A row is a point and a latency of it: as recorded when it was
exported, the median measured again, how far the repeats lie apart and how far the median is off (percent), and whether
that is within 10 %, within the spread of the repeats, or beyond both. `equal`: how many numbers that no clock decides
(errors, losses, bytes) came out the same, of how many. Standard error sums up. docs/log.md says what the stored
figures show.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from spaces.study import Study

ROOT = Path(__file__).parents[1]
REPEATS = 7
WITHIN = 10.0
SEARCHD = (sys.executable, "-P", "-c", "from searchd.cli import main; main()")
DNAS = """
study: blocks
space: {width: {int: [4, 8]}, optimizer: {choice: {adamw: {lr: {float: [0.003, 0.03], log: true}}}}}
objectives: {val_error: minimize, latency_ms: minimize}
search: {scheduler: fifo, searcher: random, R: 4}
budget: {trials: 2, parallel: 2}
task: {dnas: {data: digits, layers: 3}}
"""
HEAD = ("example", "task", "trial", "point", "metric", "recorded_us", "again_us", "spread_percent", "off_percent",
        "within", "equal", "of")  # fmt: skip

Change = Callable[[dict[str, Any]], object]
EXAMPLES: Mapping[str, Change] = {
    "digits": lambda s: s["budget"].update(trials=16, hours=None),
    "joint": lambda s: s["budget"].update(trials=8),
    "optimizers": lambda s: s["budget"].update(trials=12),
    "bits": lambda _: None,
    "exits": lambda _: None,
    "supernet": lambda s: (s["budget"].update(trials=3), s["search"].update(R=4)),
    "language": lambda s: s["budget"].update(trials=6),
    "blocks": lambda _: None,
}
"""By name, with what makes it shorter; `blocks` is a study of the task without an example, `dnas`."""


def main(names: list[str]) -> None:
    rows = csv.DictWriter(sys.stdout, HEAD)
    rows.writeheader()
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for name in names or EXAMPLES:
            for row in measured(name, Path(folder)):
                found.append(row)
                rows.writerow(row)
            sys.stdout.flush()
    print(summary(found), file=sys.stderr)


def measured(name: str, folder: Path) -> Iterator[dict[str, Any]]:
    """The rows of one example: run, exported, measured again."""
    file = study(name, folder)
    run = json.loads(searchd("run", str(file), "--out", str(folder), "--json"))
    trials = sorted({(p["trial"], p["point"]) for p in run["front"]})
    for trial in sorted({t for t, _ in trials}):
        export = folder / f"{name}-{trial}"
        searchd("export", name, str(trial), "--root", str(folder), "--to", str(export))
        found = json.loads(searchd("verify", str(export), "--repeats", str(REPEATS), "--json", codes=(0, 1)))
        for one in found["exports"]:
            for point in one["points"]:
                if (trial, point["point"]) in trials:
                    yield from _rows(name, one, trial, point)


def _rows(name: str, export: Mapping[str, Any], trial: int, point: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    exact = [m["same"] for m in point["metrics"] if m["exact"]]
    for m in point["metrics"]:
        if not m["exact"]:
            yield {
                "example": name, "task": export["task"], "trial": trial, "point": point["point"], "metric": m["metric"],
                "recorded_us": f"{1000 * m['recorded']:.2f}", "again_us": f"{1000 * m['again']:.2f}",
                "spread_percent": f"{100 * m['spread']:.1f}", "off_percent": f"{100 * m['off']:+.1f}",
                "within": judged(100 * m["off"], 100 * m["spread"]), "equal": sum(exact), "of": len(exact),
            }  # fmt: skip


def judged(off: float, spread: float) -> str:
    """Whether a figure is `10` percent off at most, or no more than its repeats differ (`spread`), or neither."""
    return "10" if abs(off) <= WITHIN else "spread" if abs(off) <= spread else "no"


def study(name: str, folder: Path) -> Path:
    """The example's study, changed, as a file."""
    spec = Study.loads(DNAS).dump() if name == "blocks" else Study.load(ROOT / "examples" / f"{name}.yaml").dump()
    EXAMPLES[name](spec)
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump(spec))
    return file


def searchd(*args: str, codes: tuple[int, ...] = (0,)) -> str:
    """What a command prints."""
    done = subprocess.run([*SEARCHD, *args], capture_output=True, text=True, check=False,
                          env={**os.environ, "OMP_NUM_THREADS": "1"})  # fmt: skip
    if done.returncode not in codes:
        raise SystemExit(f"searchd {' '.join(args)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def summary(rows: list[dict[str, Any]]) -> str:
    """How many points hold, by metric, and by example."""
    lines = []
    for metric in dict.fromkeys(r["metric"] for r in rows):
        for name in [*dict.fromkeys(r["example"] for r in rows), "all"]:
            of = [r for r in rows if r["metric"] == metric and name in (r["example"], "all")]
            by = {how: sum(r["within"] == how for r in of) for how in ("10", "spread", "no")}
            equal = sum(r["equal"] == r["of"] for r in of)
            lines.append(f"{metric} {name}: {len(of)} points, {by['10']} within 10 %, {by['spread']} within the spread "
                         f"of the repeats, {by['no']} beyond; {equal} with every exact number equal")  # fmt: skip
    return "\n".join(lines)


if __name__ == "__main__":
    main(sys.argv[1:])
