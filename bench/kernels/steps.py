"""Optimizer steps over packed and 32-bit states: ours, torch's, torchao's and bitsandbytes'.

A step's bytes are those that no implementation can do without (weight read and written, gradient read, states read and
written), so whoever goes over memory twice shows as a lower share of the copy. The gate of each: two steps over small
tensors; the first is AdamW's or Lion's in float64, to what packed moments allow (they are 0 then, which is exact).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module

import torch
from torch import Tensor, nn

from bench.kernels.rows import Case, Provider, missing, there
from kernels import multi_tensor
from kernels._choose import Choice, choose
from kernels.blockwise_state import SMALLEST, chosen
from workers.optimizers.packed import KINDS, Packed

Step = Callable[[], object]
Make = Callable[[list[nn.Parameter]], Step]
"""From weights with gradients to a call that takes one step of them, by LR, DECAY and the usual betas."""
LR, DECAY, BETAS = 0.01, 0.1, (0.9, 0.99)
FOREACH = "torch foreach"
MANY = tuple(shape for _ in range(32) for shape in ((1024, 1024), (4096, 1024), (1024, 4096), (1024,), (4096,), (64,)))
"""192 tensors, 96 of them small: 288 Mi weights."""
FEW = tuple(shape for _ in range(4) for shape in ((128, 256), (512, 128), (256,), (1024,), (64,)))
SMALL = tuple((n,) for _ in range(40) for n in (64, 256, 1024))
SETS = {
    "cuda": {"large": ((8192, 8192),), "many": MANY, "small": SMALL},
    "cpu": {"large": ((1024, 1024),), "many": FEW, "small": SMALL},
    "tiny": {"large": ((64, 80),), "small": ((5,), (7, 3))},
}  # fmt: skip
"""One matrix far above a GPU's caches (64 Mi weights), a network's tensors, its norms and biases alone."""
OURS = {
    "blockwise_adam8": ("blockwise_adam", 8), "blockwise_adam4": ("blockwise_adam", 4),
    "blockwise_lion8": ("blockwise_lion", 8),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Who:
    """An implementation. `states`: whose bytes its states have, as `moved` takes it."""

    name: str
    make: Make
    states: str
    note: str = ""


def cases(device: torch.device, size: str) -> Iterator[Case]:
    """Each optimizer over each set of weights, in float32, on a GPU in bfloat16 too."""
    dtypes = (torch.float32, torch.bfloat16) if device.type == "cuda" else (torch.float32,)
    for name in OURS:
        for of in ("large", "many"):
            for dtype in dtypes if of in SETS[size] else ():
                yield packed(name, of, SETS[size][of], dtype, device)
    for dtype in dtypes:
        yield plain(SETS[size]["small"], dtype, device)


def packed(name: str, of: str, shapes: Sequence[tuple[int, ...]], dtype: torch.dtype, device: torch.device) -> Case:
    """Steps over states of 8 or 4 bits."""
    op, bits = OURS[name]
    choice = why(name, made(shapes, dtype, device))
    who = [Who("ours", ours(name), name, f"{choice.provider}: {choice.why}"), foreach(), *peers(name, device)]
    lion = KINDS[name].second is None
    absent = missing("bitsandbytes", *([] if lion else ["torchao"]))
    if there("bitsandbytes") and device.type != "cuda":
        absent.append(("bitsandbytes", "its optimizers want an accelerator"))
    return _case(op, bits, of, shapes, dtype, device, who, name, absent)


def plain(shapes: Sequence[tuple[int, ...]], dtype: torch.dtype, device: torch.device) -> Case:
    """AdamW over the 32-bit states of many small tensors, in one launch where there is a GPU."""
    choice = choose("multi_tensor", *made(shapes, dtype, device))

    def fused(params: list[nn.Parameter]) -> Step:
        return torch.optim.AdamW(params, lr=LR, betas=BETAS, weight_decay=DECAY, fused=True).step

    def compiled(params: list[nn.Parameter]) -> Step:
        step = torch.optim.AdamW(
            params, lr=LR, betas=BETAS, weight_decay=DECAY, foreach=True, capturable=device.type == "cuda"
        ).step
        return torch.compile(step)

    who = [
        Who("ours", together, "wide", f"{choice.provider}: {choice.why}"), foreach(), Who("torch fused", fused, "torch")
    ]  # fmt: skip
    who.append(Who("torch.compile", compiled, "torch", "torch's AdamW compiled"))
    return _case("multi_tensor", 32, "small", shapes, dtype, device, who, "wide", [])


def _case(
    op: str, bits: int, of: str, shapes: Sequence[tuple[int, ...]], dtype: torch.dtype, device: torch.device,
    who: Sequence[Who], states: str, absent: list[tuple[str, str]],
) -> Case:  # fmt: skip
    like = made(shapes, dtype, device)
    total = sum(p.numel() for p in like)

    def provider(one: Who) -> Provider:
        lion = one.name != FOREACH and op == "blockwise_lion"
        return Provider(
            one.name, lambda: one.make(made(shapes, dtype, device)), lambda _: gate(one.make, device, lion=lion),
            one.note, moved(like, one.states),
        )  # fmt: skip

    shape = f"{of}: {len(shapes)} of {total} weights"
    return Case(
        op, shape, str(dtype).removeprefix("torch."), str(bits), moved(like, states), [provider(w) for w in who],
        FOREACH, absent,
    )  # fmt: skip


def made(shapes: Sequence[tuple[int, ...]], dtype: torch.dtype, device: torch.device) -> list[nn.Parameter]:
    """Weights with gradients, the same at every call."""
    g = torch.Generator().manual_seed(0)
    params = []
    for shape in shapes:
        p = nn.Parameter(torch.randn(shape, generator=g).to(device, dtype))
        p.grad = (torch.randn(shape, generator=g) * 1e-2).to(device, dtype)
        params.append(p)
    return params


def moved(params: Sequence[Tensor], states: str) -> int:
    """The bytes that a step has to move: weight twice, gradient once, each state twice. `states`: a name of `KINDS`,
    `wide` (two of float32), or `torch` (AdamW's two in the weights' dtype)."""
    total = 0
    for p in params:
        n, own = p.numel(), p.element_size()
        total += 3 * n * own
        kind = KINDS.get(states)
        if kind is None or n < SMALLEST:
            wide = own * 2 if states == "torch" else 4 * (2 if kind is None or kind.second else 1)
            total += 2 * n * wide
            continue
        for scheme in (kind.first, kind.second):
            if scheme is not None:
                block = scheme.of(p.shape).block
                scales = -(-n // block) if block else p.shape[0] + n // p.shape[0]
                total += 2 * (n * scheme.bits // 8 + 4 * scales)
    return total


def gate(make: Make, device: torch.device, *, lion: bool) -> str | None:
    """What is wrong with two steps at this place, None when nothing is."""
    shapes = [(64, 80), (5000,), (37,), (4096,)]
    params, exact = made(shapes, torch.float32, device), made(shapes, torch.float64, torch.device("cpu"))
    step = make(params)
    step()
    for p, q in zip(params, exact, strict=True):
        g = torch.zeros_like(q) if q.grad is None else q.grad
        way = g.sign() if lion else g / (g.abs() + 1e-8)
        wanted = q.detach() * (1 - LR * DECAY) - LR * way
        worst = float((p.detach().cpu().double() - wanted).abs().max())
        if not worst < 1e-5:
            return f"the first step over {list(p.shape)} is off by {worst:.1e}, but 1e-5 is allowed"
    step()
    return None if all(bool(p.isfinite().all()) for p in params) else "the second step is not finite"


def why(name: str, params: Sequence[Tensor]) -> Choice:
    """Who runs ours."""
    kind, grads = KINDS[name], [p.grad for p in params if p.grad is not None]
    if kind.second is None:
        return chosen("blockwise_lion", params, grads, kind.first)
    return chosen("blockwise_adam", params, grads, kind.first, kind.second)


def ours(name: str) -> Make:
    """As a study has it."""
    kind = KINDS[name]
    return lambda params: Packed([{"params": params, "weight_decay": DECAY}], kind, lr=LR, betas=BETAS).step


def together(params: list[nn.Parameter]) -> Step:
    """`multi_tensor.adamw`, with float32 states."""
    grads = [p.grad for p in params if p.grad is not None]
    m, v = ([torch.zeros_like(p, dtype=torch.float32) for p in params] for _ in range(2))
    count = [0]

    def step() -> None:
        count[0] += 1
        multi_tensor.adamw(
            params, grads, m, v, count[0], lr=LR, beta1=BETAS[0], beta2=BETAS[1], weight_decay=DECAY
        )  # fmt: skip

    return step


def foreach() -> Who:
    """What the others are compared with: torch's AdamW, in its moments' 32 bits (those of the weights' dtype)."""
    return Who(FOREACH, lambda params: torch.optim.AdamW(
        params, lr=LR, betas=BETAS, weight_decay=DECAY, foreach=True
    ).step, "torch", "AdamW")  # fmt: skip


def peers(name: str, device: torch.device) -> Iterator[Who]:
    """Those that are here."""
    cuda = device.type == "cuda"
    if there("torchao") and name != "blockwise_lion8":

        def torchao(params: list[nn.Parameter]) -> Step:
            kinds = import_module("torchao.optim")
            kind = kinds.AdamW8bit if name == "blockwise_adam8" else kinds.AdamW4bit
            step: Step = kind(params, lr=LR, betas=BETAS, weight_decay=DECAY).step
            return step if cuda else _eager(step)

        yield Who("torchao", torchao, name, "compiled" if cuda else "eager")
    if there("bitsandbytes") and cuda and name != "blockwise_adam4":

        def bitsandbytes(params: list[nn.Parameter]) -> Step:
            optim = import_module("bitsandbytes.optim")
            kind = optim.AdamW8bit if name == "blockwise_adam8" else optim.Lion8bit
            step: Step = kind(params, lr=LR, betas=BETAS, weight_decay=DECAY, min_8bit_size=SMALLEST).step
            return step

        yield Who("bitsandbytes", bitsandbytes, name)


def _eager(step: Step) -> Step:
    """torchao compiles its step; not here."""

    def run() -> None:
        with torch.compiler.set_stance("force_eager"):
            step()

    return run
