"""lowbit_linear: packing is exact, operator and gradients against float64, planes against integers, messages."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.fake_quant import BINARY, SEQ2, fake_quant
from kernels.lowbit_linear import (
    Format,
    decode,
    encode,
    lowbit_linear,
    pack,
    plane_product,
    quantize,
    reference,
    unpack,
)
from tests.support.lowbit import FORMATS, draw

EACH = pytest.mark.parametrize("form", FORMATS, ids=lambda f: f"{'bipolar' if f.bipolar else 'twos'}{f.bits}")
forms = st.sampled_from(FORMATS)
SHAPES = [(1, 1, 1, 0), (3, 5, 7, 0), (2, 9, 33, 5), (4, 1, 8, 8), (1, 300, 17, 4), (0, 3, 5, 0), (2, 3, 0, 0)]
"""Samples, outputs, inputs, group: odd, of size 1, empty, more rows than are unpacked at a time."""


@given(form=forms, rows=st.integers(0, 4), columns=st.integers(0, 40), seed=st.integers(0, 2**32))
@settings(max_examples=80, deadline=None)
def test_unpack_undoes_pack(form: Format, rows: int, columns: int, seed: int) -> None:
    """Every matrix of a format's integers comes back; its planes have `bits` bits a value, rows filled up to bytes."""
    g = torch.Generator().manual_seed(seed)
    codes = torch.randint(2**form.bits, (rows, columns), generator=g).to(torch.uint8)
    values = decode(codes, form)
    planes = pack(values, form)
    assert planes.shape == (form.bits, rows, -(-columns // 8))
    assert torch.equal(unpack(planes, columns, bipolar=form.bipolar), values)
    assert torch.equal(encode(values, form), codes)


@EACH
def test_the_value_is_affine_in_the_bits(form: Format) -> None:
    """offset + Σ weights[i] · b_i is the integer of every code, and all lie in [low, high], `step` apart."""
    codes = torch.arange(2**form.bits)
    by_bits = form.offset + sum(w * (codes >> i & 1) for i, w in enumerate(form.weights))
    values = decode(codes.to(torch.uint8), form)
    assert torch.equal(by_bits, values.long())
    assert sorted(values.tolist()) == list(range(form.low, form.high + 1, form.step))


@given(form=forms, group=st.sampled_from([0, 1, 3, 8, 100]), seed=st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_quantization_errs_by_half_a_step(form: Format, group: int, seed: int) -> None:
    """|w − s v| <= s · step / 2 (two's complement of one bit, {−1, 0}, aside: it has no positive value), and the
    largest of every group is `high` scales."""
    w = torch.randn(3, 13, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    w[1] = 0
    values, scales = quantize(w, form, group)
    assert scales.shape == (3, reference.groups(13, group))
    s = reference.spread(scales, 13, group)
    if form.bits > 1 or form.bipolar:
        assert bool(((w - s * values).abs() <= s * form.step / 2 + 1e-12).all())
    assert values.min() >= form.low
    assert values.max() <= form.high


@EACH
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_operator_equals_reference(form: Format, shape: tuple[int, int, int, int]) -> None:
    """Output and every gradient, in float32 against float64; the error of a sum of K products is K ulps at most."""
    args = draw(1, form, shape)
    for relu in (False, True):
        leaves = [t.clone().requires_grad_() if t.is_floating_point() else t for t in args]
        y = lowbit_linear(*leaves, bipolar=form.bipolar, group=shape[3], relu=relu)
        exact = reference.linear(*args, bipolar=form.bipolar, group=shape[3], relu=relu)
        bound = {"rtol": 1e-5, "atol": max(1, shape[2]) * 2e-6}
        torch.testing.assert_close(y.double(), exact, **bound)
        grad = torch.randn(y.shape, generator=torch.Generator().manual_seed(2))
        y.backward(grad)
        wanted = [t.detach().double().requires_grad_() if t.is_floating_point() else t for t in args]
        x, planes, scales, bias = wanted
        w = unpack(planes, shape[2], bipolar=form.bipolar) * reference.spread(scales, shape[2], shape[3])
        out = x @ w.T + bias
        # By autograd of plain torch; where y rounds to another side of 0 nothing is compared: none does here.
        ((out.relu() if relu else out) * grad.double()).sum().backward()
        for got, ours in zip((leaves[0], leaves[2], leaves[3]), (x, scales, bias), strict=True):
            assert got.grad is not None
            zero = torch.zeros_like(ours) if ours.grad is None else ours.grad
            torch.testing.assert_close(got.grad.double(), zero, rtol=1e-4, atol=5e-5 * max(1, form.most))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_dtypes(dtype: torch.dtype) -> None:
    """The answer has the input's dtype: half precisions to their own rounding (accumulated in float32), float64 to
    its own."""
    form = Format(4, bipolar=False)
    args = draw(3, form, (3, 5, 64, 16), dtype)
    y = lowbit_linear(*args, bipolar=False, group=16)
    assert y.dtype == dtype
    exact = reference.linear(*args, bipolar=False, group=16, relu=False)
    torch.testing.assert_close(y.double(), exact, rtol=2 * torch.finfo(dtype).eps, atol=1e-5 if dtype != torch.float64
                               else 1e-12)  # fmt: skip


def test_strided_inputs_and_more_dimensions() -> None:
    """x as a transposed view, planes and scales as slices, x [2, 3, K]: the same as their plain copies, up to the
    order in which a matrix product of another layout adds up."""
    form = Format(3, bipolar=False)
    x, planes, scales, bias = draw(4, form, (6, 10, 19, 4))
    plain = lowbit_linear(x, planes[:, ::2].contiguous(), scales[::2].contiguous(), bias[::2], bipolar=False, group=4)
    seen = x.T.contiguous().T.requires_grad_()
    odd = lowbit_linear(seen, planes[:, ::2], scales[::2], bias[::2], bipolar=False, group=4)
    torch.testing.assert_close(odd, plain, rtol=1e-5, atol=19 * 2e-6)
    odd.sum().backward()
    assert seen.grad is not None
    many = lowbit_linear(x.view(2, 3, 19), planes, scales, bias, bipolar=False, group=4)
    flat = lowbit_linear(x, planes, scales, bias, bipolar=False, group=4)
    torch.testing.assert_close(many.view(6, 10), flat, rtol=1e-5, atol=19 * 2e-6)
    assert lowbit_linear(x[0], planes, scales, bias, bipolar=False, group=4).shape == (10,)


def test_what_is_not_finite_is_seen() -> None:
    """NaN in a row of x or in a scale makes NaN where it is used and nowhere else; a NaN weight is quantized as NaN."""
    form = Format(2, bipolar=True)
    x, planes, scales, bias = draw(5, form, (3, 4, 9, 0))
    x[1, 2] = scales[2] = float("nan")
    y = lowbit_linear(x, planes, scales, bias, bipolar=True)
    wanted = torch.zeros(3, 4, dtype=torch.bool)
    wanted[1] = wanted[:, 2] = True
    assert torch.equal(y.isnan(), wanted)
    assert bool(quantize(torch.tensor([[1.0, float("nan")]]), form)[1].isnan().all())


@pytest.mark.parametrize(("levels", "bits"), [(BINARY, 1), (SEQ2, 2)])
def test_bipolar_weights_are_those_of_training(levels: Any, bits: int) -> None:
    """What `fake_quant` trains at 1 and 2 bits is bipolar: {−.75, −.25, .25, .75} a is {−3, −1, 1, 3} a/4."""
    w = torch.randn(6, 10, generator=torch.Generator().manual_seed(6))
    a = w.abs().amax(1)
    trained = fake_quant(w, a, levels)
    unit = a / (4 if bits == 2 else 1)
    planes = pack(torch.round(trained / unit[:, None]).to(torch.int16), Format(bits, bipolar=True))
    x = torch.randn(2, 10, generator=torch.Generator().manual_seed(7))
    torch.testing.assert_close(lowbit_linear(x, planes, unit[:, None], bipolar=True), x @ trained.T)


@given(a_form=forms, b_form=forms, columns=st.integers(0, 35), seed=st.integers(0, 2**32))
@settings(max_examples=80, deadline=None)
def test_planes_multiply_as_integers(a_form: Format, b_form: Format, columns: int, seed: int) -> None:
    """Any two formats, any number of columns (what is filled up adds nothing): exactly the integer product; and for
    two bipolar ones the recovery from binary products too."""
    g = torch.Generator().manual_seed(seed)
    made = [decode(torch.randint(2**f.bits, (n, columns), generator=g).to(torch.uint8), f)
            for f, n in ((a_form, 3), (b_form, 2))]  # fmt: skip
    a, b = (pack(v, f) for v, f in zip(made, (a_form, b_form), strict=True))
    exact = made[0].long() @ made[1].long().T
    found = plane_product(a, b, columns, a_bipolar=a_form.bipolar, b_bipolar=b_form.bipolar)
    assert found.dtype == torch.int32
    assert torch.equal(found.long(), exact)
    if a_form.bipolar and b_form.bipolar:
        assert torch.equal(reference.recover(reference.binary_products(a, b, columns)), exact)


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_opcheck(relu: bool, bias: bool) -> None:
    """Schema, fake tensors, autograd registration and dynamic shapes hold (torch.library.opcheck)."""
    x, planes, scales, b = draw(8, Format(3, bipolar=False), (4, 6, 20, 8))
    x, scales, b = (t.requires_grad_() for t in (x, scales, b))
    torch.library.opcheck(
        torch.ops.searchd.lowbit_linear.default, (x, planes, scales, b if bias else None, False, 8, relu)
    )
    torch.library.opcheck(torch.ops.searchd.plane_product.default, (planes, planes, 20, False, False))


def wrong(**changed: Any) -> dict[str, Any]:
    x, planes, scales, bias = draw(9, Format(2, bipolar=True), (2, 3, 20, 8))
    return {"x": x, "planes": planes, "scales": scales, "bias": bias, "group": 8, **changed}


@pytest.mark.parametrize(("changed", "text"), [
    ({"x": torch.zeros(2, 20, dtype=torch.int8)}, "torch.int8, but has to be .* floats.*plane_product"),
    ({"x": torch.zeros(2, 30)}, r"planes of 30 columns are \[bits, rows, 4\]"),
    ({"planes": torch.zeros(2, 3, 3)}, "make them with pack"),
    ({"planes": torch.zeros(9, 3, 3, dtype=torch.uint8)}, "1 to 8 bits"),
    ({"scales": torch.ones(3)}, r"groups of 8 have \[3, 3\]"),
    ({"group": 5}, r"groups of 5 have \[3, 4\]"),
    ({"group": -1}, "1 or more"),
    ({"bias": torch.zeros(4)}, r"needs \[3\]"),
    ({"bias": torch.zeros(3, device="meta")}, "cpu, meta, but have to be on one"),
])  # fmt: skip
def test_what_does_not_fit_is_told(changed: dict[str, Any], text: str) -> None:
    """Shapes, dtypes and devices: the value, the rule and the remedy."""
    with pytest.raises(ValueError, match=text):
        lowbit_linear(**wrong(**changed), bipolar=True)


def test_integers_and_planes_that_do_not_fit_are_told() -> None:
    """An even bipolar integer, one out of range, a width, sums beyond int32, devices."""
    with pytest.raises(ValueError, match="2 is no 3-bit bipolar integer: odd integers from -7 to 7"):
        pack(torch.tensor([[1, 2]]), Format(3, bipolar=True))
    with pytest.raises(ValueError, match="4 is no 3-bit two’s complement integer: -4 to 3"):
        pack(torch.tensor([[4]]), Format(3, bipolar=False))
    with pytest.raises(ValueError, match="1 to 8 bits, but bits = 9"):
        Format(9, bipolar=True)
    wide = torch.zeros(8, 1, 5000, dtype=torch.uint8)
    with pytest.raises(ValueError, match="2601000000, but int32 ends at 2147483647"):
        plane_product(wide, wide, 40000, a_bipolar=True, b_bipolar=True)
    with pytest.raises(ValueError, match="move one of them"):
        plane_product(wide, wide.to("meta"), 40000, a_bipolar=False, b_bipolar=False)
    with pytest.raises(ValueError, match=r"b is .* make them with pack"):
        plane_product(wide, wide[0], 40000, a_bipolar=False, b_bipolar=False)
