"""Golden numbers of ALGORITHMS.md: G13 (LSQ/STE, ParetoQ, BOPs), G14's exit costs, G16's optimizer steps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from kernels.fake_quant import BINARY, SEQ2, TERNARY, fake_quant, lsq, reference
from spaces.nets import Layer
from workers.optimizers import Roles, build
from workers.tasks.exits import expected_cost, outcomes

W = torch.tensor([-1, -0.6, -0.3, -0.1, 0, 0.1, 0.3, 0.6, 1])
ONE = torch.tensor(1.0)


def test_lsq_gradient_factor() -> None:
    """N = 4096 weights at 4 bits: g = 1 / sqrt(4096 · 7) = 1 / (64 √7) = .0059056949.

    (ALGORITHMS.md 13.8 prints .0059058747, which is not 1 / sqrt(28672): a slip there in the sixth digit.)
    """
    factor = reference.grad_factor(torch.zeros(4096), ONE, lsq(4))
    assert factor == pytest.approx(0.0059056949, abs=1e-10)


def test_lsq_first_scale() -> None:
    """E|w| = .05 at 4 bits: 2 · .05 / sqrt(7) = .0377964473."""
    w = torch.tensor([[0.05, -0.05, 0.1, 0.0], [0.0, 0.0, 0.0, 0.0]], dtype=torch.float64)
    assert reference.lsq_scale(w, lsq(4)).tolist() == pytest.approx([0.0377964473, 0.0], abs=1e-10)


def test_bops_of_four_bits() -> None:
    """A 3 x 3 convolution, 64 to 64 channels on 56 x 56, W4A4: 1,849,688,064 bit operations; a fourth of W8A8's."""
    layer = Layer("l", "conv", 64, 64, 3, 56, 56, 4, reads=(4, ""))
    assert (layer.macs, layer.bops) == (115_605_504, 1_849_688_064)
    assert replace(layer, bits=8, reads=None).bops == 4 * layer.bops


def test_lsq_three_bits() -> None:
    """LSQ at 3 bits and a = 1/3 gives −1, −2/3, −1/3, 0, 0, 0, 1/3, 2/3, 1."""
    expected = torch.tensor([-3, -2, -1, 0, 0, 0, 1, 2, 3]) / 3
    torch.testing.assert_close(fake_quant(W, ONE / 3, lsq(3)), expected, rtol=0, atol=1e-7)


def test_lsq_straight_through() -> None:
    """d/dw is 1 inside and 0 outside; d/ds is q − w/s inside, Qn or Qp outside, times g."""
    w = torch.tensor([-2.0, -0.3, 0.2, 1.5], requires_grad=True)
    s = torch.tensor(0.125, requires_grad=True)
    fake_quant(w, s, lsq(4)).sum().backward()
    assert w.grad is not None
    assert s.grad is not None
    assert w.grad.tolist() == [0, 1, 1, 0]
    inside = (-2 + 0.3 / 0.125) + (2 - 0.2 / 0.125)
    assert s.grad.item() == pytest.approx((-8 + inside + 7) / (4 * 7) ** 0.5, rel=1e-5)


def test_paretoq_two_bits() -> None:
    """SEQ at 2 bits, a = 1: four levels, and 0 goes to +.25 because −.5 rounds half to even to −0."""
    q = fake_quant(W, ONE, SEQ2)
    assert q.tolist() == [-0.75, -0.75, -0.25, -0.25, 0.25, 0.25, 0.25, 0.75, 0.75]


def test_paretoq_ternary() -> None:
    """Ternary, a = 1: .3 · 1.5 = .45 rounds to 0, .6 to 2/3."""
    expected = torch.tensor([-2, -2, 0, 0, 0, 0, 0, 2, 2]) / 3
    torch.testing.assert_close(fake_quant(W, ONE, TERNARY), expected, rtol=0, atol=1e-7)


def test_binary_has_two_levels() -> None:
    """Binary, a = 1: the sign, and 0 goes to +1, not to a third level."""
    assert fake_quant(W, ONE, BINARY).tolist() == [-1, -1, -1, -1, 1, 1, 1, 1, 1]


