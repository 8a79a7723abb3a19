"""Optimizer steps: ours, torch's, torchao's and bitsandbytes', each beside a copy of as many bytes as it has to move.

`rows` gives what a table of kernels takes in; `python -m bench.kernels.optimizers [--device cuda]` prints them as CSV.
Gate first: ours takes a step that is compared with float64, and a red gate gives no row. A step's bytes are those that
no implementation can do without (weight read and written, gradient read, states read and written), so whoever goes over
memory twice shows as a lower share of the copy.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from importlib.util import find_spec

import torch
from torch import Tensor, nn

from kernels._choose import Choice
from kernels.blockwise_state import SMALLEST, chosen
from workers.optimizers.packed import KINDS, Packed

Step = Callable[[], object]
LARGE = ((8192, 8192),)
"""64 Mi weights: far above every cache."""
MANY = tuple(shape for _ in range(32) for shape in ((1024, 1024), (4096, 1024), (1024, 4096), (1024,), (4096,), (64,)))
"""192 tensors, 96 of them small: 288 Mi weights."""


@dataclass(frozen=True, slots=True)
class Row:
    """One measured step. `share`: the copy's time over the step's, 1 as fast as memory; `why`: who ran it, and why."""

    op: str
    who: str
    tensors: int
    weights: int
    dtype: str
    ms: float
    gb_s: float
    share: float
    why: str


def timed(step: Step, device: torch.device, times: int) -> float:
    """The median in ms of `times` calls after 3 to warm up."""
    for _ in range(3):
        step()
    found = []
    for _ in range(times):
        if device.type == "cuda":
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            step()
            end.record()
            end.synchronize()
            found.append(begin.elapsed_time(end))
        else:
            start = time.perf_counter()
            step()
            found.append((time.perf_counter() - start) * 1e3)
    return statistics.median(found)


def copy_ms(count: int, device: torch.device, times: int) -> float:
    """A copy that moves `count` bytes: half of them read, half written."""
    source = torch.zeros(count // 2, dtype=torch.uint8, device=device)
    into = torch.empty_like(source)
    return timed(lambda: into.copy_(source), device, times)


def made(shapes: Sequence[tuple[int, ...]], dtype: torch.dtype, device: torch.device) -> list[nn.Parameter]:
    """Weights with gradients, the same at every call."""
    g = torch.Generator().manual_seed(0)
    params = []
    for shape in shapes:
        p = nn.Parameter(torch.randn(shape, generator=g).to(device, dtype))
        p.grad = (torch.randn(shape, generator=g) * 1e-2).to(device, dtype)
        params.append(p)
    return params


def moved(params: Sequence[Tensor], name: str) -> int:
    """The bytes that a step has to move: weight twice, gradient once, each state twice."""
    total = 0
    for p in params:
        n, own = p.numel(), p.element_size()
        total += 3 * n * own
        kind = KINDS.get(name)
        if kind is None or n < SMALLEST:  # 32 bits (torch's AdamW: the weights' dtype)
            total += 2 * n * (own * 2 if kind is None else 4 * (2 if kind.second else 1))
            continue
        for scheme in (kind.first, kind.second):
            if scheme is not None:
                block = scheme.of(p.shape).block
                scales = -(-n // block) if block else p.shape[0] + n // p.shape[0]
                total += 2 * (n * scheme.bits // 8 + 4 * scales)
    return total


def gate(name: str, device: torch.device) -> str | None:
    """What is wrong with two steps of ours at this place, None when nothing is: AdamW or Lion in float64, to what the
    packed moments allow (at the first step they are 0, which is exact; a rounding of weights at the second, 1 code)."""
    shapes = [(64, 80), (5000,), (37,), (4096,)]
    params, plain = made(shapes, torch.float32, device), made(shapes, torch.float64, torch.device("cpu"))
    ours = Packed([{"params": params, "weight_decay": 0.1}], KINDS[name], lr=0.01, betas=(0.9, 0.99))
    ours.step()
    for p, q in zip(params, plain, strict=True):
        g = torch.zeros_like(q) if q.grad is None else q.grad
        way = g.sign() if KINDS[name].second is None else g / (g.abs() + 1e-8)
        wanted = q.detach() * (1 - 0.001) - 0.01 * way
        worst = float((p.detach().cpu().double() - wanted).abs().max())
        if not worst < 1e-5:
            return f"the first step of {name} over {list(p.shape)} is off by {worst:.1e}, but 1e-5 is allowed"
    ours.step()
    if not all(bool(p.isfinite().all()) for p in params):
        return f"the second step of {name} is not finite"
    return None


def why(name: str, params: Sequence[Tensor]) -> Choice:
    """Who runs ours."""
    kind, grads = KINDS[name], [p.grad for p in params if p.grad is not None]
    if kind.second is None:
        return chosen("blockwise_lion", params, grads, kind.first)
    return chosen("blockwise_adam", params, grads, kind.first, kind.second)


def peers(params: list[nn.Parameter], device: torch.device) -> Iterator[tuple[str, str, Step, str]]:
    """(op, who, step, moments as): what can be imported here. `moments as`: the name whose bytes have to move."""
    yield "adamw32", "torch foreach", torch.optim.AdamW(params, foreach=True).step, "torch"
    yield "adamw32", "torch fused", torch.optim.AdamW(params, fused=True).step, "torch"
    if find_spec("torchao"):
        from torchao.optim import AdamW4bit, AdamW8bit

        for op, kind, same in (("adamw8", AdamW8bit, "blockwise_adam8"), ("adamw4", AdamW4bit, "blockwise_adam4")):
            step = kind(params).step
            if device.type == "cuda":  # it compiles its step
                yield op, "torchao compiled", step, same
            else:
                def eager(step: Step = step) -> None:
                    with torch.compiler.set_stance("force_eager"):
                        step()

                yield op, "torchao eager", eager, same
    if find_spec("bitsandbytes") and device.type == "cuda":
        import bitsandbytes as bnb

        yield "adamw8", "bitsandbytes", bnb.optim.AdamW8bit(params, min_8bit_size=SMALLEST).step, "blockwise_adam8"
        yield "lion8", "bitsandbytes", bnb.optim.Lion8bit(params, min_8bit_size=SMALLEST).step, "blockwise_lion8"


OURS = {"blockwise_adam8": "adamw8", "blockwise_adam4": "adamw4", "blockwise_lion8": "lion8"}


def rows(
    device: torch.device | str, shapes: Sequence[tuple[int, ...]], dtype: torch.dtype = torch.float32, times: int = 50
) -> Iterator[Row]:
    """A row for each implementation of each step over weights of `shapes`; RuntimeError where ours is wrong."""
    device = torch.device(device)

    def row(op: str, who: str, step: Step, params: list[nn.Parameter], count: int, said: str) -> Row:
        ms = timed(step, device, times)
        copied = copy_ms(count, device, times)
        return Row(
            op, who, len(params), sum(p.numel() for p in params), str(dtype).removeprefix("torch."), round(ms, 4),
            round(count / ms / 1e6, 1), round(copied / ms, 3), said,
        )  # fmt: skip

    for name, op in OURS.items():
        wrong = gate(name, device)
        if wrong is not None:
            raise RuntimeError(f"no row, for {wrong}")
        params = made(shapes, dtype, device)
        choice = why(name, params)
        step = Packed([{"params": params}], KINDS[name]).step
        yield row(op, "ours", step, params, moved(params, name), f"{choice.provider}: {choice.why}")
    params = made(shapes, dtype, device)
    for op, who, step, same in peers(params, device):
        yield row(op, who, step, params, moved(params, same), "")


def main() -> None:
    """Rows as CSV on standard output."""
    read = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    read.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    read.add_argument("--times", type=int, default=50)
    read.add_argument("--small", action="store_true", help="1 Mi weights in 1 tensor, and 20 tensors: for a CPU")
    said = read.parse_args()
    sets = (((1024, 1024),), MANY[:20]) if said.small else (LARGE, MANY)
    out = csv.DictWriter(sys.stdout, [f.name for f in fields(Row)], lineterminator="\n")
    out.writeheader()
    dtypes = (torch.float32,) if said.small else (torch.float32, torch.bfloat16)
    for shapes in sets:
        for dtype in dtypes:
            for one in rows(said.device, shapes, dtype, said.times):
                out.writerow(asdict(one))
                sys.stdout.flush()


if __name__ == "__main__":
    main()
