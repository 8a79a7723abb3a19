"""Golden numbers of ALGORITHMS.md 13.7: double rounding, half up, and the learning rates of its scales."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spaces.errors import SpaceError
from workers.quantizers.double_rounding import double_round, first_scale, restored, scale_rate, shifted, stored

ONE = torch.tensor(0.01, dtype=torch.float64)


@pytest.mark.parametrize(("w", "expected"), [
    (0.37, [37, 9, 2, 1]), (-0.53, [-53, -13, -3, -1]), (1.20, [120, 30, 7, 1]), (-1.40, [-128, -32, -8, -2]),
    (0.079, [8, 2, 1, 0]),
])  # fmt: skip
def test_integers_of_each_width(w: float, expected: list[int]) -> None:
    """s = .01: the integers at 8, 6, 4 and 2 bits; 8 / 16 = .5 goes up, 120 / 16 is clipped from 8 to 7."""
    codes = stored(torch.tensor([w], dtype=torch.float64), ONE)
    assert [shifted(codes, bits).item() for bits in (8, 6, 4, 2)] == expected


def test_rates_of_scales() -> None:
    """ALRS: 1, .5, .1, .05, .01, .005, .001 from 8 bits to 2."""
    assert [scale_rate(b) for b in range(8, 1, -1)] == pytest.approx([1, 0.5, 0.1, 0.05, 0.01, 0.005, 0.001])


@given(st.lists(st.integers(-128, 127), min_size=1, max_size=30), st.sampled_from([2, 3, 4, 5, 6, 7, 8]))
def test_a_shift_is_the_rounding_of_a_quotient(codes: list[int], bits: int) -> None:
    """shifted is clip(floor(c / 2^k + 1/2)), whatever the integer dtype; and restored comes within half a step of it
    where nothing is clipped."""
    c = torch.tensor(codes)
    k = 8 - bits
    expected = torch.floor(c / 2**k + 0.5).clamp(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    low = shifted(c, bits)
    assert torch.equal(low.to(expected.dtype), expected)
    assert torch.equal(shifted(c.to(torch.int8), bits).long(), low)
    free = c < (2 ** (bits - 1) - 1) * 2**k
    off = (restored(low, torch.tensor(1.0), bits) - c).abs()
    assert bool((off[free] <= 2**k / 2).all())


def test_gradients_are_straight_through_and_lsq_for_the_shared_scale() -> None:
    """dQ/dw is 1 inside the range of the width in use and 0 outside; dQ/ds is (q − u) · 2^k inside and q · 2^k
    outside, times 1 / sqrt(N Qp)."""
    w = torch.tensor([[0.30, -0.50, 1.20, -1.40]], dtype=torch.float64, requires_grad=True)
    s = torch.tensor([0.01], dtype=torch.float64, requires_grad=True)
    q = double_round(w, s, 4)
    assert q.tolist()[0] == pytest.approx([0.32, -0.48, 1.12, -1.28])
    q.sum().backward()
    assert w.grad is not None
    assert s.grad is not None
    assert w.grad.tolist() == [[1, 1, 0, 0]]
    inside = (2 - 30 / 16) + (-3 + 50 / 16)
    assert s.grad.item() == pytest.approx((inside + 7 - 8) * 16 / (4 * 7) ** 0.5)


def test_one_scale_serves_all_widths() -> None:
    """Training through widths in turn changes one weight and one scale; the float weights are not needed to switch."""
    w = torch.randn(3, 20, generator=torch.Generator().manual_seed(0))
    s = first_scale(w)
    codes = stored(w, s)
    for bits in (8, 6, 4, 2):
        assert torch.equal(restored(shifted(codes, bits), s, bits), double_round(w, s, bits))
    assert int(codes.abs().max()) == 127


@pytest.mark.parametrize(("bits", "high"), [(1, 8), (9, 8), (4, 32)])
def test_widths_that_cannot_be(bits: int, high: int) -> None:
    """More bits than are stored, or one, are refused with the rule."""
    with pytest.raises(SpaceError, match="2 <= bits <= high"):
        double_round(torch.zeros(2, 2), torch.tensor(1.0), bits, high)
