"""What steps over packed moments are held to, whoever runs them: float64, the nearest code, nothing else written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from kernels import blockwise_adam, blockwise_lion, multi_tensor
from kernels.blockwise_state import FIRST_4, FIRST_8, SECOND_4, SECOND_8, Scheme, State, quantize, reference
from tests.support.kernels import close, poisoned, strided

SIZES = [0, 1, 127, 129, 1023, 1025, 4095, 4096]
SHAPES: list[tuple[int, ...]] = [*((n,) for n in SIZES), (), (3, 5), (17, 259), (64, 64), (4, 3, 3, 3), (1, 301),
                                 (301, 1), (0, 3), (3, 0)]  # fmt: skip
"""Odd ones, one value, none, one row, one column, more dimensions; with and without a last block that is shorter."""
FEW: list[tuple[int, ...]] = [(0,), (1,), (129,), (1025,), (), (3, 5), (5, 259), (4, 3, 3, 3), (3, 0)]
"""Some of each kind, for what does not depend on how many blocks there are."""
SCHEMES: dict[str, tuple[Scheme, Scheme]] = {
    "8": (FIRST_8, SECOND_8), "4": (FIRST_4, SECOND_4), "4blocks": (FIRST_4, replace(SECOND_4, block=128)),
}  # fmt: skip
HYPER: dict[str, Any] = {"lr": 0.01, "beta1": 0.8, "beta2": 0.95, "weight_decay": 0.1}
EPS = 1e-8
STEP = 3


def bent(t: Tensor) -> Tensor:
    """Not contiguous, where that can be."""
    return strided(t) if t.dim() else t


def normal(shape: Sequence[int], g: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=g)


@dataclass(slots=True)
class Room:
    """Tensors inside larger ones, so that what is written beside them is seen. `shift`: values before each; one that is
    no multiple of 4 puts float32 at addresses that are no multiples of 16 bytes."""

    shift: int
    kept: list[tuple[Tensor, Tensor, int]]

    def inside(self, t: Tensor) -> Tensor:
        around = torch.full((t.numel() + self.shift + 40,), 77, dtype=t.dtype)
        view = around[self.shift : self.shift + t.numel()].view(t.shape)
        view.copy_(t)
        self.kept.append((around, view, t.numel()))
        return view

    def state(self, s: State) -> State:
        return replace(s, codes=self.inside(s.codes), scales=self.inside(s.scales))

    def check(self) -> None:
        for around, _, count in self.kept:
            assert bool((around[: self.shift] == 77).all()), "something was written before a tensor"
            assert bool((around[self.shift + count :] == 77).all()), "something was written after a tensor"


def nearest(state: State, exact: Tensor, size: Tensor) -> None:
    """The state is `exact` (float64) packed: each scale the largest value, each value the nearest that its scale has,
    up to 8 roundings of float32 of the terms `size` (two products and a sum, and their three constants, come to 6)."""
    block = state.scheme.block
    loose = 8 * 2.0**-24
    wanted, bound = (reference.scales_of(t.float(), block).double() for t in (exact, size))
    assert bool(((state.scales.double() - wanted).abs() <= loose * bound + 1e-37).all()), "a scale is not the largest"
    if not exact.numel():
        return
    back = reference.dequantize(state.codes, state.scales, exact.shape, state.scheme).double()
    by = reference.divisors(state.scales, exact.shape, block).double()
    # Never all 256 candidates of all values at once: the reference's own code and its neighbours.
    table = reference.table(state.scheme, exact).double()
    code = reference.nearest((exact / torch.where(by == 0, 1.0, by)).float(), table.float())
    around = torch.stack([code - 1, code, code + 1]).clamp(0, len(table) - 1)
    best = (table[around] * by - exact).abs().amin(0)
    # 1e-6 of a value: where a code may be the other one of two that are as near (kernels/blockwise_state/codes.py).
    off = (back - exact).abs() > best + 2e-6 * by + loose * size
    assert not bool(off.any()), f"{int(off.sum())} of {off.numel()} values are not the nearest"


def adam_size(p: Tensor, m: Tensor, v: Tensor, g: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The absolute terms of weights, m and v after a step, in float64: what roundings are relative to."""
    g, beta1, beta2 = g.double(), HYPER["beta1"], HYPER["beta2"]
    of_m, of_v = beta1 * m.double().abs() + (1 - beta1) * g.abs(), beta2 * v.double() + (1 - beta2) * g * g
    root = (of_v / (1 - beta2**STEP)).sqrt() + EPS
    return p.double().abs() + HYPER["lr"] * of_m / (1 - beta1**STEP) / root, of_m, of_v


def roundings(dtype: torch.dtype) -> float:
    """Of weights after a step: some 16 float32 operations (division and root are good to 2 units each); in half
    precision the one at the end, which Triton's interpreter truncates: 2, and 1 for what the operations bring."""
    return 24 if dtype == torch.float32 else 3


def draw(shapes: Sequence[tuple[int, ...]], dtype: torch.dtype, seed: int, room: Room,
         crooked: bool) -> tuple[list[Tensor], list[Tensor]]:  # fmt: skip
    g = torch.Generator().manual_seed(seed)
    place = bent if crooked else room.inside
    params = [place(normal(s, g).to(dtype)) for s in shapes]
    return params, [(bent(t) if crooked else t) for t in (normal(s, g).to(dtype) for s in shapes)]


