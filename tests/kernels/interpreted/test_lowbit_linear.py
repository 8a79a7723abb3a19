"""lowbit_linear's Triton kernels, interpreted: against the reference in float64, every width, format and kernel."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from kernels.lowbit_linear import Format, lowbit_linear, reference, triton
from tests.support.kernels import close, poisoned, runs_in_triton, strided
from tests.support.lowbit import FORMATS, draw, lopsided

WHOLE = [(1, 5, 7, 0), (2, 67, 300, 0), (5, 3, 1030, 0)]
GROUPED = [(1, 9, 2100, 1024), (1, 7, 520, 128), (2, 5, 300, 128), (1, 6, 300, 64)]
TILED = [(3, 5, 33, 5), (6, 3, 65, 0)]
SMALL = [(1, 1, 1, 0), (1, 4, 8, 8), (17, 70, 40, 16), (0, 3, 5, 0), (2, 0, 5, 0), (2, 3, 0, 0)]
"""Samples, outputs, inputs, group: odd, of size 1, empty, at both sides of where the kernels change."""
EVERY = [(f, s) for i, f in enumerate(FORMATS) for s in (WHOLE[i % 3], GROUPED[i // 2 % 4], TILED[i // 2 % 2])]
"""Every format with each kernel (planes of whole rows, planes of groups, tiles); every shape with four formats or more,
of both kinds. A width is a constant of the kernels and a shape their argument: no product of the two is needed."""
HOWS: list[dict[str, Any]] = [{"splits": 1}, {"splits": 3}, {"splits": 100}, {"tiled": True}]
"""A row divided among programs, or not, and tiles of floats."""
DIVIDED = [
    (f, group, HOWS[(i + j) % 4]) for i, f in enumerate(FORMATS[::5]) for j, group in enumerate((0, 64, 256, 0))
] + [(f, 24, {}) for f in FORMATS[::5]]
"""A Latin square: every format with every division, every group with every division, every format with every group. In
groups of 24 rows are never divided."""


def check(found: torch.Tensor, args: list[Any], form: Format, group: int, relu: bool) -> None:
    """Half a step of an input in three bytes is max|x| / 2^24, one rounding of float32 of max|x|; so each product errs
    by a rounding of |s| · max|v| · max|x|, and sums of K by K of them, two for the products and the sum; a few
    at the end."""
    x, planes, scales, bias = args
    k, half = x.shape[-1], found.dtype != torch.float32
    exact = reference.linear(x, planes, scales, bias, bipolar=form.bipolar, group=group, relu=relu)
    some = k and found.numel()
    size = scales.double().abs().amax() * form.most * x.double().abs().amax() if some else 0
    at = torch.as_tensor(size) * max(1, k) + (0 if bias is None else bias.double().abs())
    if half:  # the rounding at the end, which is a cut where the interpreter makes bfloat16 (two halves), and sums
        close(found, exact, 3, at * torch.finfo(torch.float32).eps / torch.finfo(found.dtype).eps * 2)
    else:
        close(found, exact, 4, at)


@pytest.mark.parametrize(("form", "shape"), EVERY + [(f, s) for f in FORMATS[::5] for s in SMALL], ids=str)
def test_kernels_equal_the_reference(form: Format, shape: tuple[int, int, int, int]) -> None:
    """Every shape with what its chooser takes, bias and ReLU or neither."""
    args = draw(sum(shape), form, shape)
    runs_in_triton("lowbit_linear", args[0])
    relu = form.bits % 2 == 0
    if not relu:
        args[3] = None
    with poisoned():
        found = lowbit_linear(*args, bipolar=form.bipolar, group=shape[3], relu=relu)
    check(found, args, form, shape[3], relu)


@pytest.mark.parametrize(("form", "group", "how"), DIVIDED, ids=str)
def test_both_kernels_and_every_division(form: Format, group: int, how: dict[str, Any]) -> None:
    """Two programs of rows, several of columns: all of them the reference."""
    args = draw(form.bits, form, (1, 66, 1100, group))
    with poisoned():
        found = triton.linear(*args, bipolar=form.bipolar, group=group, relu=True, **how)
    check(found, args, form, group, relu=True)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("shape", [(2, 5, 300, 128), (20, 7, 64, 16)], ids=str)
def test_half_precision(dtype: torch.dtype, shape: tuple[int, int, int, int]) -> None:
    """Half precisions in and out, sums in float32."""
    form = Format(4, bipolar=False)
    args = draw(3, form, shape, dtype)
    with poisoned():
        found = lowbit_linear(*args, bipolar=False, group=shape[3])
    assert found.dtype == dtype
    check(found, args, form, shape[3], relu=False)


def test_a_small_stretch_beside_a_large_one_keeps_its_digits() -> None:
    """The step is a stretch's own: inputs of 1e-6 in one group are seen to 24 bits beside inputs of 1e6 in another."""
    form = Format(8, bipolar=False)
    args, second = lopsided(form)
    check(lowbit_linear(*args, bipolar=False, group=256), second, form, 0, relu=False)