def test_expected_cost() -> None:
    """P = (.4, .35, .25), c = (3, 6, 10) gives 5.8; conditional rates .5, .6, 1 over segments 3, 3, 4 give 5.3."""
    assert expected_cost([0.4, 0.35, 0.25], [3, 6, 10]) == pytest.approx(5.8)
    rates = [0.5, 0.5 * 0.6, 0.5 * 0.4]
    assert expected_cost(rates, [3, 6, 10]) == pytest.approx(5.3)
    reach = [1, 0.5, 0.5 * 0.4]
    assert sum(r * s for r, s in zip(reach, [3, 3, 4], strict=True)) == pytest.approx(5.3)


def test_exit_rule_on_hand_made_confidences() -> None:
    """The first exit at or above the threshold answers; the last always does."""
    confidence = np.array([[0.9, 0.9], [0.4, 0.8], [0.6, 0.3], [0.2, 0.1]])
    right = np.array([[True, False], [False, True], [False, True], [True, True]])
    at_half = outcomes(confidence, right, 0.5)
    assert at_half.rates == (0.5, 0.5)
    assert at_half.error == pytest.approx(25.0)  # only the third sample leaves early and wrong


STEPS = {
    "adamw": ({"lr": 1e-2, "weight_decay": 0}, [(0.99, -1.99), (0.980678, -1.994942)]),
    "lion": ({"lr": 1e-2, "weight_decay": 0.1}, [(0.989, -1.988), (0.978011, -1.996012)]),
    "adan": ({"lr": 1e-2, "weight_decay": 0}, [(0.99, -1.99), (0.982805, -1.996134)]),
}


@pytest.mark.parametrize("name", STEPS)
def test_optimizer_steps(name: str) -> None:
    """w0 = (1, −2), gradients (.5, −.1) then (.25, .3): the parameters after each step, to the printed digits."""
    hyper, expected = STEPS[name]
    w = nn.Parameter(torch.tensor([[1.0, -2.0]]))
    optimizer = build(name, Roles.of([("blocks.0.weight", w)]), hyper)
    for gradient, after in zip([(0.5, -0.1), (0.25, 0.3)], expected, strict=True):
        w.grad = torch.tensor([gradient])
        optimizer.step()
        assert w.detach().flatten().tolist() == pytest.approx(after, abs=2e-6)


def test_sgd_nesterov_by_hand() -> None:
    """m = μ m + g; w −= η (g + μ m)."""
    w = nn.Parameter(torch.tensor([[1.0, -2.0]]))
    optimizer = build("sgd", Roles.of([("blocks.0.weight", w)]), {"lr": 0.1, "momentum": 0.9, "weight_decay": 0})
    for gradient in ((0.5, -0.1), (0.25, 0.3)):
        w.grad = torch.tensor([gradient])
        optimizer.step()
    first = np.array([1, -2]) - 0.1 * 1.9 * np.array([0.5, -0.1])
    m = 0.9 * np.array([0.5, -0.1]) + np.array([0.25, 0.3])
    second = first - 0.1 * (np.array([0.25, 0.3]) + 0.9 * m)
    assert w.detach().flatten().tolist() == pytest.approx(second.tolist(), abs=1e-6)


def test_muon_orthogonalises() -> None:
    """A gradient diag(.9, .3) moves a weight by lr · diag(.753033, 1.133706): near 1, not 1.

    Tolerance: torch runs the iteration in bfloat16 (8 bits of mantissa, 5 steps of a slope up to 3.4): 3 %.
    """
    w = nn.Parameter(torch.zeros(2, 2))
    optimizer = build("muon", Roles.of([("blocks.0.weight", w)]), {"lr": 1.0, "momentum": 0.0, "weight_decay": 0})
    w.grad = torch.diag(torch.tensor([0.9, 0.3]))
    optimizer.step()
    torch.testing.assert_close(-w.detach(), torch.diag(torch.tensor([0.753033, 1.133706])), rtol=0.03, atol=0.03)
