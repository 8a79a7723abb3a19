"""Training functions that harm whatever runs them; a worker imports this file by `--path tests/support`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

from searchd.errors import Infeasible
from workers.trial import Trial

FORKS = 40


def hog(mib: int) -> bytearray:
    """Memory that is really held."""
    held = bytearray(mib << 20)
    for i in range(0, len(held), 4096):
        held[i] = 1
    return held


def kept(trial: Trial) -> int:
    """How many attempts' output lies in the trial's folder."""
    return sum(path.stat().st_size > 0 for path in trial.files.glob("log-*"))


def poison(trial: Trial) -> None:
    """What its config has under `mode`."""
    before = kept(trial)
    for step in trial.steps():
        print(f"step {step} of {trial.config['mode']}", flush=True)
        match trial.config["mode"]:
            case "raise":
                raise ValueError("a bug of the user")
            case "segv":
                os.kill(os.getpid(), signal.SIGSEGV)
            case "exit":
                os._exit(7)
            case "nan":
                trial.report(error=float("nan"))
                continue
            case "infeasible":
                raise Infeasible("no such network: width 3 cannot be split over 2 heads")
            case "loop":
                while True:
                    pass
            case "memory":
                held = hog(600)
                time.sleep(30)
                del held
            case "flood":
                line = "x" * 1023 + "\n"
                for _ in range(40_000):
                    sys.stdout.write(line)
                print("the last line", flush=True)
            case "forks":
                code = "import time; time.sleep(300)"
                for n in range(FORKS):
                    subprocess.Popen([sys.executable, "-S", "-c", code], start_new_session=bool(n % 2))
                os._exit(1)
            case "slot":
                while kept(trial) == before:  # what is still in the pipe goes with the slot
                    time.sleep(0.01)
                os.kill(os.getppid(), signal.SIGKILL)
                time.sleep(60)
        trial.report(error=1.0 / step)


def grows(trial: Trial) -> None:
    """Holds `mib` MiB while it trains."""
    trial.load(count=0)
    held = hog(trial.config["mib"])
    for step in trial.steps():
        time.sleep(trial.config.get("pause", 0.1))
        trial.report(error=1.0 / step)
        trial.save(count=step)
    del held
