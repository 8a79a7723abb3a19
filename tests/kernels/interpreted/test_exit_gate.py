"""The Triton kernels of exit_gate, interpreted: scores to roundings, places, classes and rows exactly."""

from __future__ import annotations

import math

import pytest
import torch

from kernels._tiles import Tile
from kernels.exit_gate import NONE, RULES, compact, exit_gate, reference, scatter, triton
from tests.support.kernels import close, poisoned, runs_in_triton, strided

SHAPES = [(1, 1), (1, 7), (5, 2), (37, 10), (3, 130), (70, 33), (0, 3)]
NARROW = {"BS": 2, "BC": 16, "warps": 1}
"""Several tiles of samples and of classes: with the smaller shapes, for it has a program for two samples."""
SMALL = {"BS": 2, "BC": 2, "warps": 1}


def drawn(seed: int, samples: int, classes: int) -> torch.Tensor:
    return torch.randn(samples, classes, generator=torch.Generator().manual_seed(seed)) * 3


def apart(score: torch.Tensor) -> float:
    """A threshold in the middle of the widest gap between two scores: roundings move nobody across it."""
    values = score.double().sort().values
    gaps = values.diff()
    return float(values[gaps.argmax()] + gaps.max() / 2) if len(gaps) else 0.5


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(
    ("shape", "tile"), [(s, None) for s in SHAPES] + [(s, NARROW) for s in ((1, 1), (5, 2), (3, 130), (7, 33), (0, 3))]
)
def test_gate(rule: str, shape: tuple[int, int], tile: Tile | None) -> None:
    """Scores are the float64 reference's up to the roundings of z (its size enters exp), exp, and the sum; classes and
    places are its own: contiguous, strided, over memory that holds NaN."""
    logits = drawn(1, *shape)
    runs_in_triton("exit_gate", logits)
    for temperature in (1.0,) if tile else (2.5,):
        exact = reference.score(logits.double(), rule, temperature)
        threshold = apart(exact)
        order, count = reference.order(exact, threshold)
        for given in (logits, strided(logits)):
            with poisoned():
                found = triton.gate(given, threshold, temperature, RULES.index(rule), tile)
            largest = 1 + 2 * float(logits.abs().max()) if logits.numel() else 1.0
            close(found[0], exact, roundings=8 + math.log2(shape[1]), size=largest)
            assert torch.equal(found[1], reference.predicted(logits))
            assert torch.equal(found[2], order)
            assert torch.equal(found[3], count)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("threshold", [-math.inf, 0.0, 1.0, 2.0])
def test_all_or_none(rule: str, threshold: float) -> None:
    """Thresholds that all reach, or none, in batches that end within a program."""
    with poisoned():
        gate = exit_gate(drawn(2, 41, 6), threshold, rule)
    wanted = list(range(41)) if threshold >= 1 else []
    assert gate.going().tolist() == wanted
    assert gate.order.tolist() == wanted + [NONE] * (41 - len(wanted))


def test_many_samples() -> None:
    """More samples than one program orders, with counts of several before them."""
    logits = drawn(3, 2 * triton.SAMPLES + 7, 3)
    exact = reference.score(logits.double(), "margin")
    threshold = apart(exact[:50])
    near = (exact - threshold).abs() < 1e-5
    logits[near] = 0.0
    order, count = reference.order(reference.score(logits.double(), "margin"), threshold)
    with poisoned():
        found = triton.gate(logits, threshold, 1.0, 2)
    assert torch.equal(found[2], order)
    assert torch.equal(found[3], count)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("tile", [None, SMALL])
def test_not_finite(rule: str, tile: Tile | None) -> None:
    """NaN and infinity anywhere in a row, in the first tile or a later one, are as sure as can be and say no class."""
    inf, nan = float("inf"), float("nan")
    rows = [[nan, 0, 1, 2, 3], [0, 1, 2, 3, nan], [inf, 0, 0, 0, 0], [0, 0, 0, inf, 0], [-inf] * 5]
    fine = [[-inf, 1, -inf, -inf, 0.5], [-inf, -inf, -inf, 2, -inf], [100, -100, 0, 0, 0], [0, 0, 0, 0, 0.0]]
    logits = torch.tensor(rows + fine)
    with poisoned():
        found = triton.gate(logits, 0.5, 1.0, RULES.index(rule), tile)
    exact = reference.score(logits.double(), rule)
    assert found[0][: len(rows)].tolist() == [1.0] * len(rows)
    close(found[0], exact, roundings=12, size=1.0)  # 1 less a share: of the 1
    assert found[1].tolist() == [NONE] * len(rows) + [1, 3, 0, 0]
    assert torch.equal(found[1], reference.predicted(logits))


def test_ties() -> None:
    """The first of the largest is the class, in one tile and across tiles; its equal makes the margin 0."""
    logits = torch.tensor([[1.0, 3.0, 0.0, 3.0, 3.0], [2.0] * 5])
    for tile in (None, SMALL):
        found = triton.gate(logits, 0.5, 1.0, 2, tile)
        assert found[1].tolist() == [1, 0]
        assert found[0].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype: torch.dtype) -> None:
    """Half logits are scored in float32."""
    logits = drawn(4, 9, 7).to(dtype)
    with poisoned():
        gate = exit_gate(logits, 0.5, "entropy")
    close(gate.score, reference.score(logits.double(), "entropy"), roundings=11, size=1 + 2 * float(logits.abs().max()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("shape", [(5,), (5, 1), (5, 3, 2), (5, 1030), (5, 0)])
def test_rows(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    """Rows moved by places are those rows, zeros for NONE, and the others as they were; gradients go the same ways."""
    g = torch.Generator().manual_seed(5)
    x, rest = (torch.randn(n, *shape[1:], generator=g).to(dtype) for n in (5, 4))
    order = torch.tensor([0, 2, 4, NONE])
    runs_in_triton("exit_gate", x)
    with poisoned():
        for given in (x, strided(x)):
            assert torch.equal(compact(given, order), reference.compact(x, order))
            assert torch.equal(scatter(given, order, strided(rest)), reference.scatter(x, order, rest))
        leaf, later = x.clone().requires_grad_(), rest.clone().requires_grad_()
        scatter(leaf, order, later).backward(x)
        assert leaf.grad is not None
        assert later.grad is not None
        assert torch.equal(leaf.grad, reference.scatter(x, order, torch.zeros_like(rest)))
        assert torch.equal(later.grad, reference.compact(x, order))
        leaf.grad = None
        compact(leaf, order).backward(rest)
        assert torch.equal(leaf.grad, reference.scatter(torch.zeros_like(x), order, rest))


def test_opcheck() -> None:
    """Schema, fake tensors, autograd registration and dynamic shapes hold where the kernels run."""
    logits = drawn(6, 9, 7)
    torch.library.opcheck(torch.ops.searchd.exit_gate.default, (logits, 0.5, 1.5, 1))
    order = torch.tensor([1, 4, NONE])
    x, rest = (torch.randn(n, 2, 3, requires_grad=True) for n in (9, 3))
    torch.library.opcheck(torch.ops.searchd.exit_compact.default, (x, order))
    torch.library.opcheck(torch.ops.searchd.exit_scatter.default, (x, order, rest))


def test_no_threshold_is_compiled_in() -> None:
    """Thresholds and temperatures are arguments: a sweep over them compiles nothing."""
    for kernel in triton.KERNELS:
        assert not {"threshold", "temperature"} & set(kernel.constants)
