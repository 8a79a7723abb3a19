"""`python -P -m workers.verify FOLDER [--data FILE] [--repeats N] [--exact]`: an export measured here, as JSON.

`{"folder", "device", "pace", "waited_s", "exports": [{"card", "task", "trial", "study", "files", "recorded_on",
"runtime", "comparable", "pace", "slow", "points": [{"point", "metrics": [{"metric", "recorded", "again", "exact",
"least", "spread", "off", "same"}]}]}]}`.
A latency is the median of its repeats, `least` the best of them; `spread` how far they lie apart, `off` how much more
than recorded, as shares. `pace`: how fast the machine ran, 1 at full speed (`workers.pace`); in an export, when its
card was written; `slow`: one of the two was not at full speed. `same`: the median is off by no more than `--within`
(0.1), or than the spread where that is more, or the best one is: a recorded figure is a best one too, for what else
runs can only add time. Null where it was recorded on another device or by another runtime, and where it is off and
`slow`. Exact metrics are the `same` only when they are equal.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any

from searchd.errors import SearchdError
from spaces.reproduces import split, timed

WITHIN = 0.1
REPEATS = 5


def verified(
    folder: Path, *, data: str | None = None, repeats: int = REPEATS, within: float = WITHIN, latency: bool = True
) -> dict[str, Any]:  # fmt: skip
    """What the module says. `data`: the file that the task learned from, where it lies elsewhere here; without
    `latency` only what is exact."""
    from workers import measure, pace
    from workers.deployed import exports

    found = exports(folder)
    with pace.patient() as waits:
        done = [_one(export, data, repeats if latency else 0, within) for export in found]
    done = [excused(one, waits.pace) for one in done]
    return {"folder": str(folder), "device": measure.device(), **waits.as_card(), "exports": done}


def _one(export: Any, data: str | None, repeats: int, within: float) -> dict[str, Any]:
    from workers import measure
    from workers.deployed import TASKS, check_files, runtime, timed_on

    files = check_files(export)
    if data is not None:
        export.options["text" if export.kind == "lm" else "data"] = str(Path(data).resolve())
    time_once, with_figures = TASKS[export.kind](export)
    runs = [with_figures(time_once()) for _ in range(max(repeats, 1))]
    comparable = timed_on(export) == measure.device() and runtime(export) == "onnxruntime"
    points = []
    for i, said in enumerate(export.points):
        again = [split(run[i]["metrics"])[1] for run in runs]
        rows = [
            _row(name, value, [one[name] for one in again], within, comparable)
            for name, value in split(said["metrics"])[1].items()
            if name in again[0] and (repeats or not timed(name))
        ]
        points.append({"point": said["point"], "metrics": rows})
    card = export.card
    return {
        "card": str(export.folder / export.name), "task": export.kind, "study": card["study"], "trial": card["trial"],
        "files": files, "recorded_on": timed_on(export), "runtime": runtime(export), "comparable": comparable,
        "pace": (card.get("clock") or {}).get("pace", 1.0), "points": points,
    }  # fmt: skip


def excused(export: dict[str, Any], now: float) -> dict[str, Any]:
    """The export with `slow`; latencies that are off are then not judged. `now`: the pace of this machine."""
    from workers.pace import FULL

    export["slow"] = min(export["pace"], now) < FULL
    for m in (m for point in export["points"] for m in point["metrics"]):
        if export["slow"] and not m["exact"] and m["same"] is False:
            m["same"] = None
    return export


def _row(name: str, recorded: float, again: list[float], within: float, comparable: bool) -> dict[str, Any]:
    if not timed(name):
        return {"metric": name, "recorded": recorded, "again": again[0], "exact": True, "same": again[0] == recorded}
    middle = statistics.median(again)
    off = middle / recorded - 1 if recorded else 0.0
    spread = (max(again) - min(again)) / middle if middle else 0.0
    best = abs(min(again) / recorded - 1) if recorded else 0.0
    same = abs(off) <= max(within, spread) or best <= within if comparable else None
    return {"metric": name, "recorded": recorded, "again": middle, "exact": False, "least": min(again),
            "spread": spread, "off": off, "same": same}  # fmt: skip


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -P -m workers.verify")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data")
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--within", type=float, default=WITHIN)
    parser.add_argument("--exact", action="store_true")
    said = parser.parse_args(argv)
    try:
        found = verified(said.folder, data=said.data, repeats=said.repeats, within=said.within, latency=not said.exact)
    except SearchdError as error:
        print(json.dumps({"error": str(error), "kind": type(error).__name__}))
        return 1
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
