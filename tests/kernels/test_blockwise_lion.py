"""Lion over packed moments: against float64 over sizes and bits, the golden steps, messages."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.blockwise_lion import lion
from kernels.blockwise_state import FIRST_8, SECOND_8, dequantize, zeros
from tests.support.steps import SCHEMES, check_lion

EACH = pytest.mark.parametrize("name", ["8", "4"])


@EACH
@given(seed=st.integers(0, 2**32))
@settings(max_examples=8, deadline=None)
def test_a_step_is_the_reference(name: str, seed: int) -> None:
    """Weights as float64 has them, moments the nearest codes of float64's, nothing written beside them: over all sizes
    and shapes in one call."""
    check_lion(name, seed)


@EACH
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(name: str, dtype: torch.dtype) -> None:
    """Weights and gradients of 16 bits: arithmetic in float32, one rounding at the end."""
    check_lion(name, 1, dtype=dtype)


@EACH
def test_strided(name: str) -> None:
    """Weights and gradients that are not contiguous: the same values."""
    check_lion(name, 2, crooked=True)


@EACH
def test_the_plain_way(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """SEARCHD_KERNELS=reference runs the reference itself."""
    monkeypatch.setenv("SEARCHD_KERNELS", "reference")
    check_lion(name, 3)


def test_golden_steps() -> None:
    """Two steps in float64: the golden values of ALGORITHMS 16.2, the moment packed in 8 bits between them."""
    p = torch.tensor([[1.0, -2.0]], dtype=torch.float64)
    m = zeros(p, FIRST_8)
    for gradient, after in (((0.5, -0.1), (0.989, -1.988)), ((0.25, 0.3), (0.978011, -1.996012))):
        lion([p], [torch.tensor([gradient])], [m], lr=1e-2, weight_decay=0.1)
        assert p.flatten().tolist() == pytest.approx(after, abs=1.1e-6)
    assert dequantize(m).flatten().tolist() == pytest.approx([0.00745, 0.00201], rel=0.05)


def test_nan_is_seen() -> None:
    """A gradient of NaN: the weight and its block's moments are NaN, and other blocks are not."""
    for name in ("8", "4"):
        p, g = torch.ones(4, 512), torch.ones(4, 512)
        g[1, 5] = float("nan")
        m = zeros(p, SCHEMES[name][0])
        lion([p], [g], [m], lr=0.1)
        assert int(p.isnan().sum()) == 1
        assert int(dequantize(m).isnan().sum()) == m.scheme.block


@EACH
def test_opcheck(name: str) -> None:
    """The operator changes what its schema says and nothing else (torch.library.opcheck)."""
    first = SCHEMES[name][0]
    params, grads = [torch.rand(5, 60), torch.rand(3, 3)], [torch.rand(5, 60), torch.rand(3, 3)]
    m = [zeros(p, first) for p in params]
    torch.library.opcheck(torch.ops.searchd.blockwise_lion.default, (
        params, grads, [s.codes for s in m], [s.scales for s in m], 0.1, 0.9, 0.99, 0.0, first.bits, first.block,
    ))  # fmt: skip


def test_what_does_not_fit_is_told() -> None:
    """Schemes, shapes and counts: the value, the rule and the remedy."""
    p = torch.zeros(2, 3)
    with pytest.raises(ValueError, match="has both signs: use FIRST_8"):
        lion([p], [p], [zeros(p, SECOND_8)], lr=0.1)
    with pytest.raises(ValueError, match=r"gradient is \[3, 2\]"):
        lion([p], [p.T], [zeros(p, FIRST_8)], lr=0.1)
    with pytest.raises(ValueError, match="there are 2 of the gradient, but 1 weights"):
        lion([p], [p, p], [zeros(p, FIRST_8)], lr=0.1)
    lion([], [], [], lr=0.1)
