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
from workers.memory import cuda_bytes, host_bytes

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
IDENTITY = "SEARCHD_DEVICE"
"""The environment variable that tells a child its device's identity."""


@dataclass(frozen=True, slots=True)
class Device:
    """`device_class` names the queue; `index` the accelerator, None on a CPU; `identity` says what runs there."""

    device_class: str
    index: int | None
    identity: str

    @property
    def domain(self) -> str:
        """The memory that its jobs hold, by its name on this host."""
        return "host" if self.index is None else f"cuda:{self.index}"

    def memory_bytes(self) -> int:
        """How much memory that is; 0: not known."""
        return host_bytes() if self.index is None else cuda_bytes(self.index)

    def environment(self, threads: int | None) -> dict[str, str]:
        """What the child process gets: one accelerator in sight, `threads` threads (1 on a CPU), its identity."""
        env = {IDENTITY: self.identity}
        if self.index is not None:
            env["CUDA_VISIBLE_DEVICES"] = str(self.index)
        count = threads or (1 if self.index is None else None)
        if count is not None:
            env |= {name: str(count) for name in THREADS if threads or name not in os.environ}
        return env


def device(name: str, slot: int = 0) -> Device:
    """The device of a slot: `cpu`, `cuda` (slot n takes accelerator n), `cuda:2`, or a class of your own.

    A name of one's own serves a queue of that name on the CPU, or on what is said after `=`: `rig`, `rig=cuda:1`.
    Raises Refused for anything else.
    """
    match = re.fullmatch(r"(?:([A-Za-z][\w.-]*)=)?(cpu|cuda(?::\d+)?|[A-Za-z][\w.-]*)", name)
    if match is None or (match[1] and not re.fullmatch(r"cpu|cuda(:\d+)?", match[2])):
        raise Refused(f"device {name!r} is not one that a worker can serve; say cpu, cuda, cuda:N, NAME or NAME=cuda:N")
    hardware, _, index = match[2].partition(":")
    device_class = match[1] or hardware
    if hardware != "cuda":
        return Device(device_class, None, identity(device_class, cpu_model()))
    number = int(index) if index else slot
    return Device(device_class, number, identity(device_class, cuda_model(number)))


def identity(device_class: str, model: str) -> str:
    """What a figure holds for: class, hardware, and the runtime that measures (with one thread)."""
    return f"{device_class} · {model} · {runtime()} · 1 thread"


def with_runtime(said: str, runtime: str) -> str:
    """An identity as `identity` made it, with another runtime that measures."""
    parts = said.split(" · ")
    return " · ".join([*parts[:2], runtime, *parts[3:]]) if len(parts) == 4 else said


def cuda_model(index: int) -> str:
    """The accelerator as its driver names it; no torch is imported for it."""
    program = shutil.which("nvidia-smi")
    if not program:
        return "unknown accelerator"
    found = subprocess.run(
        [program, f"--id={index}", "--query-gpu=name", "--format=csv,noheader"],
        capture_output=True, text=True, check=False, timeout=20,
    )  # fmt: skip
    return found.stdout.strip() or "unknown accelerator"


@cache
def cpu_model() -> str:
    """The processor as its maker names it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.lower().startswith("model name"):
                return re.sub(r"\s+", " ", line.partition(":")[2]).strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


@cache
def runtime() -> str:
    """ONNX Runtime and its version as installed (not imported)."""
    for package in ("onnxruntime", "onnxruntime-gpu"):
        try:
            return f"onnxruntime {importlib.metadata.version(package)}"
        except importlib.metadata.PackageNotFoundError:
            continue
    return "no onnxruntime"
