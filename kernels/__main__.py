"""`python -m kernels`: for each operator, who runs it on this machine's best device, and why. One line each."""

from __future__ import annotations

import importlib

import torch

from kernels._choose import OPS, explain
from kernels._kernel import packages


def main() -> int:
    """Prints the lines; 0, or 2 where SEARCHD_KERNELS asks for what cannot be had."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    worst, folders = 0, packages()
    for name in folders:
        importlib.import_module(f"kernels.{name}")
    names = sorted({*folders, *OPS})  # a folder may have several
    width = max(map(len, names))
    for name in names:
        if name not in OPS:
            print(f"{name:<{width}}  torch      it has one implementation")
            continue
        try:
            choice = explain(name, device)
            print(f"{name:<{width}}  {choice.provider:<9}  {choice.why}")
        except RuntimeError as e:
            worst = 2
            print(f"{name:<{width}}  none       {e}")
    return worst


if __name__ == "__main__":
    raise SystemExit(main())
