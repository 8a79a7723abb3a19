"""Every kernel beside its peers and a copy of the same bytes; the gate first, then CSV rows on standard output.

    python -P bench/kernels/run.py [--device cpu|cuda] [--only OP …] > bench/kernels/cpu.csv

README.md has the protocol. Exit code 1 when one of ours failed its gate.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # `-P` leaves it out

import torch

from bench.kernels import convolutions, gates, linears, matrices, quantizing, steps
from bench.kernels.rows import Case, Clock, write

Cases = Callable[[torch.device, str], Iterator[Case]]
GROUPS: Mapping[tuple[str, ...], Cases] = {
    ("fake_quant",): quantizing.cases,
    ("lowbit_linear",): linears.cases,
    ("lowbit_linear_int8",): linears.integer_cases,
    ("int8_linear",): linears.int8_cases,
    ("int8_conv2d",): convolutions.cases,
    ("exit_gate",): gates.cases,
    ("blockwise_adam", "blockwise_lion", "multi_tensor"): steps.cases,
    ("newton_schulz",): matrices.cases,
}
OPS = tuple(op for ops in GROUPS for op in ops)
CLOCKS = {"cuda": Clock(rounds=10, seconds=0.05, least=10, warm=5), "cpu": Clock(rounds=5, seconds=0.02, least=3),
          "tiny": Clock(rounds=2, seconds=0.0, least=1, warm=1)}  # fmt: skip


def cases(device: torch.device, size: str, only: tuple[str, ...] = ()) -> Iterator[Case]:
    """The cases of the operators of `only`, of all where it is empty; `size`: cuda, cpu or tiny."""
    for ops, of in GROUPS.items():
        if not only or set(ops) & set(only):
            yield from (case for case in of(device, size) if not only or case.op in only)


def main(argv: list[str] | None = None) -> int:
    """Prints the rows."""
    read = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    read.add_argument("--device", choices=["cpu", "cuda"], default="cuda" if torch.cuda.is_available() else "cpu")
    read.add_argument("--only", nargs="+", choices=OPS, default=[], metavar="OP", help=", ".join(OPS))
    read.add_argument("--size", choices=list(CLOCKS), help="the shapes; tiny: to see that all of it runs  [the device]")
    said = read.parse_args(argv)
    if said.device == "cuda" and not torch.cuda.is_available():
        read.error("torch sees no GPU here: say --device cpu, or install a CUDA build of torch and a driver")
    device, size = torch.device(said.device), said.size or said.device
    if device.type == "cpu":
        torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # of compilers and peers
    return int(write(cases(device, size, tuple(said.only)), device, CLOCKS[size]) > 0)


if __name__ == "__main__":
    raise SystemExit(main())