def check_adam(
    name: str, seed: int, shapes: Sequence[tuple[int, ...]] = SHAPES, dtype: torch.dtype = torch.float32,
    shift: int = 32, *, crooked: bool = False,
) -> None:  # fmt: skip
    """A step of `blockwise_adam` over all `shapes` at once from random moments."""
    first, second = SCHEMES[name]
    room, g = Room(shift, []), torch.Generator().manual_seed(seed + 1)
    params, grads = draw(shapes, dtype, seed, room, crooked)
    firsts = [room.state(quantize(normal(s, g) ** 3, first)) for s in shapes]
    seconds = [room.state(quantize((normal(s, g) ** 3).square(), second)) for s in shapes]
    exact, size = [], []
    for p, d, m, v in zip(params, grads, firsts, seconds, strict=True):
        exact.append(blockwise_adam.reference.adamw(
            p, d, m.codes, m.scales, v.codes, v.scales, first, second, STEP, eps=EPS, **HYPER,
        ))  # fmt: skip
        back = [reference.dequantize(s.codes, s.scales, p.shape, s.scheme) for s in (m, v)]
        size.append(adam_size(p, *back, d))
    with poisoned():
        blockwise_adam.adamw(params, grads, firsts, seconds, STEP, eps=EPS, **HYPER)
    room.check()
    for p, m, v, (new, m64, v64), (of_p, of_m, of_v) in zip(params, firsts, seconds, exact, size, strict=True):
        close(p, new, roundings(dtype), of_p)
        nearest(m, m64, of_m)
        nearest(v, v64, of_v)
        if m.scheme.bits == 4 and p.numel() % 2:
            assert int(m.codes[-1]) >> 4 == int(v.codes[-1]) >> 4 == 0, "the half that no value has is not 0"


def check_lion(
    name: str, seed: int, shapes: Sequence[tuple[int, ...]] = SHAPES, dtype: torch.dtype = torch.float32,
    shift: int = 32, *, crooked: bool = False,
) -> None:  # fmt: skip
    """A step of `blockwise_lion` over all `shapes` at once from a random moment."""
    first = SCHEMES[name][0]
    room, g = Room(shift, []), torch.Generator().manual_seed(seed + 1)
    params, grads = draw(shapes, dtype, seed, room, crooked)
    firsts = [room.state(quantize(normal(s, g) ** 3, first)) for s in shapes]
    exact = [
        blockwise_lion.reference.lion(p, d, m.codes, m.scales, first, **HYPER)
        for p, d, m in zip(params, grads, firsts, strict=True)
    ]
    back = [reference.dequantize(m.codes, m.scales, torch.Size(m.shape), first).double().abs() for m in firsts]
    before = [p.double() for p in params]
    with poisoned():
        blockwise_lion.lion(params, grads, firsts, **HYPER)
    room.check()
    for p, m, (new, m64), old, was, d in zip(params, firsts, exact, back, before, grads, strict=True):
        # A sign is right or wrong: where β1 m and (1 − β1) g cancel to a rounding it may be either.
        b = HYPER["beta1"]
        clear = (b * old - (1 - b) * d.double().abs()).abs() > 1e-6 * (b * old)
        close(torch.where(clear, p, 0), torch.where(clear, new, 0), roundings(dtype), was.abs() + HYPER["lr"])
        nearest(m, m64, HYPER["beta2"] * old + (1 - HYPER["beta2"]) * d.double().abs())


def check_multi_tensor(
    seed: int, shapes: Sequence[tuple[int, ...]] = SHAPES, dtype: torch.dtype = torch.float32, shift: int = 32, *,
    crooked: bool = False, lion: bool = False,
) -> None:  # fmt: skip
    """A step of `multi_tensor` over all `shapes` at once from random 32-bit moments."""
    room, g = Room(shift, []), torch.Generator().manual_seed(seed + 1)
    params, grads = draw(shapes, dtype, seed, room, crooked)
    place = bent if crooked else room.inside
    firsts = [place(normal(s, g)) for s in shapes]
    seconds = [place(normal(s, g).square()) for s in shapes]
    size = [adam_size(p, m, v, d) for p, m, v, d in zip(params, firsts, seconds, grads, strict=True)]
    run = list(zip(params, grads, firsts, seconds, strict=True))
    with poisoned():
        if lion:
            exact = [(*multi_tensor.reference.lion(p.double(), d, m, **HYPER), v.clone()) for p, d, m, v in run]
            multi_tensor.lion(params, grads, firsts, **HYPER)
        else:
            exact = [multi_tensor.reference.adam(p.double(), d, m, v, STEP, eps=EPS, **HYPER) for p, d, m, v in run]
            multi_tensor.adamw(params, grads, firsts, seconds, STEP, eps=EPS, **HYPER)
    room.check()
    for (p, d, m, v), (new, m64, v64), (of_p, of_m, of_v) in zip(run, exact, size, strict=True):
        close(p, new, roundings(dtype), of_p + HYPER["lr"])
        # Two products and a sum, and three constants: 6 at most.
        close(m, m64, 6, of_m + d.double().abs())
        close(v, v64, 6, of_v)

