"""The fastest tile of a kernel for a shape on a device: checked against the reference, timed, and kept.

Only when it is asked for (`python -m kernels._tune OP SIZE …`), never while something else uses the device: then the
default is answered, with the reason, and nothing is kept. What was found is read by the launchers (`best`) from one
JSON file in the user's cache folder: by operator, shape up to the next powers of two, device, versions of torch and
triton.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from kernels._cache import cache_folder
from kernels._choose import interpreting
from kernels._tiles import AMPERE, HOPPER, Limits, Tile, Tiles

CACHE = "SEARCHD_KERNEL_CACHE"
ROUNDS = 5
"""How often each tile is timed, in turn with the others, so that a slow moment does not fall on one of them."""
OWN_BYTES = 1 << 30
"""Of device memory that a process takes beside its tensors (CUDA's context and libraries), at most."""


@dataclass(frozen=True, slots=True)
class Task:
    """What is tuned. `run`: launches with a tile, answers its outputs. `wrong`: what is wrong with outputs, None if
    nothing is. `default`: the tile that the launcher takes by itself."""

    op: str
    shape: tuple[int, ...]
    device: torch.device
    tiles: Tiles
    default: Tile
    run: Callable[[Tile], Any]
    wrong: Callable[[Any], str | None]


@dataclass(frozen=True, slots=True)
class Tuned:
    """The tile to take, and why; the median seconds of each that was timed, and why others were not."""

    tile: Tile
    why: str
    seconds: Mapping[str, float]
    left_out: Mapping[str, str]


def limits_of(device: torch.device) -> Limits:
    """Those of capability 9.0 from there on, else those of 8.0."""
    return HOPPER if device.type == "cuda" and torch.cuda.get_device_capability(device) >= (9, 0) else AMPERE


def tune(
    task: Task, *, timer: Callable[[Callable[[], Any]], float] | None = None,
    used: Callable[[torch.device], str | None] | None = None, path: Path | None = None, rounds: int = ROUNDS,
) -> Tuned:  # fmt: skip
    """The fastest right tile of `task`, from the cache or measured now.

    `timer`: seconds of one run (None: Triton's, with a cold cache). `used`: who else uses the device (None: `others`).
    A tile that fails to launch or answers wrongly is left out. Asked before, between and after the timings: where the
    device turns out to be used, the default is answered and nothing is kept.
    """
    timer, used, path = timer or _timer, used or others, path or cache_path()
    kept = _read(path).get(_key(task.op, task.shape, task.device))
    if kept is not None and task.tiles.broken(kept) is None:
        return Tuned(kept, f"from {path}", {}, {})
    seconds: dict[str, list[float]] = {}
    left_out: dict[str, str] = {}
    who = used(task.device)
    right: list[dict[str, int]] = []
    for tile in task.tiles.feasible() if who is None else ():
        bad = _wrong(task, tile)
        if bad is None:
            right.append(tile)
        else:
            left_out[_text(tile)] = bad
    for _ in range(rounds):
        for tile in right:
            who = who or used(task.device)
            if who is None:
                seconds.setdefault(_text(tile), []).append(timer(functools.partial(task.run, tile)))
    who = who or used(task.device)
    if who is not None:
        return Tuned(task.default, f"the default: {who}", {}, left_out)
    medians = {tile: statistics.median(times) for tile, times in seconds.items()}
    if not medians:
        return Tuned(task.default, "the default: no feasible tile was right", {}, left_out)
    fastest = min(right, key=lambda tile: medians[_text(tile)])
    _write(path, _key(task.op, task.shape, task.device), fastest)
    best.cache_clear()
    return Tuned(fastest, f"the fastest of {len(medians)}", medians, left_out)


def _wrong(task: Task, tile: Tile) -> str | None:
    try:
        return task.wrong(task.run(tile))
    except Exception as e:  # a tile that does not compile or launch: Triton has no one class for that
        return f"{type(e).__name__}: {e}"


@functools.lru_cache(maxsize=4096)
def best(op: str, shape: tuple[int, ...], device: torch.device) -> Tile | None:
    """What was found for this bucket of shapes, by any process so far; None: nothing. Read once a process."""
    return _read(cache_path()).get(_key(op, shape, device))


def bucket(shape: Sequence[int]) -> tuple[int, ...]:
    """Sizes up to the next powers of two: shapes of one bucket share a tile."""
    return tuple(1 << max(0, n - 1).bit_length() for n in shape)


def cache_path() -> Path:
    """SEARCHD_KERNEL_CACHE, or `searchd/kernels.json` in the user's cache folder."""
    if os.environ.get(CACHE):
        return Path(os.environ[CACHE])
    return cache_folder() / "kernels.json"


def others(device: torch.device) -> str | None:
    """Who uses a CUDA device beside this process, or why that cannot be known; None: nobody.

    Its processes as NVML sees them, and memory that is neither free nor ours: in a container NVML may see no others.
    """
    if device.type != "cuda":
        return f"{device} is no GPU, and what runs there is not known"
    try:
        import pynvml
    except ImportError:
        return "nvidia-ml-py is not installed, so that nobody can say who uses the device: install searchd[energy]"
    try:
        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(device).uuid}")
        pids = {p.pid for p in pynvml.nvmlDeviceGetComputeRunningProcesses(handle)} - {os.getpid()}
    except pynvml.NVMLError as e:
        return f"NVML does not say who uses {device}: {e}"
    if pids:
        return f"process {', '.join(map(str, sorted(pids)))} uses {device}"
    free, total = torch.cuda.mem_get_info(device)
    foreign = total - free - torch.cuda.memory_reserved(device)
    if foreign > OWN_BYTES:
        return f"{foreign >> 20} MiB of {device} are in use beside this process"
    return None


