"""int8_linear: the operator against float64, its error against the plain product, gradients, messages."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.int8_linear import _integers, int8_linear, quantize, reference


def draw(seed: int, b: int, n: int, k: int, dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    x, w, bias = (torch.randn(*shape, generator=g) for shape in ((b, k), (n, k), (n,)))
    if k > 2:
        x[:, 1] *= 20  # an outlier
    codes, scales = quantize(w)
    return {"x": x.to(dtype), "codes": codes, "scales": scales.to(dtype), "kept": w.to(dtype), "bias": bias.to(dtype)}


SHAPES = [(1, 1, 1), (1, 2, 1), (3, 5, 7), (17, 9, 130), (0, 3, 5), (2, 3, 0), (2, 0, 3), (2, 3, 2500)]


@pytest.mark.parametrize(("b", "n", "k"), SHAPES)
@pytest.mark.parametrize("kept", [True, False])
def test_operator_equals_reference(b: int, n: int, k: int, kept: bool) -> None:
    """Float32 against float64, with and without the float weight and outliers. The codes of x are the same in both but
    where float32 lands on the other side of a tie; the integer sums are exact."""
    args: dict[str, Any] = draw(1, b, n, k)
    if not kept:
        args["kept"] = None
    for threshold in (6.0, 0.0):
        found = int8_linear(**args, threshold=threshold)
        exact = reference.linear(**args, threshold=threshold)
        torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=1e-4)


@given(b=st.integers(1, 5), n=st.integers(1, 5), k=st.integers(1, 20), seed=st.integers(0, 2**32))
@settings(max_examples=50, deadline=None)
def test_the_error_is_bounded_by_the_steps(b: int, n: int, k: int, seed: int) -> None:
    """|y − x Wᵀ| <= Σ over the inliers of (s_x / 2 · |w| + s_w / 2 · |x| + s_x s_w / 4); outliers add nothing."""
    args = draw(seed, b, n, k, torch.float64)
    x, w = args["x"], args["kept"]
    codes, scales = quantize(w)
    inliers = ~reference.outliers(x, 6.0)
    _, _, sx = reference.integers(x, codes, 6.0)
    xi, wi, half, half_w = x[:, inliers].abs(), w[:, inliers].abs(), sx[:, None] / 2, scales / 2
    bound = half * wi.sum(1) + xi.sum(1)[:, None] * half_w + half * half_w * int(inliers.sum())
    found = int8_linear(x, codes, scales, w)
    assert bool(((found - x @ w.T).abs() <= bound + 1e-9).all())


@given(a=st.integers(0, 3), b=st.integers(0, 3), k=st.integers(0, 2200), seed=st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_integer_sums_are_exact(a: int, b: int, k: int, seed: int) -> None:
    """The operator's int32 sums are the integers', with codes at their ends and more columns than float32 can add."""
    g = torch.Generator().manual_seed(seed)
    x, w = (torch.randint(120, 128, (n, k), generator=g).to(torch.int8) for n in (a, b))
    x *= 1 - 2 * (torch.rand(x.shape, generator=g) < 0.01).to(torch.int8)
    assert torch.equal(_integers(x, w).long(), x.long() @ w.long().T)


def test_outliers_keep_their_precision() -> None:
    """A feature of 20 beside features of 1: with the decomposition the error is a tenth of that without, or less."""
    args = draw(2, 16, 8, 64, torch.float64)
    exact = args["x"] @ args["kept"].T
    args.pop("bias")
    with_, without = (float((int8_linear(**args, threshold=t) - exact).square().mean().sqrt()) for t in (6.0, 0.0))
    assert with_ < without / 5


def test_gradients() -> None:
    """d/dx is the dequantized weight's, d/dbias the sum; x may be a view and have more dimensions."""
    args = draw(3, 6, 4, 10)
    x, bias = args["x"].view(2, 3, 10).transpose(0, 1).requires_grad_(), args["bias"].requires_grad_()
    y = int8_linear(x, args["codes"], args["scales"], None, bias)
    grad = torch.randn(y.shape, generator=torch.Generator().manual_seed(4))
    y.backward(grad)
    assert x.grad is not None
    assert bias.grad is not None
    w = args["codes"].float() * args["scales"][:, None]
    torch.testing.assert_close(x.grad, grad @ w)
    torch.testing.assert_close(bias.grad, grad.sum((0, 1)))


def test_what_is_not_finite_is_seen() -> None:
    """NaN or ∞ in a sample makes its answers not finite, and nobody else's but by ∞ · 0."""
    args = draw(5, 3, 2, 5)
    args["x"][1, 0] = float("nan")
    assert int8_linear(**args).isnan().tolist() == [[False] * 2, [True] * 2, [False] * 2]
    args["x"][1, 0] = float("inf")
    assert not bool(int8_linear(**args)[1].isfinite().any())
    assert not bool(int8_linear(**args, threshold=0.0)[1].isfinite().any())


def test_half_precision_and_rows_of_zeros() -> None:
    """bfloat16 in and out; a weight row and a sample of zeros answer 0."""
    args = draw(6, 3, 2, 40)
    args["kept"][1] = args["x"][2] = args["bias"][:] = 0
    args["codes"], args["scales"] = quantize(args["kept"])
    y = int8_linear(**{k: v if k == "codes" else v.bfloat16() for k, v in args.items()})
    assert y.dtype == torch.bfloat16
    assert y[2].tolist() == [0, 0]
    assert y[:, 1].tolist() == [0, 0, 0]
    assert float(y[0, 0]) == pytest.approx(float(args["x"][0] @ args["kept"][0]), abs=0.5)


@pytest.mark.parametrize("optional", [True, False])
def test_opcheck(optional: bool) -> None:
    """Schema, fake tensors, autograd registration and dynamic shapes hold (torch.library.opcheck)."""
    a = draw(7, 4, 5, 9)
    more = (a["kept"], a["bias"].requires_grad_()) if optional else (None, None)
    torch.library.opcheck(
        torch.ops.searchd.int8_linear.default, (a["x"].requires_grad_(), a["codes"], a["scales"], *more, 6.0)
    )


@pytest.mark.parametrize(("changed", "text"), [
    ({"x": torch.zeros(2, 7, dtype=torch.int64)}, "has to be .* of floats"),
    ({"x": torch.zeros(2, 8)}, r"need \[N, 8\] of torch.int8"),
    ({"codes": torch.zeros(3, 7)}, "make them with quantize"),
    ({"scales": torch.ones(3, 1)}, r"scales is \[3, 1\].* needs \[3\]"),
    ({"kept": torch.ones(3, 6)}, r"kept is \[3, 6\].* needs \[3, 7\]"),
    ({"bias": torch.ones(3, dtype=torch.int32)}, "bias is .* of floats"),
    ({"threshold": -1.0}, "0 .no outliers. or above"),
    ({"threshold": float("nan")}, "0 .no outliers. or above"),
    ({"scales": torch.ones(3, device="meta")}, "move them to x's"),
])  # fmt: skip
def test_what_does_not_fit_is_told(changed: dict[str, Any], text: str) -> None:
    """Shapes, dtypes and devices: the value, the rule and the remedy."""
    with pytest.raises(ValueError, match=text):
        int8_linear(**{**draw(8, 2, 3, 7), **changed})
