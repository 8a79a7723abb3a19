"""C++ of an operator, compiled on first use for this machine's CPU, and loaded: what `kernels/<op>/cpp.py` asks for.

The library lies in the user's cache folder, named by a hash of its sources, the compiler's version and the flags: what
changed is built anew, what did not is loaded. It is compiled beside its place and moved there, so that processes that
build at once do not see each other's halves; the last one's stays.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

import torch

from kernels._cache import cache_folder

FOLDER = "SEARCHD_KERNEL_FOLDER"
COMPILERS = ("c++", "g++", "clang++")
FLAGS = (
    "-std=c++17", "-O3", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast", "-fPIC", "-shared", "-pthread",
    "-w",
)  # fmt: skip
LEVELS: dict[str, tuple[int, tuple[str, ...]]] = {
    "DEFAULT": (16, ()),
    "AVX2": (32, ("-mavx2", "-mfma")),
    "AVX512": (64, ("-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mfma")),
}
"""Bytes of a vector and the flags, by torch's word for what a CPU can."""
PATIENCE_S = 300


class BuildError(RuntimeError):
    """The C++ could not be built or loaded; the message says why."""


@functools.cache
def level() -> str:
    """What the CPU can, as torch found it (ATEN_CPU_CAPABILITY=default|avx2 lowers it): a key of `LEVELS`."""
    found = torch.backends.cpu.get_cpu_capability()
    return found if found in LEVELS else "DEFAULT"


def compiler() -> tuple[str, ...]:
    """The C++ compiler: CXX, which may have arguments, or the first of `COMPILERS` on the PATH; empty where none is."""
    named = shlex.split(os.environ.get("CXX", "")) or next(([c] for c in COMPILERS if shutil.which(c)), [])
    return tuple(named) if named and shutil.which(named[0]) else ()


def against() -> str | None:
    """The first reason why nothing can be built here; None: there is none before one tries."""
    if os.name != "posix":
        return f"C++ kernels are not built on {platform.system()}"
    if not compiler():
        asked = os.environ.get("CXX")
        where = f"CXX={asked} is not there" if asked else f"none of {', '.join(COMPILERS)} is on the PATH"
        return f"a C++ compiler is needed, but {where}"
    return None


def folder() -> Path:
    """Where libraries are kept: SEARCHD_KERNEL_FOLDER, or `searchd/cpp` in the user's cache folder."""
    if os.environ.get(FOLDER):
        return Path(os.environ[FOLDER])
    return cache_folder() / "cpp"


@functools.cache
def library(main: Path, at: str) -> ctypes.CDLL:
    """The library of the source `main` and all that lies beside it, for the level `at`; its macro VECTOR is the bytes
    of a vector. BuildError where it cannot be had."""
    why = against()
    if why is not None:
        raise BuildError(why)
    vector, more = LEVELS[at]
    flags = (*FLAGS, *more, f"-DVECTOR={vector}")
    try:
        path = folder() / f"{main.parent.parent.name}-{at.lower()}-{_hash(main.parent, flags)}.so"
        if not path.is_file():
            _compile(main, flags, path)
        _ours(path)
        return ctypes.CDLL(str(path))
    except (OSError, RuntimeError, subprocess.SubprocessError) as e:
        raise BuildError(f"{main.name} was not built: {e}") from e


def _hash(sources: Path, flags: tuple[str, ...]) -> str:
    whole = hashlib.sha256("\0".join((*_version(compiler()), platform.machine(), *flags)).encode())
    for path in sorted(sources.iterdir()):
        if path.suffix in {".cpp", ".h"}:
            whole.update(path.name.encode() + path.read_bytes())
    return whole.hexdigest()[:24]


@functools.cache
def _version(command: tuple[str, ...]) -> tuple[str, ...]:
    ran = subprocess.run([*command, "--version"], capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    return (*command, ran.stdout)


def _compile(main: Path, flags: tuple[str, ...], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(dir=path.parent) as room:
        made = Path(room) / path.name
        ran = subprocess.run(
            [*compiler(), *flags, "-o", str(made), str(main)], capture_output=True, text=True, check=False,
            timeout=PATIENCE_S,
        )  # fmt: skip
        if ran.returncode:
            first = next((line for line in ran.stderr.splitlines() if "error" in line), ran.stderr[-200:])
            raise RuntimeError(f"{compiler()[0]} ended with {ran.returncode}: {first.strip()}")
        os.replace(made, path)


def _ours(path: Path) -> None:
    """PermissionError unless nobody but the user (and root) could have written the library: it is about to be run."""
    for place in (path, path.parent):
        found = place.stat()
        if found.st_uid not in {os.getuid(), 0} or found.st_mode & 0o002:
            raise PermissionError(f"{place} can be written by others: remove it, or set {FOLDER} to one of your own")
