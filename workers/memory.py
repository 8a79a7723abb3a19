"""Memory: what a device has, what a job's processes hold, and whether the kernel killed for the lack of it.

All from files that the kernel keeps (`/proc`, control groups of both versions); where there are none (another system),
nothing is known, and that is all.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
NO_LIMIT = 1 << 60
MIB = 1 << 20


def groups(text: str | None = None, root: Path = CGROUPS) -> list[Path]:
    """The folders of this process's memory control group and those above it; `text`: of /proc/self/cgroup."""
    try:
        lines = (Path("/proc/self/cgroup").read_text() if text is None else text).splitlines()
    except OSError:
        return []
    for line in lines:
        number, names, path = line.split(":", 2)
        base = root / "memory" if "memory" in names.split(",") else root if number == "0" and not names else None
        if base is not None and base.is_dir():
            inner = base / path.lstrip("/")
            below = [p for p in (inner, *inner.parents) if p == base or base in p.parents]
            if any((p / name).is_file() for p in below for name in ("memory.events", "memory.oom_control")):
                return below
    return []


def oom_kills(folders: list[Path]) -> int:
    """How many processes of the innermost group the kernel killed because its memory, or one's above it, ran out."""
    found = 0
    for folder in folders[:1]:
        for name in ("memory.events", "memory.oom_control"):
            with contextlib.suppress(OSError):
                said = re.search(r"^oom_kill (\d+)$", (folder / name).read_text(), re.MULTILINE)
                found += int(said[1]) if said else 0
    return found


def host_bytes(folders: list[Path] | None = None) -> int:
    """The memory of this machine, or what its control group leaves of it; 0: not known."""
    try:
        most = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return 0
    for folder in groups() if folders is None else folders:
        for name in ("memory.max", "memory.limit_in_bytes"):
            with contextlib.suppress(OSError, ValueError):
                most = min(most, int((folder / name).read_text()))
    return most if most < NO_LIMIT else 0


def cuda_bytes(index: int) -> int:
    """The memory of an accelerator as its driver says; 0: not known."""
    program = shutil.which("nvidia-smi")
    if not program:
        return 0
    found = subprocess.run(
        [program, f"--id={index}", "--query-gpu=memory.total", "--format=csv,noheader,nounits"],
        capture_output=True, text=True, check=False, timeout=20,
    )  # fmt: skip
    said = found.stdout.strip()
    return int(said) * MIB if said.isdigit() else 0


def tree(pid: int, most: int = 4096) -> set[int]:
    """A process and all below it; stops at `most`."""
    found, open_ = {pid}, [pid]
    while open_ and len(found) < most:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{open_.pop()}/task").iterdir():
                with contextlib.suppress(OSError):
                    fresh = {int(p) for p in (task / "children").read_text().split()} - found
                    found |= fresh
                    open_ += fresh
    return found


def resident(pids: set[int]) -> int:
    """Bytes of memory that processes hold, what they share with files left out."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError, ValueError, IndexError):
            fields = Path(f"/proc/{pid}/statm").read_text().split()
            total += (int(fields[1]) - int(fields[2])) * os.sysconf("SC_PAGE_SIZE")
    return total


class Peak:
    """In the child: the most memory of its device since `begin`, in bytes: of torch's allocator on an accelerator, else
    of the process itself (its high-water mark, which Linux lets a process set back)."""

    def __init__(self) -> None:
        self._cuda = os.environ.get("CUDA_VISIBLE_DEVICES", "") not in ("", "-1")

    def begin(self) -> None:
        """Forget what was before."""
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
        if self._cuda and (torch := sys.modules.get("torch")) is not None and torch.cuda.is_initialized():
            torch.cuda.reset_peak_memory_stats()

    def bytes(self) -> int | None:
        """None: not known."""
        if self._cuda:
            torch = sys.modules.get("torch")
            if torch is None or not torch.cuda.is_initialized():
                return None
            return int(torch.cuda.max_memory_reserved())
        with contextlib.suppress(OSError):
            said = re.search(r"^VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
            return int(said[1]) * 1024 if said else None
        return None
