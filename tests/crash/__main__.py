"""`python -m tests.crash --faults 200 --seed 1 --database sqlite|postgres`: the long run; exit code 1 if a check fails.

Writes `<out>/<database>-<seed>.json` and `.md` (the figures) and leaves the logs there when something is wrong.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.crash.checks import check
from tests.crash.figures import figures, table
from tests.crash.schedule import finish, run
from tests.crash.world import World


def crash(folder: Path, database: str, faults: int, seed: int, *, trials: int = 60, lease_s: float = 4.0,
          step_s: float = 0.15, patience_s: float = 300.0, only: str = "",
          once: bool = False) -> dict[str, Any]:  # fmt: skip
    """One run over a fresh world in `folder`; its figures, with what is `wrong`."""
    start_s()  # the first one may compile
    imports = [start_s()]
    began = time.monotonic()
    with World(folder, database, lease_s) as world:
        try:
            happened = run(world, faults, seed, trials, step_s, only, once)
            finish(world, patience_s)
        except AssertionError as error:
            return figures(world, [], [f"{type(error).__name__}: {error}"], time.monotonic() - began)
        seconds = time.monotonic() - began
        wrong = check(world)
        found = figures(world, happened, wrong, seconds)
        imports.append(start_s())
        found["wrong"] += world.end()
        return found | {"daemon_imports_s": imports, "load": round(os.getloadavg()[1], 1), "cpus": os.cpu_count()}


def start_s() -> float:
    """Seconds that a Python needs now to import the daemon, which every restart has to: the machine may be busy."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-P", "-c", "import searchd.lifetime"], check=True)
    return round(time.monotonic() - began, 1)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--database", choices=("sqlite", "postgres"), default="sqlite")
    parser.add_argument("--lease", type=float, default=4.0, metavar="S")
    parser.add_argument("--trials", type=int, default=60, help="of each study")
    parser.add_argument("--step", type=float, default=0.15, metavar="S", help="of a training step")
    parser.add_argument("--out", type=Path, default=Path("out/crash"))
    parser.add_argument("--only", default="", metavar="REGEX", help="kinds of fault")
    parser.add_argument("--keep", action="store_true", help="keep the folder with the logs in any case")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # and so take the fleet along
    options.out.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f"crash-{options.database}-{options.seed}-"))
    found = crash(folder, options.database, options.faults, options.seed, trials=options.trials,
                  lease_s=options.lease, step_s=options.step, only=options.only)  # fmt: skip
    stem = options.out / f"{options.database}-{options.seed}"
    stem.with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n")
    stem.with_suffix(".md").write_text(table(found) + "\n")
    print(table(found))
    for line in found["wrong"]:
        print(f"WRONG  {line}")
    if found["wrong"] or options.keep:
        print(f"logs: {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return int(bool(found["wrong"]))


if __name__ == "__main__":
    sys.exit(main())