@pytest.mark.parametrize("shape", [(3, 10, 19, 0), (6, 10, 40, 8)], ids=str)
def test_strided_inputs_and_more_dimensions(shape: tuple[int, int, int, int]) -> None:
    """Views of every argument, and x [1, B, K]: bit for bit their plain copies."""
    form = Format(3, bipolar=True)
    args = draw(5, form, shape)
    plain = lowbit_linear(*args, bipolar=True, group=shape[3])
    assert torch.equal(lowbit_linear(*map(strided, args), bipolar=True, group=shape[3]), plain)
    assert torch.equal(lowbit_linear(args[0][None], *args[1:], bipolar=True, group=shape[3])[0], plain)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # NumPy says so of ∞ · 0
@pytest.mark.parametrize("samples", [2, 7])
@pytest.mark.parametrize("values", ["nan", "inf", "inf -inf", "inf inf", "-inf -inf -inf"])
def test_what_is_not_finite_is_the_references(samples: int, values: str) -> None:
    """In a sample, a scale or a bias: what float64 makes of it, infinities, or NaN where they meet a weight of 0 or one
    another; and nowhere else. By both kernels."""
    for form, group in ((Format(2, bipolar=False), 0), (Format(3, bipolar=True), 0), (Format(4, bipolar=False), 64)):
        x, _, scales, bias = args = draw(6, form, (samples, 9, 90, group))
        for n, value in enumerate(values.split()):
            x[1, 2 + 40 * n] = float(value)
        scales[2, -1], bias[3] = float("nan"), float(values.split(maxsplit=1)[0])
        scales[4] *= -1
        found = lowbit_linear(*args, bipolar=form.bipolar, group=group)
        exact = reference.linear(*args, bipolar=form.bipolar, group=group, relu=False)
        odd = ~exact.isfinite()
        assert torch.equal(~found.isfinite(), odd)
        torch.testing.assert_close(found[odd], exact[odd].float(), rtol=0, atol=0, equal_nan=True)
        torch.testing.assert_close(found[~odd], exact[~odd].float(), rtol=1e-4, atol=1e-4)


def test_zeros_and_tiny_inputs() -> None:
    """A sample of zeros answers the bias; inputs below what a step can be are 0 to float32's least normal number."""
    form = Format(4, bipolar=False)
    x, planes, scales, bias = draw(7, form, (2, 5, 30, 0))
    x[0], x[1] = 0, 1e-35
    y = lowbit_linear(x, planes, scales, bias, bipolar=False)
    assert torch.equal(y[0], bias)
    assert torch.equal(y[1], bias)


def test_gradients_and_opcheck() -> None:
    """Backward is the reference's, of the forward that the kernels gave; the registration holds."""
    form = Format(3, bipolar=False)
    x, planes, scales, bias = draw(8, form, (3, 6, 20, 8))
    leaves = [t.requires_grad_() for t in (x, scales, bias)]
    y = lowbit_linear(x, planes, scales, bias, bipolar=False, group=8, relu=True)
    grad = torch.randn(y.shape, generator=torch.Generator().manual_seed(9))
    y.backward(grad)
    exact = reference.backward(grad.double(), y, x, planes, scales, bipolar=False, group=8, relu=True)
    for leaf, wanted in zip(leaves, exact, strict=True):
        assert leaf.grad is not None
        torch.testing.assert_close(leaf.grad.double(), wanted, rtol=1e-5, atol=1e-4)
    torch.library.opcheck(torch.ops.searchd.lowbit_linear.default, (x, planes, scales, bias, False, 8, True))
