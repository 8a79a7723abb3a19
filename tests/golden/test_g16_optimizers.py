"""ALGORITHMS 16.2 to the printed digits: steps of the libraries' optimizers, DoG, filters, the norm test."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from workers.optimizers import Roles, build
from workers.optimizers.filters import Grokfast, Noise
from workers.optimizers.mfac import inverse_product
from workers.optimizers.mkor import rank_one
from workers.optimizers.norm_test import NormTest, next_batch

GRADIENTS = [(0.5, -0.1), (0.25, 0.3)]
NONE: dict[str, Any] = {"weight_decay": 0}
STEPS: dict[str, tuple[dict[str, Any], list[tuple[float, float]]]] = {
    "adamw": ({"lr": 1e-2, **NONE}, [(0.99, -1.99), (0.980678, -1.994942)]),
    "adam": ({"lr": 1e-2}, [(0.99, -1.99), (0.980678, -1.994942)]),
    "adamp": ({"lr": 1e-2, **NONE}, [(0.99, -1.99), (0.980678, -1.994942)]),
    "lion": ({"lr": 1e-2, "weight_decay": 0.1}, [(0.989, -1.988), (0.978011, -1.996012)]),
    "adan": ({"lr": 1e-2, **NONE}, [(0.99, -1.99), (0.982805, -1.996134)]),
    "adabelief": ({"lr": 1e-2, **NONE}, [(0.988889, -1.988889), (0.978137, -1.99422)]),
    "lamb": ({"lr": 1e-2, **NONE}, [(0.841866, -1.841906), (0.747692, -1.89183)]),
    "lars": ({"lr": 1.0, **NONE}, [(0.997807, -1.999561), (0.994403, -2.000884)]),
    "exadam": ({"lr": 1e-2, **NONE}, [(0.840478, -1.840551), (0.777193, -1.952731)]),
    "grokfast_adamw": ({"lr": 1e-2, **NONE}, [(0.996667, -1.996667), (0.993363, -1.995477)]),
    "sgdp": ({"lr": 1e-2, "momentum": 0.9, "nesterov": False, **NONE}, [(0.995, -1.999), (0.988, -2.0011)]),
    "adamw_8bit": ({"lr": 1e-2, **NONE}, [(0.99, -1.99), (0.980678, -1.994942)]),
    "adamw_4bit": ({"lr": 1e-2, **NONE}, [(0.99, -1.99), (0.980678, -1.994942)]),
    "adamw_fp8": ({"lr": 1e-2, **NONE}, [(0.99, -1.99), (0.980678, -1.994942)]),
    "blockwise_adam8": ({"lr": 1e-2, **NONE}, [(0.99, -1.99), (0.980678, -1.994942)]),
    "blockwise_adam4": ({"lr": 1e-2, **NONE}, [(0.99, -1.99), (0.980678, -1.994942)]),
    "blockwise_lion8": ({"lr": 1e-2, "weight_decay": 0.1}, [(0.989, -1.988), (0.978011, -1.996012)]),
    "microadam": ({"lr": 1e-2, "density": 1.0, **NONE}, [(0.99, -1.99), (0.980678, -1.994942)]),
}
"""So small a parameter keeps 32 bits in torchao's and ours, so they are AdamW or Lion to the digit; MicroAdam is where
it takes every coordinate."""


def weight() -> nn.Parameter:
    return nn.Parameter(torch.tensor([[1.0, -2.0]]))


@pytest.mark.parametrize("name", STEPS)
def test_the_table_of_steps(name: str) -> None:
    """w0 = (1, −2) as a 1 × 2 matrix, gradients (.5, −.1) then (.25, .3): the values after each, to six digits."""
    hyper, expected = STEPS[name]
    w = weight()
    optimizer = build(name, Roles.of([("blocks.0.weight", w)]), hyper)
    for gradient, after in zip(GRADIENTS, expected, strict=True):
        w.grad = torch.tensor([gradient])
        optimizer.step()
        assert w.detach().flatten().tolist() == pytest.approx(after, abs=1.1e-6)


def test_grokfast_adamw_divides_the_rate_by_one_plus_lambda() -> None:
    """`normalize_lr` off: the first step is the whole lr, as in Grokfast's own filter; on (by default): a third."""
    moved = []
    for normalize in (True, False):
        w = weight()
        optimizer = build("grokfast_adamw", Roles.of([("b.w", w)]), {"lr": 1e-2, **NONE, "normalize_lr": normalize})
        w.grad = torch.tensor([GRADIENTS[0]])
        optimizer.step()
        moved.append(1 - float(w[0, 0].detach()))
    assert moved == pytest.approx([1e-2 / 3, 1e-2], rel=1e-4)


