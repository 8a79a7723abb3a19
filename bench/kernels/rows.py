"""From cases to rows: the gate first, then all implementations of a case in turns, each beside a copy of its bytes.

A case is one operator at one shape; a provider is one way to run it here. A provider whose answer is not what the
reference in float64 says, within the tolerance that its gate gives the reason for, is written as failed and not timed.
"""

from __future__ import annotations

import csv
import gc
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from importlib.util import find_spec
from typing import Any, TextIO

import torch
from torch import Tensor

Run = Callable[[], Any]
Wrong = Callable[[Any], str | None]
EAGER, COPY = "torch eager", "copy"
COLD_BYTES = 256 << 20
"""Written before each timed run on a GPU, so that nothing of the last one is in its cache: above any that there is."""
AHEAD_CYCLES = 2_000_000
"""Of the GPU's clock, about a millisecond, that it then waits: what Python takes to launch is not in the time, but for
a run that waits for the device itself."""


@dataclass(frozen=True, slots=True)
class Provider:
    """One implementation. `ready`: imports, packs and compiles what it needs, and answers a call without arguments;
    an error in there is told as the provider's. `wrong`: what is wrong with what that call answered, None where nothing
    is. `bytes`: what it has to move, where its storage is not the case's. `note`: who runs it, and why."""

    name: str
    ready: Callable[[], Run]
    wrong: Wrong
    note: str = ""
    bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """One operator at one shape. `bytes`: what no implementation can do without reading or writing. `against`: the
    provider that the last column compares with. `absent`: those that are not here, and why."""

    op: str
    shape: str
    dtype: str
    bits: str
    bytes: int
    providers: Sequence[Provider]
    against: str = EAGER
    absent: Sequence[tuple[str, str]] = field(default_factory=tuple)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. `status`: ok, failed (at the gate), absent. `ms`: the median; `spread`: the middle half of
    the times over the median. `of_copy`: the copy's time over this one's, 1 as fast as memory. `faster`: the time of
    `against` over this one's."""

    op: str
    shape: str
    dtype: str
    bits: str
    device: str
    provider: str
    status: str
    ms: float | None
    spread: float | None
    bytes: int | None
    gb_s: float | None
    of_copy: float | None
    faster: float | None
    against: str
    note: str


@dataclass(frozen=True, slots=True)
class Clock:
    """How times are taken: `rounds` turns through all providers of a case, each running for `seconds` or `least`
    times."""

    rounds: int = 7
    seconds: float = 0.01
    least: int = 3
    warm: int = 2


def rows(case: Case, device: torch.device, clock: Clock) -> Iterator[Row]:
    """The rows of a case: its providers that did not pass; those that did, timed; a copy of the case's bytes; those
    that are not here. A provider that moves another number of bytes has a copy of its own beside it, without a row."""
    passed: list[tuple[Provider, Run]] = []
    head = (case.op, case.shape, case.dtype, case.bits, device_name(device))
    for provider in case.providers:
        run, bad = gated(provider)
        if run is None:
            yield Row(*head, provider.name, "failed", None, None, None, None, None, None, case.against, str(bad))
        else:
            passed.append((provider, run))
    sizes = sorted({case.bytes, *(provider.bytes or case.bytes for provider, _ in passed)})
    found = timed([run for _, run in passed] + [copy(n, device) for n in sizes], device, clock)
    medians = [statistics.median(times) for times in found]
    copies = dict(zip(sizes, medians[len(passed) :], strict=True))
    names = [provider.name for provider, _ in passed]
    base = medians[names.index(case.against)] if case.against in names else None

    def row(name: str, at: int, count: int, note: str) -> Row:
        ms = medians[at]
        return Row(
            *head, name, "ok", _short(ms), _short(spread(found[at])), count, _short(count / ms / 1e6),
            _short(copies[count] / ms), None if base is None else _short(base / ms), case.against, note,
        )  # fmt: skip

    for i, (provider, _) in enumerate(passed):
        yield row(provider.name, i, provider.bytes or case.bytes, provider.note)
    yield row(COPY, len(passed) + sizes.index(case.bytes), case.bytes, "half read, half written")
    for name, why in case.absent:
        yield Row(*head, name, "absent", None, None, None, None, None, None, case.against, why)


