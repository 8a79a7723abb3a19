"""What a device's figures hold for, beside its identity: `python -P -m workers.facts NAME` says it as JSON.

A table of latencies is stale when one of `KEYS` has changed.
"""

from __future__ import annotations

import importlib.metadata
import json
import platform
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

from searchd.errors import Refused, SearchdError
from workers.device import Device, device, with_runtime

KEYS = ("runtime", "driver", "clocks", "threads")
UNKNOWN = "unknown"
PACKAGES = {"onnxruntime": ("onnxruntime", "onnxruntime-gpu"), "torch": ("torch",), "torch-cuda": ("torch",)}
GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq")


def facts(of: Device, threads: int | None = None, runtime: str = "") -> dict[str, str]:
    """`device` (its identity), `runtime` with its version, `driver`, `clocks` (their policy, not what they are at this
    moment), `threads`, and the version of every runtime by its name, all as text; `unknown` where the system does not
    say."""
    name = runtime or default_runtime(of)
    driver, clocks = _cuda(of.index) if of.index is not None else (f"kernel {platform.release()}", _governor())
    return {
        "device": with_runtime(of.identity, version(name)), "runtime": version(name), "driver": driver,
        "clocks": clocks, "threads": str(threads or 1), **{r: version(r) for r in PACKAGES},
    }  # fmt: skip


def default_runtime(of: Device) -> str:
    """ONNX Runtime on a CPU, torch on an accelerator."""
    return "onnxruntime" if of.index is None else "torch-cuda"


def named(said: str, runtime: str) -> str:
    """A slot's identity for figures of this runtime (empty: ONNX Runtime, which the slot names itself)."""
    return with_runtime(said, version(runtime)) if runtime not in ("", "onnxruntime") else said


@cache
def version(runtime: str) -> str:
    """A runtime and its version as installed, not imported."""
    for package in PACKAGES.get(runtime, ()):
        try:
            return f"{runtime} {importlib.metadata.version(package)}"
        except importlib.metadata.PackageNotFoundError:
            continue
    return f"no {runtime}"


def _governor() -> str:
    try:
        governor = (GOVERNOR / "scaling_governor").read_text().strip()
        return f"{governor}, at most {int((GOVERNOR / 'scaling_max_freq').read_text()) // 1000} MHz"
    except (OSError, ValueError):
        return UNKNOWN


def _cuda(index: int) -> tuple[str, str]:
    """(driver, the clocks that applications get) as the driver says."""
    program = shutil.which("nvidia-smi")
    if not program:
        return UNKNOWN, UNKNOWN
    query = "driver_version,clocks.applications.graphics,clocks.applications.memory,power.limit"
    found = subprocess.run(
        [program, f"--id={index}", f"--query-gpu={query}", "--format=csv,noheader"],
        capture_output=True, text=True, check=False, timeout=20,
    )  # fmt: skip
    driver, _, rest = found.stdout.strip().partition(", ")
    return f"nvidia {driver}" if driver else UNKNOWN, rest or UNKNOWN


def check(of: Device, runtime: str) -> None:
    """SearchdError where this machine has not what the device or the runtime needs."""
    if of.index is None and runtime == "torch-cuda":
        raise Refused(f"torch-cuda measures on an accelerator, and {of.device_class} is a CPU here: say NAME=cuda")
    if of.index is not None and _cuda(of.index)[0] == UNKNOWN:
        raise Refused(f"no accelerator {of.index} answers here (nvidia-smi): run it where there is one, or say cpu")


def main(argv: list[str]) -> int:
    """NAME [RUNTIME]."""
    try:
        of, runtime = device(argv[0]), argv[1] if len(argv) > 1 else ""
        check(of, runtime)
        print(json.dumps(facts(of, None, runtime)))
    except SearchdError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