def test_exadam_begins_sixteen_times_as_fast_as_adam() -> None:
    """At equal lr its first step is about 16 of Adam's: the library's range is lower for it."""
    w = weight()
    optimizer = build("exadam", Roles.of([("b.w", w)]), {"lr": 1e-2, **NONE})
    w.grad = torch.tensor([GRADIENTS[0]])
    optimizer.step()
    assert (1 - float(w[0, 0].detach())) / 1e-2 == pytest.approx(15.95, abs=0.01)


def test_lars_leaves_vectors_alone() -> None:
    """A vector takes a plain momentum step, without the trust ratio (1e-3 here), and without weight decay."""
    b = nn.Parameter(torch.tensor([1.0, -2.0]))
    optimizer = build("lars", Roles.of([("blocks.0.bias", b)]), {"lr": 1.0, "weight_decay": 0.5})
    b.grad = torch.tensor(GRADIENTS[0])
    optimizer.step()
    assert b.detach().tolist() == pytest.approx([0.5, -1.9])


def test_dog() -> None:
    """reps 1e-6, ε 1e-8: r̄ = 3.2360680e-6, η = 6.3464513e-6, then 5.0385509e-6. Float64, for the steps are tiny."""
    w = nn.Parameter(torch.tensor([[1.0, -2.0]], dtype=torch.float64))
    optimizer = build("dog", Roles.of([("blocks.0.weight", w)]), {"reps": 1e-6})
    etas = []
    for gradient in GRADIENTS:
        before, w.grad = w.detach().clone(), torch.tensor([gradient], dtype=torch.float64)
        optimizer.step()
        etas.append(float((before - w.detach())[0, 0]) / gradient[0])
    assert etas == pytest.approx([6.3464513e-6, 5.0385509e-6], rel=1e-7)
    assert optimizer.optimizers["optimizer"].state[w]["far"] == pytest.approx(3.2360680e-6, rel=1e-7)


def test_dowg() -> None:
    """η = r̄² / sqrt(Σ r̄² |g|²): the first step equals DoG's, the second by hand."""
    w = nn.Parameter(torch.tensor([[1.0, -2.0]], dtype=torch.float64))
    optimizer = build("dowg", Roles.of([("blocks.0.weight", w)]), {"reps": 1e-2})
    values = [w.detach().clone()]
    for gradient in GRADIENTS:
        w.grad = torch.tensor([gradient], dtype=torch.float64)
        optimizer.step()
        values.append(w.detach().clone())
    squares = [sum(x * x for x in g) for g in GRADIENTS]
    far = 1e-2 * (1 + 5**0.5)
    first = far**2 / (far**2 * squares[0]) ** 0.5
    assert float((values[0] - values[1])[0, 0]) == pytest.approx(0.5 * first, rel=1e-6)
    further = max(far, float((values[1] - values[0]).norm()))
    second = further**2 / (far**2 * squares[0] + further**2 * squares[1]) ** 0.5
    assert float((values[1] - values[2])[0, 0]) == pytest.approx(0.25 * second, rel=1e-6)


def test_polynomial_decay_averaging() -> None:
    """Degree 8: the mean moves by 9 / (t + 8) towards the weights, so the first one is the weights themselves."""
    w = weight()
    optimizer = build("dog", Roles.of([("blocks.0.weight", w)]), {"reps": 1e-1})
    mean = torch.zeros(1, 2)
    for t, gradient in enumerate(GRADIENTS, 1):
        w.grad = torch.tensor([gradient])
        optimizer.step()
        mean = mean + 9 / (t + 8) * (w.detach() - mean)
    trained = w.detach().clone()
    optimizer.eval()
    torch.testing.assert_close(w.detach(), mean)
    optimizer.train()
    assert torch.equal(w.detach(), trained)


def test_newton_schulz() -> None:
    """(3.4445, −4.7750, 2.0315), 5 steps, float64, on diag(.9, .3) over its norm: diag(.753033, 1.133706). It is the
    iteration that NorMuon's steps are made by."""
    from pytorch_optimizer.optimizer.utils.matrix import zero_power_via_newton_schulz_5 as iterate

    given = torch.diag(torch.tensor([0.9, 0.3], dtype=torch.float64))
    found = iterate(given, 5, weights=(3.4445, -4.7750, 2.0315), dtype=torch.float64)
    assert torch.diagonal(found).tolist() == pytest.approx([0.753033, 1.133706], abs=1e-6)


