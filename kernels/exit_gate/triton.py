"""The exit gate in Triton: one pass over the logits, then the places of those that go on; and rows moved by places.

`gate_kernel` reads each logit once, with a softmax that carries its maximum along (Milakov & Gimelshein, 2018, "Online
normalizer calculation for softmax"), so C has no bound. It counts who goes on, a number a program. `order_kernel` adds
the counts before its own samples: places are ascending, whatever program ends first, without atomics.
"""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels._kernel import Kernel, on
from kernels._tiles import Rule, Tile, Tiles, at_least_a_thread_each, within_registers, within_threads
from kernels._tune import Task, best, limits_of
from kernels.exit_gate import reference

OP = "exit_gate"
WIDEST = 2048
"""Logits of a tile at most."""
SAMPLES = 1024
"""Of one program of `order_kernel`; a multiple of what one of `gate_kernel` takes."""


@triton.jit
def gate_kernel(
    logits, score, prediction, counts, stride, samples, classes, threshold, temperature, log_classes,
    RULE: tl.constexpr, BS: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """Of BS samples: scores, classes, and how many go on. RULE: 0 probability, 1 entropy, 2 margin."""
    i = tl.program_id(0).to(tl.int64) * BS + tl.arange(0, BS)[:, None]
    ours = i < samples
    top = tl.full([BS, 1], float("-inf"), tl.float32)
    second = tl.full([BS, 1], float("-inf"), tl.float32)
    total = tl.zeros([BS, 1], tl.float32)  # Σ exp(z - top)
    weighted = tl.zeros([BS, 1], tl.float32)  # Σ (z - top) exp(z - top)
    best = tl.zeros([BS, 1], tl.int32)
    bad = tl.zeros([BS, 1], tl.int32)
    for first in range(0, classes, BC):
        c = first + tl.arange(0, BC)[None, :]
        there = ours & (c < classes)
        z = tl.load(logits + i * stride + c, mask=there, other=float("-inf")).to(tl.float32)
        z = tl.div_rn(z, temperature)
        wrong = (z != z) | (z == float("inf"))  # noqa: PLR0124  # NaN, that is
        bad = tl.maximum(bad, tl.max(wrong.to(tl.int32), axis=1, keep_dims=True))
        z = tl.where(wrong, float("-inf"), z)
        most = tl.max(z, axis=1, keep_dims=True)
        at = tl.min(tl.where(z == most, c, classes), axis=1, keep_dims=True)
        next_most = tl.max(tl.where(c == at, float("-inf"), z), axis=1, keep_dims=True)
        better = most > top
        second = tl.where(better, tl.maximum(top, next_most), tl.maximum(second, most))
        best = tl.where(better, at, best)
        new = tl.maximum(top, most)
        base = tl.where(new == float("-inf"), 0.0, new)
        shrink = tl.exp(top - base)
        d = z - base
        e = tl.exp(d)
        if RULE == 1:
            moved = weighted + tl.where(total > 0, top - base, 0.0) * total
            weighted = shrink * moved + tl.sum(tl.where(e > 0, d, 0.0) * e, axis=1, keep_dims=True)
        total = shrink * total + tl.sum(e, axis=1, keep_dims=True)
        top = new
    broken = (bad > 0) | (top == float("-inf"))
    total = tl.where(broken, 1.0, total)
    top = tl.where(broken, 0.0, top)
    if RULE == 0:
        found = tl.div_rn(1.0, total)
    elif RULE == 1:
        found = 1.0 - tl.div_rn(tl.log(total) - tl.div_rn(weighted, total), log_classes)
    else:
        found = tl.div_rn(1.0 - tl.exp(second - top), total)
    found = tl.where(broken, 1.0, found)
    tl.store(score + i, found, mask=ours)
    tl.store(prediction + i, tl.where(broken, -1, best).to(tl.int64), mask=ours)
    goes = ours & ~(found >= threshold)
    tl.store(counts + tl.program_id(0), tl.sum(tl.sum(goes.to(tl.int32), axis=1), axis=0))


@triton.jit
def order_kernel(
    score, counts, order, count, samples, programs, threshold, BS: tl.constexpr, BN: tl.constexpr, BT: tl.constexpr
):
    """Places of those of BN samples that go on, after those of the programs before; -1 behind the last of all."""
    pid = tl.program_id(0)
    before = tl.zeros([BT], tl.int32)
    every = tl.zeros([BT], tl.int32)
    for first in range(0, programs, BT):
        p = first + tl.arange(0, BT)
        n = tl.load(counts + p, mask=p < programs, other=0)
        every += n
        before += tl.where(p < pid * (BN // BS), n, 0)
    total = tl.sum(every, axis=0)
    i = pid.to(tl.int64) * BN + tl.arange(0, BN)
    goes = (i < samples) & ~(tl.load(score + i, mask=i < samples, other=0.0) >= threshold)
    place = tl.sum(before, axis=0) + tl.cumsum(goes.to(tl.int32), axis=0) - 1
    tl.store(order + place, i, mask=goes)
    tl.store(order + i, tl.full([BN], -1, tl.int64), mask=(i < samples) & (i >= total))
    if pid == 0:
        tl.store(count, total.to(tl.int64))


@triton.jit
def rows_kernel(source, order, out, columns, tiles, SCATTER: tl.constexpr, BK: tl.constexpr):
    """Row r of `out` is row order[r] of `source`, 0 where that is -1; or SCATTER: row order[r] of `out` is row r."""
    pid = tl.program_id(0)
    r = (pid // tiles).to(tl.int64)
    k = (pid % tiles).to(tl.int64) * BK + tl.arange(0, BK)
    other = tl.load(order + r)
    there = k < columns
    if SCATTER:
        value = tl.load(source + r * columns + k, mask=there)
        tl.store(out + other * columns + k, value, mask=there & (other >= 0))
    else:
        value = tl.load(source + other * columns + k, mask=there & (other >= 0), other=0.0)
        tl.store(out + r * columns + k, value, mask=there)


def tile_of(samples: int, classes: int) -> Tile:  # noqa: ARG001
    """The tile that is taken where none was tuned: a warp's width at least, all classes up to `WIDEST`."""
    wide = min(WIDEST, max(32, triton.next_power_of_2(classes)))
    return {"BS": max(1, min(64, WIDEST // wide)), "BC": wide, "warps": 4}


def tuning(shape: tuple[int, ...], device: torch.device) -> Task:
    """What `kernels._tune` needs: (samples, classes), by entropy, which keeps the most."""
    samples, classes = shape
    limits = limits_of(device)
    logits = torch.randn(samples, classes, device=device) * 3
    score, prediction = reference.score(logits.double(), "entropy"), reference.predicted(logits)
    room = torch.finfo(torch.float32).eps * (10 + math.log2(classes)) * (1 + 2 * float(logits.abs().max()))

    def run(tile: Tile) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return gate(logits, 0.5, 1.0, 1, tile)

    def wrong(found: tuple[Tensor, Tensor, Tensor, Tensor]) -> str | None:
        off = float((found[0].double() - score).abs().max())
        if off > room or not torch.equal(found[1], prediction):
            return f"scores are off by {off:.1e}, or classes differ"
        # The places of its own scores, which may lie on the other side of the threshold by a rounding.
        order, count = reference.order(found[0], 0.5)
        return None if torch.equal(found[2], order) and torch.equal(found[3], count) else "the places differ"

    tiles = Tiles(
        {"BS": (1, 2, 4, 8, 16, 32, 64), "BC": (32, 64, 128, 256, 512, 1024, 2048, 4096), "warps": (1, 2, 4, 8)},
        (
            within_threads(limits, "warps"),
            at_least_a_thread_each("BS", "BC", "warps"),
            within_registers(limits, "BS", "BC", "warps", live=5),
            Rule("it divides what one program orders", ("BS",), lambda rows: SAMPLES % rows == 0),
        ),
    )
    return Task(OP, shape, device, tiles, tile_of(samples, classes), run, wrong)


def gate(
    logits: Tensor, threshold: float, temperature: float, rule: int, tile: Tile | None = None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """score, prediction, order, count of logits [B, C]. `tile`: BS, BC (powers of two, BS at most `SAMPLES`), warps."""
    samples, classes = logits.shape
    count = torch.empty((), dtype=torch.int64, device=logits.device)
    score = torch.empty(samples, dtype=torch.float32, device=logits.device)
    prediction = torch.empty(samples, dtype=torch.int64, device=logits.device)
    order = torch.empty_like(prediction)
    if not samples:
        return score, prediction, order, count.zero_()
    if logits.stride(1) != 1:
        logits = logits.contiguous()
    tile = tile or best(OP, (samples, classes), logits.device) or tile_of(samples, classes)
    bs = tile["BS"]
    programs = triton.cdiv(samples, bs)
    counts = torch.empty(programs, dtype=torch.int32, device=logits.device)
    log_classes = math.log(classes) or 1.0  # one class has entropy 0, whatever it is divided by
    with on(logits):
        gate_kernel[(programs,)](
            logits, score, prediction, counts, logits.stride(0), samples, classes, threshold, temperature, log_classes,
            RULE=rule, BS=bs, BC=tile["BC"], num_warps=tile["warps"],
        )  # fmt: skip
        order_kernel[(triton.cdiv(samples, SAMPLES),)](
            score, counts, order, count, samples, programs, threshold, BS=bs, BN=SAMPLES, BT=1024, num_warps=4,
        )  # fmt: skip
    return score, prediction, order, count


def compact(x: Tensor, order: Tensor) -> Tensor:
    """`reference.compact`."""
    out = torch.empty(order.shape[0], *x.shape[1:], dtype=x.dtype, device=x.device)
    if out.numel():
        _move(x.contiguous(), order, out, scatter=False)
    return out


def scatter(into: Tensor, order: Tensor, rest: Tensor) -> Tensor:
    """`reference.scatter`."""
    out = into.clone(memory_format=torch.contiguous_format)
    if rest.numel():
        _move(rest.contiguous(), order, out, scatter=True)
    return out


def _move(source: Tensor, order: Tensor, out: Tensor, scatter: bool) -> None:
    rows, columns = order.shape[0], math.prod(source.shape[1:])
    wide = min(1024, triton.next_power_of_2(columns))
    tiles = triton.cdiv(columns, wide)
    with on(out):
        rows_kernel[(rows * tiles,)](
            source, order.contiguous(), out, columns, tiles, SCATTER=scatter, BK=wide, num_warps=4
        )


def _gates(dtype: str, bs: int, bc: int) -> tuple[Kernel, ...]:
    sizes = dict.fromkeys(("stride", "samples", "classes"), "i32")
    numbers = dict.fromkeys(("threshold", "temperature", "log_classes"), "fp32")
    types = {"logits": dtype, "score": "*fp32", "prediction": "*i64", "counts": "*i32"} | sizes | numbers
    name = f"gate_{dtype[1:]}_{bc}"
    return tuple(
        Kernel(f"{name}_{rule}", gate_kernel, types, {"RULE": rule, "BS": bs, "BC": bc}, {"num_warps": 4})
        for rule in range(3)
    )


def _rows(dtype: str) -> tuple[Kernel, ...]:
    types = {"source": dtype, "order": "*i64", "out": dtype, "columns": "i32", "tiles": "i32"}
    return tuple(
        Kernel(f"{name}_{dtype[1:]}", rows_kernel, types, {"SCATTER": way, "BK": 1024}, {"num_warps": 4})
        for name, way in (("compact", False), ("scatter", True))
    )


KERNELS = (
    *_gates("*fp32", 64, 32),
    *_gates("*bf16", 1, 2048),
    *_rows("*fp32"),
    *_rows("*fp16"),
    Kernel(
        "order", order_kernel,
        {"score": "*fp32", "counts": "*i32", "order": "*i64", "count": "*i64", "samples": "i32", "programs": "i32",
         "threshold": "fp32"},
        {"BS": 64, "BN": SAMPLES, "BT": 1024}, {"num_warps": 4},
    ),
)  # fmt: skip