def _timer(run: Callable[[], Any]) -> float:
    from triton.testing import do_bench

    return float(do_bench(run, warmup=5, rep=20, return_mode="median")) / 1e3


@functools.cache
def _place(device: torch.device) -> str:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    try:
        triton = importlib.metadata.version("triton")
    except importlib.metadata.PackageNotFoundError:
        triton = "none"
    return f"{name}|torch {torch.__version__}|triton {triton}{'|interpreted' if interpreting() else ''}"


def _key(op: str, shape: Sequence[int], device: torch.device) -> str:
    return f"{op}|{'x'.join(map(str, bucket(shape)))}|{_place(device)}"


def _text(tile: Tile) -> str:
    return ", ".join(f"{k} {v}" for k, v in tile.items())


def _read(path: Path) -> dict[str, dict[str, int]]:
    """What is kept; nothing where there is no file, or none that can be read (it is a cache)."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return {
        key: tile
        for key, tile in (found.items() if isinstance(found, dict) else ())
        if isinstance(tile, dict) and tile and all(type(v) is int and v > 0 for v in tile.values())
    }


def _write(path: Path, key: str, tile: Tile) -> None:
    """Adds one tile; a reader sees the file before or after, never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = _read(path) | {key: dict(tile)}
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    with os.fdopen(handle, "w") as file:
        json.dump(whole, file, indent=1, sort_keys=True)
    os.replace(name, path)


def main(arguments: Sequence[str]) -> int:
    """`OP SIZE …`: tunes on the first GPU and prints what was found."""
    if len(arguments) < 2 or not all(a.isdecimal() and int(a) for a in arguments[1:]):
        print("usage: python -m kernels._tune OP SIZE [SIZE ...]   (fake_quant: scales, elements of one; exit_gate:"
              " samples, classes; int8_linear: samples, outputs, features;"
              " int8_conv2d: batch, channels, height, width, outputs, kernel's size)", file=sys.stderr)  # fmt: skip
        return 2
    device = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    who = others(device)
    if who is not None:
        print(f"not tuned: {who}", file=sys.stderr)
        return 1
    tuning = importlib.import_module(f"kernels.{arguments[0]}.triton").tuning
    found = tune(tuning(tuple(map(int, arguments[1:])), device))
    for tile, seconds in sorted(found.seconds.items(), key=lambda pair: pair[1]):
        print(f"{seconds * 1e6:9.1f} us  {tile}")
    for tile, why in found.left_out.items():
        print(f"{'left out':>12}  {tile}: {why}")
    print(f"{_text(found.tile)}: {found.why}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