def test_sherman_morrison() -> None:
    """γ = .9, L = diag(2, 1), a = (1, 2): the new inverse, which MKOR keeps; it is (.9 L + .1 a aᵀ)⁻¹."""
    lower, a = torch.diag(torch.tensor([2.0, 1.0], dtype=torch.float64)), torch.tensor([1.0, 2.0], dtype=torch.float64)
    found = rank_one(torch.linalg.inv(lower), a, 0.9)
    assert found.flatten().tolist() == pytest.approx([0.534979, -0.082305, -0.082305, 0.781893], abs=5e-7)
    torch.testing.assert_close(found, torch.linalg.inv(0.9 * lower + 0.1 * torch.outer(a, a)))


def test_mfac() -> None:
    """G = [[1, 0, 2], [0, 1, −1]], λ = .1, x = 1: (λ I + Gᵀ G / 2)⁻¹ x = (1.129032, 1.935484, .322581)."""
    gradients = torch.tensor([[1.0, 0, 2], [0, 1, -1]], dtype=torch.float64)
    found = inverse_product(gradients, torch.ones(3, dtype=torch.float64), 0.1)
    assert found.tolist() == pytest.approx([1.129032, 1.935484, 0.322581], abs=5e-7)


def test_mfac_steps() -> None:
    """The optimizer itself, after the gradients (1, 0, 2) and (0, 1, −1): the second step is by the same G."""
    w = nn.Parameter(torch.zeros(1, 3, dtype=torch.float64))
    optimizer = build("mfac", Roles.of([("blocks.0.weight", w)]), {"lr": 1.0, "momentum": 0.0, "damp": 0.1, **NONE})
    gradients = torch.tensor([[1.0, 0, 2], [0, 1, -1]], dtype=torch.float64)
    for gradient in gradients:
        before = w.detach().clone()
        w.grad = gradient[None]
        optimizer.step()
    dense = torch.linalg.inv(0.1 * torch.eye(3, dtype=torch.float64) + gradients.T @ gradients / 2)
    torch.testing.assert_close(before - w.detach(), (dense @ gradients[1])[None])


def test_grokfast_filter() -> None:
    """α = .98, λ = 2, gradients .5, .25, −.1, the buffer begins as the first: 1.5, 1.24, .8662."""
    p = nn.Parameter(torch.zeros(1, dtype=torch.float64))
    grokfast, found = Grokfast({"grokfast": 2.0, "grokfast_alpha": 0.98}), []
    for gradient in (0.5, 0.25, -0.1):
        p.grad = torch.tensor([gradient], dtype=torch.float64)
        grokfast.apply([p])
        found.append(float(p.grad))
    assert found == pytest.approx([1.5, 1.24, 0.8662], abs=5e-5)


@pytest.mark.parametrize(("eta", "first", "hundredth"), [
    (0.01, 0.1, 0.0282), (0.3, 0.5477, 0.1544), (1.0, 1.0, 0.2818),
])  # fmt: skip
def test_gradient_noise(eta: float, first: float, hundredth: float) -> None:
    """γ = .55: the standard deviations at t = 0 and t = 99, and that of 20,000 draws at t = 0."""
    noise = Noise({"noise": eta, "noise_decay": 0.55})
    assert noise.sd == pytest.approx(first, abs=5e-5)
    torch.manual_seed(0)
    p = nn.Parameter(torch.zeros(20_000))
    p.grad = torch.zeros(20_000)
    noise.apply([p])
    assert float(p.grad.std()) == pytest.approx(first, rel=0.02)
    noise.load_state_dict({"t": 99})
    assert noise.sd == pytest.approx(hundredth, abs=5e-5)


def test_norm_test() -> None:
    """Gradients (1, 0), (.5, .5), (1.5, −.5), (1, .4): mean (1, .1), variance .373333, θ² = .1: next 4."""
    assert next_batch(0.373333, 1.01, 0.1**0.5, 1, 100) == 4
    p, test = nn.Parameter(torch.zeros(2)), NormTest(0.1**0.5, 100)
    assert test.batch(1) == 1
    for gradient in ((1, 0), (0.5, 0.5), (1.5, -0.5), (1, 0.4)):
        p.grad = torch.tensor(gradient, dtype=torch.float32)
        test.see([p])
    assert test.batch(1) == 4
    assert test.batch(1) == 4  # nothing seen since: as it was
    assert next_batch(0.373333, 1.01, 0.1**0.5, 8, 100) == 8  # never smaller
    assert next_batch(1e9, 1.01, 0.1, 8, 64) == 64
