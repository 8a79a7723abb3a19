"""lowbit_linear's Triton kernels of int8 inputs, interpreted: exact sums, every width, format and kernel."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from kernels.lowbit_linear import Format, lowbit_linear, pack, reference, triton_eight
from tests.support.kernels import close, poisoned, runs_in_triton, strided
from tests.support.lowbit import FORMATS, draw_int8, terms

SHAPES = [(2, 67, 300, 0), (3, 5, 33, 5), (1, 6, 300, 64), (17, 7, 40, 16)]
SMALL = [(1, 1, 1, 0), (16, 3, 40, 0), (0, 3, 5, 0), (2, 0, 5, 0), (2, 3, 0, 0)]
"""Samples, outputs, inputs, group: odd, of size 1, empty, at both sides of where the kernels change."""


def check(found: torch.Tensor, args: list[Any], form: Format, group: int, relu: bool = False) -> None:
    """A sum of a group is rounded once, its product with the scale, the sum of groups, x_scale and bias once each."""
    x, planes, scales, bias, x_scale = args
    exact = reference.linear_of_integers(
        x, x_scale, planes, scales, bias, bipolar=form.bipolar, group=group, relu=relu
    )
    size = terms(args, form, group)
    if found.dtype == torch.float32:
        close(found, exact, 5 + scales.shape[1], size)
    else:  # the rounding at the end, which is a cut where the interpreter makes bfloat16 (two halves), and a few above
        ulp = torch.finfo(torch.float32).eps / torch.finfo(found.dtype).eps
        close(found, exact, 3, torch.maximum(exact.abs(), size * ulp * (5 + scales.shape[1])))


@pytest.mark.parametrize(
    ("form", "shape"),
    [(f, SHAPES[(i + j) % 4]) for i, f in enumerate(FORMATS) for j in range(2)] + [(FORMATS[5], s) for s in SMALL],
    ids=str,
)
def test_kernels_equal_the_reference(form: Format, shape: tuple[int, int, int, int]) -> None:
    """Shapes with what their chooser takes, bias and ReLU or neither, over poisoned memory."""
    args = draw_int8(sum(shape), form, shape)
    runs_in_triton("lowbit_linear_int8", args[0], args[4])
    relu = form.bits % 2 == 0
    if not relu:
        args[3] = None
    with poisoned():
        found = lowbit_linear(*args[:4], bipolar=form.bipolar, group=shape[3], relu=relu, x_scale=args[4])
    check(found, args, form, shape[3], relu)


@pytest.mark.parametrize(("bits", "bipolar", "group"), [(8, True, 0), (3, False, 2048), (1, True, 256)])
def test_both_kernels_and_every_division(bits: int, bipolar: bool, group: int) -> None:
    """A row divided among programs, or not, groups of several tiles, and tiles of bytes: all of them the reference."""
    form, shape = Format(bits, bipolar), (1, 5, 4200 if group == 2048 else 2100, group)
    args = draw_int8(bits, form, shape)
    for how in ({"splits": 1}, {"splits": 2}, {"splits": 100}, {"tiled": True}):
        x, planes, scales, bias, x_scale = args
        with poisoned():
            found = triton_eight.linear(
                x, x_scale, planes, scales, bias, bipolar=bipolar, group=group, relu=False, **how  # type: ignore[arg-type]
            )
        check(found, args, form, group)


@pytest.mark.parametrize("tiled", [False, True])
@pytest.mark.parametrize(("bits", "bipolar", "columns"), [(8, True, 6000), (8, False, 6000)])
def test_sums_stay_integers(bits: int, bipolar: bool, columns: int, tiled: bool) -> None:
    """Sums beyond 2^24, that float32 would round at every tile, are rounded once: the answer is float32's nearest."""
    form = Format(bits, bipolar)
    g = torch.Generator().manual_seed(1)
    x = torch.randint(100, 128, (1, columns), generator=g).to(torch.int8)
    values = form.high - 2 * torch.randint(0, 20, (2, columns), generator=g)
    scales, one = torch.ones(2, 1), torch.ones(1)
    found = triton_eight.linear(
        x, one, pack(values, form), scales, None, bipolar=bipolar, group=0, relu=False, splits=2, tiled=tiled
    )
    exact = x.long() @ values.T
    assert int(exact.min()) > 2**24
    assert torch.equal(found, exact.float())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype: torch.dtype) -> None:
    """Scales and answer in half precision, sums in integers."""
    for shape in ((2, 5, 300, 128), (20, 7, 64, 16)):
        form = Format(4, bipolar=False)
        args = draw_int8(3, form, shape, dtype)
        with poisoned():
            found = lowbit_linear(*args[:4], bipolar=False, group=shape[3], x_scale=args[4])
        assert found.dtype == dtype
        check(found, args, form, shape[3])


@pytest.mark.parametrize("shape", [(3, 10, 19, 0), (18, 4, 40, 8)], ids=str)
def test_strided_inputs_and_more_dimensions(shape: tuple[int, int, int, int]) -> None:
    """Views of every argument, and x [1, B, K]: bit for bit their plain copies."""
    form = Format(3, bipolar=True)
    x, planes, scales, bias, x_scale = args = draw_int8(7, form, shape)
    plain = lowbit_linear(*args[:4], bipolar=True, group=shape[3], x_scale=x_scale)
    views = map(strided, args[:4])
    assert torch.equal(lowbit_linear(*views, bipolar=True, group=shape[3], x_scale=strided(x_scale)), plain)
    many = x_scale[None] if x_scale.dim() else x_scale
    assert torch.equal(
        lowbit_linear(x[None], planes, scales, bias, bipolar=True, group=shape[3], x_scale=many)[0], plain
    )


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # NumPy says so of ∞ · 0
def test_what_is_not_finite_is_seen() -> None:
    """NaN and infinity in an x_scale, a scale or a bias: as in float64."""
    form = Format(2, bipolar=False)
    x, planes, scales, bias, x_scale = draw_int8(11, form, (3, 5, 90, 0))
    x_scale[0], x_scale[1], scales[2], bias[3] = float("nan"), float("inf"), float("nan"), float("-inf")
    found = lowbit_linear(x, planes, scales, bias, bipolar=False, x_scale=x_scale)
    exact = reference.linear_of_integers(x, x_scale, planes, scales, bias, bipolar=False, group=0, relu=False)
    odd = ~exact.isfinite()
    assert torch.equal(~found.isfinite(), odd)
    torch.testing.assert_close(found[odd], exact[odd].float(), rtol=0, atol=0, equal_nan=True)
