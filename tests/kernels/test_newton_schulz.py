"""The Newton–Schulz iteration: against float64 and singular values, torch's and a peer's bit for bit, messages."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from kernels.newton_schulz import COEFFICIENTS, EPS, chosen, newton_schulz, reference
from tests.support.kernels import poisoned, strided

SHAPES = [(1, 1), (1, 7), (7, 1), (5, 9), (9, 5), (33, 33), (64, 130), (257, 64), (3, 5, 9), (2, 9, 5)]


def draw(shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_golden() -> None:
    """diag(.9, .3), 5 steps, float64: diag(.753033, 1.133706), by the reference and by the operator."""
    given = torch.diag(torch.tensor([0.9, 0.3], dtype=torch.float64))
    for found in (reference.newton_schulz(given), newton_schulz(given, dtype=torch.float64)):
        assert torch.diagonal(found).tolist() == pytest.approx([0.753033, 1.133706], abs=1e-6)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_it_moves_singular_values_only(shape: tuple[int, ...]) -> None:
    """The reference is U q(S) Vᵀ, q the polynomial a s + b s³ + c s⁵ five times over, by a decomposition in float64."""
    x = draw(shape).double()
    u, s, v = torch.linalg.svd(x, full_matrices=False)
    s = s / s.norm(dim=-1, keepdim=True)
    a, b, c = COEFFICIENTS
    for _ in range(5):
        s = a * s + b * s**3 + c * s**5
    torch.testing.assert_close(reference.newton_schulz(x), (u * s[..., None, :]) @ v, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("dtype", "near"), [(torch.float64, 1e-12), (torch.float32, 1e-4), (torch.bfloat16, 0.05)])
def test_it_is_the_reference(shape: tuple[int, ...], dtype: torch.dtype, near: float) -> None:
    """In each dtype. Its slope at 0 is 3.4445⁵ = 485, so a rounding grows by up to that: 485 · 2^-24 = 3e-5 of a value
    about 1 in float32. In bfloat16 (485 · 2^-9) that is no bound for the smallest singular values; 16 seeds were within
    .04, and a coefficient c that is .1 too large moves something by .05 at least."""
    x = draw(shape, 1)
    with poisoned():
        found = newton_schulz(x, dtype=dtype)
    assert found.dtype == dtype
    assert found.shape == x.shape
    wanted = reference.newton_schulz(x.to(dtype))
    assert float((found.double() - wanted).abs().max()) < near


@pytest.mark.parametrize("shape", [s for s in SHAPES if len(s) == 2], ids=str)
def test_it_is_torchs_bit_for_bit(shape: tuple[int, ...]) -> None:
    """What torch.optim.Muon steps by: the same bits on a CPU, so that trainings of before go on."""
    from torch.optim._muon import _zeropower_via_newtonschulz as theirs

    for seed in range(3):
        x = draw(shape, seed)
        assert torch.equal(newton_schulz(x), theirs(x.clone(), COEFFICIENTS, 5, EPS))


@pytest.mark.parametrize("shape", [(5, 9), (33, 33), (64, 130), (3, 5, 9)], ids=str)
def test_it_is_a_peers_bit_for_bit(shape: tuple[int, ...]) -> None:
    """What pytorch_optimizer's NorMuon steps by, batches too."""
    from pytorch_optimizer.optimizer.utils.matrix import zero_power_via_newton_schulz_5 as theirs

    for seed in range(3):
        x = draw(shape, seed)
        assert torch.equal(newton_schulz(x), theirs(x.clone()))


def test_odd_inputs() -> None:
    """Nothing stays nothing, zeros stay zeros, views give what copies give, the input is not changed, NaN is seen."""
    for shape in ((0, 4), (4, 0), (0, 3, 3)):
        assert newton_schulz(torch.zeros(shape)).shape == shape
    assert not bool(newton_schulz(torch.zeros(3, 5)).any())
    x = draw((20, 30))
    before = x.clone()
    torch.testing.assert_close(newton_schulz(strided(x), dtype=torch.float32), newton_schulz(x, dtype=torch.float32))
    assert torch.equal(x, before)
    x[3, 4] = float("nan")
    assert bool(newton_schulz(x).isnan().all())


def test_the_plain_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """SEARCHD_KERNELS=reference runs float64 and rounds once."""
    x = draw((9, 5))
    monkeypatch.setenv("SEARCHD_KERNELS", "reference")
    assert torch.equal(newton_schulz(x), reference.newton_schulz(x.bfloat16()).bfloat16())


@pytest.mark.parametrize("shape", [(4, 9), (9, 4), (3, 9, 4)], ids=str)
def test_opcheck(shape: tuple[int, ...]) -> None:
    """Schema, fake tensors and dynamic shapes (torch.library.opcheck)."""
    said = (draw(shape), 5, list(COEFFICIENTS), EPS, torch.bfloat16)
    torch.library.opcheck(torch.ops.searchd.newton_schulz.default, said)


@pytest.mark.parametrize(("said", "text"), [
    ({"x": torch.zeros(3)}, r"x is \[3\], but has to be \[R, C\]"),
    ({"x": torch.zeros(3, 3, dtype=torch.int32)}, "has to be of floats: convert it"),
    ({"steps": 0}, "0 steps with 3 coefficients"),
    ({"coefficients": (1.0, 2.0)}, "5 steps with 2 coefficients"),
    ({"dtype": torch.int8}, "use torch.bfloat16"),
])  # fmt: skip
def test_what_does_not_fit_is_told(said: dict[str, Any], text: str) -> None:
    """Shapes, dtypes and numbers: the value, the rule and the remedy."""
    with pytest.raises(ValueError, match=text):
        newton_schulz(**{"x": torch.zeros(3, 3), **said})


def test_who_runs_it_is_said() -> None:
    """On a CPU it is torch, and the chooser says so."""
    assert chosen(torch.zeros(300, 300, dtype=torch.bfloat16)).why == "the tensors are on cpu"
