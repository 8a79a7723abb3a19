"""Which device a slot serves, how it names itself, and the environment that its child needs."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from searchd.errors import Refused

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


@dataclass(frozen=True, slots=True)
class Device:
    """`device_class` names the queue (`cpu`, `cuda`); `index` the accelerator, None on a CPU; `identity` what runs."""

    device_class: str
    index: int | None
    identity: str

    def environment(self, threads: int | None) -> dict[str, str]:
        """What the child process gets: one accelerator in sight, and `threads` threads (1 on a shared CPU)."""
        env: dict[str, str] = {}
        if self.index is not None:
            env["CUDA_VISIBLE_DEVICES"] = str(self.index)
        count = threads or (1 if self.index is None else None)
        if count is not None:
            env |= {name: str(count) for name in THREADS if threads or name not in os.environ}
        return env


def device(name: str, slot: int = 0) -> Device:
    """The device of a slot: `cpu`, `cuda` (slot n takes accelerator n), or `cuda:2`. Refused for another name."""
    match = re.fullmatch(r"(cpu|cuda)(?::(\d+))?", name)
    if match is None or (match[1] == "cpu" and match[2]):
        raise Refused(f"device {name!r} is not one that a worker can serve; say cpu, cuda, or cuda:N")
    if match[1] == "cpu":
        return Device("cpu", None, cpu_identity())
    index = int(match[2]) if match[2] else slot
    return Device("cuda", index, cuda_identity(index))


@cache
def cpu_identity() -> str:
    """Class, CPU model, and the runtime that measures: `cpu | AMD EPYC 9B14 | onnxruntime 1.23.0`."""
    return f"cpu | {cpu_model()} | {runtime()}"


def cuda_identity(index: int) -> str:
    """Class, model as the driver names it, and the runtime; no torch is imported for it."""
    model = "unknown model"
    program = shutil.which("nvidia-smi")
    if program:
        found = subprocess.run(
            [program, f"--id={index}", "--query-gpu=name", "--format=csv,noheader"],
            capture_output=True, text=True, check=False, timeout=20,
        )  # fmt: skip
        model = found.stdout.strip() or model
    return f"cuda | {model} | {runtime()}"


def cpu_model() -> str:
    """The processor as its maker names it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.lower().startswith("model name"):
                return re.sub(r"\s+", " ", line.partition(":")[2]).strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def runtime() -> str:
    """ONNX Runtime and its version as installed (not imported)."""
    try:
        return f"onnxruntime {importlib.metadata.version('onnxruntime')}"
    except importlib.metadata.PackageNotFoundError:
        return "no onnxruntime"