def gated(provider: Provider) -> tuple[Run | None, str | None]:
    """(how to run a provider, None), or (None, what is wrong): an error of its own counts as wrong."""
    try:
        run = provider.ready()
        bad = provider.wrong(run())
    except Exception as error:  # another project's code: there is no one class for what it raises
        return None, f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}"
    return (run, None) if bad is None else (None, bad)


def timed(runs: Sequence[Run], device: torch.device, clock: Clock) -> list[list[float]]:
    """Milliseconds of each run, in turns, so that a slow moment of the machine does not fall on one of them."""
    once = _on_cuda(device) if device.type == "cuda" else _on_cpu
    for run in runs:
        for _ in range(clock.warm):
            once(run)
    found: list[list[float]] = [[] for _ in runs]
    gc.collect()
    gc.disable()
    try:
        for turn in range(clock.rounds):
            for at in range(len(runs)):
                i = (at + turn) % len(runs)
                end, count = time.perf_counter() + clock.seconds, 0
                while count < clock.least or time.perf_counter() < end:
                    found[i].append(once(runs[i]))
                    count += 1
    finally:
        gc.enable()
    return found


def _on_cpu(run: Run) -> float:
    start = time.perf_counter_ns()
    run()
    return (time.perf_counter_ns() - start) / 1e6


def _on_cuda(device: torch.device) -> Callable[[Run], float]:
    flush = torch.empty(COLD_BYTES, dtype=torch.uint8, device=device)

    def once(run: Run) -> float:
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        flush.zero_()
        torch.cuda._sleep(AHEAD_CYCLES)  # type: ignore[no-untyped-call]
        begin.record()
        run()
        end.record()
        end.synchronize()
        return float(begin.elapsed_time(end))

    return once


def copy(count: int, device: torch.device) -> Run:
    """A copy that moves `count` bytes: half of them read, half written."""
    source = torch.zeros(max(1, count // 2), dtype=torch.uint8, device=device)
    into = torch.empty_like(source)
    return lambda: into.copy_(source)


def spread(times: Sequence[float]) -> float:
    """The middle half of the times over their median."""
    if len(times) < 2:
        return 0.0
    low, middle, high = statistics.quantiles(times, n=4)
    return (high - low) / middle


def device_name(device: torch.device) -> str:
    """As the rows say it."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def missing(*packages: str) -> list[tuple[str, str]]:
    """Rows for the packages that are not installed."""
    return [(name, "not installed") for name in packages if find_spec(name) is None]


def there(package: str) -> bool:
    """Whether a package can be imported."""
    return find_spec(package) is not None


def apart(found: Tensor, wanted: Tensor, share: float, why: str) -> str | None:
    """What is wrong where the whole of `found` is further from `wanted` than `share` of it (Frobenius norms)."""
    if found.shape != wanted.shape:
        return f"its shape is {list(found.shape)}, not {list(wanted.shape)}"
    worst = float((found.detach().double() - wanted).norm() / wanted.norm().clamp_min(1e-30))
    return None if worst <= share else f"off by {worst:.2e} of its norm, {share:.2e} allowed ({why})"


def off(found: Tensor, wanted: Tensor, allowed: float, why: str) -> str | None:
    """What is wrong where `found` is further than `allowed` from `wanted` anywhere, or not finite; `why`: the reason
    for the bound."""
    if found.shape != wanted.shape:
        return f"its shape is {list(found.shape)}, not {list(wanted.shape)}"
    worst = float((found.detach().double() - wanted.double()).abs().max()) if wanted.numel() else 0.0
    return None if worst <= allowed else f"off by {worst:.2e}, {allowed:.2e} allowed ({why})"


def write(cases: Iterable[Case], device: torch.device, clock: Clock, to: TextIO | None = None) -> int:
    """Every case's rows as CSV, to standard output if not elsewhere; how many of ours failed their gate."""
    to = to or sys.stdout
    out = csv.DictWriter(to, [f.name for f in fields(Row)], lineterminator="\n")
    out.writeheader()
    bad = 0
    for case in cases:
        for one in rows(case, device, clock):
            bad += one.provider == "ours" and one.status == "failed"
            out.writerow({k: "" if v is None else v for k, v in asdict(one).items()})
            to.flush()
    return bad


def _short(value: float) -> float:
    """Four digits."""
    return float(f"{value:.4g}")
