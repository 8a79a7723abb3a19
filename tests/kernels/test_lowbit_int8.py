"""lowbit_linear of int8 inputs: sums are exact integers, in torch and in C++; the registration; messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels import _build, _choose
from kernels._choose import choose
from kernels.lowbit_linear import Format, cpp, decode, lowbit_linear, pack, reference, unpack
from tests.support.kernels import close, poisoned, strided
from tests.support.lowbit import FORMATS, draw_int8, terms

OP = "lowbit_linear_int8"
pytestmark = pytest.mark.usefixtures("unasked")
BUILT = _build.against() is None
LEVELS = list(_build.LEVELS)[: list(_build.LEVELS).index(_build.level()) + 1] if BUILT else []
WAYS = ["torch", "reference", *LEVELS]
SHAPES = [
    (1, 1, 1, 0), (3, 5, 7, 0), (2, 9, 33, 5), (1, 66, 1000, 0), (6, 6, 600, 24), (1, 40, 520, 128), (5, 3, 300, 64),
    (1, 33, 130, 12), (2, 3, 1100, 512), (0, 3, 5, 0), (2, 0, 5, 0), (2, 3, 0, 0), (1, 300, 40, 8),
]  # fmt: skip
"""Samples, outputs, inputs, group: odd, of size 1, empty, at both sides of what is done at once; a group of 32 columns,
of 8 and of any has a way of its own."""


def by(way: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., torch.Tensor]:
    """A call of the operator by torch or the reference, or of C++ at a level, on one thread and on three."""

    def run(x: Any, planes: Any, scales: Any, bias: Any, x_scale: Any, **form: Any) -> torch.Tensor:
        if way in _build.LEVELS:
            one, three = (
                cpp.linear_of_integers(x, x_scale, planes, scales, bias, **form, at=way, threads=n) for n in (1, 3)
            )
            assert torch.equal(one, three)
            return one
        monkeypatch.setenv(_choose.SWITCH, way)
        return lowbit_linear(x, planes, scales, bias, x_scale=x_scale, **form)

    return run


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("form", FORMATS, ids=lambda f: f"{'bipolar' if f.bipolar else 'twos'}{f.bits}")
def test_every_way_equals_the_reference(way: str, form: Format, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every shape over memory that holds NaN, with bias and ReLU or neither: two roundings of float32, of what scales
    make of the sums (added in float64), and of that with the bias."""
    run = by(way, monkeypatch)
    for shape in SHAPES:
        args = draw_int8(sum(shape), form, shape)
        relu = (form.bits + shape[1]) % 2 == 0
        if not relu:
            args[3] = None
        with poisoned():
            found = run(*args, bipolar=form.bipolar, group=shape[3], relu=relu)
        x, planes, scales, bias, x_scale = args
        exact = reference.linear_of_integers(
            x, x_scale, planes, scales, bias, bipolar=form.bipolar, group=shape[3], relu=relu
        )
        unbiased = exact if bias is None else exact.abs() + 2 * bias.double().abs()
        close(found, exact, 2, unbiased.abs())


@given(
    form=st.sampled_from(FORMATS), columns=st.integers(0, 90), group=st.sampled_from([0, 1, 3, 8, 32]),
    seed=st.integers(0, 2**32), way=st.sampled_from(["torch", *LEVELS]),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_sums_are_exact(form: Format, columns: int, group: int, seed: int, way: str) -> None:
    """With scales of 1 the answer is the integer that Python's sums give, whatever the groups."""
    g = torch.Generator().manual_seed(seed)
    values = decode(torch.randint(2**form.bits, (3, columns), generator=g).to(torch.uint8), form)
    x = torch.randint(-128, 128, (2, columns), generator=g).to(torch.int8)
    scales = torch.ones(3, reference.groups(columns, group))
    with pytest.MonkeyPatch.context() as patch:
        found = by(way, patch)(
            x, pack(values, form), scales, None, torch.ones(()), bipolar=form.bipolar, group=group, relu=False
        )
    wanted = [[sum(a * b for a, b in zip(r, w, strict=True)) for w in values.tolist()] for r in x.tolist()]
    assert found.tolist() == wanted


@pytest.mark.parametrize("way", ["torch", *LEVELS])
@pytest.mark.parametrize(("bits", "bipolar", "columns"), [(8, True, 65793), (8, False, 131071), (1, True, 100_003)])
def test_the_largest_sums_fit(
    way: str, bits: int, bipolar: bool, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The most columns that are allowed, all at the ends: no sum leaves int32. One column more is refused."""
    form = Format(bits, bipolar)
    x = torch.full((1, columns), -128, dtype=torch.int8)
    planes = pack(torch.full((1, columns), form.low), form)
    one = torch.ones(1, 1)
    found = by(way, monkeypatch)(x, planes, one, None, torch.ones(()), bipolar=bipolar, group=0, relu=False)
    assert float(found) == float(torch.tensor(-128.0 * form.low * columns))
    if bits == 8:
        more, wider = torch.zeros(1, columns + 1, dtype=torch.int8), torch.zeros(8, 1, -(-(columns + 1) // 8)).byte()
        with pytest.raises(ValueError, match=f"over {columns + 1} columns may reach .*, but int32 ends at 2147483647"):
            lowbit_linear(more, wider, one, bipolar=bipolar, x_scale=torch.ones(()))
        halves = torch.ones(1, 2)
        assert lowbit_linear(more, wider, halves, bipolar=bipolar, group=65536, x_scale=torch.ones(())).shape == (1, 1)


def test_it_is_the_layer_of_floats() -> None:
    """What x_scale · x in floats is answered, to the roundings of that; and so are unsigned codes, less 128, with the
    zero point in the bias."""
    form = Format(4, bipolar=False)
    x, planes, scales, bias, x_scale = draw_int8(5, form, (4, 9, 70, 16))
    found = lowbit_linear(x, planes, scales, bias, bipolar=False, group=16, x_scale=x_scale)
    floats = lowbit_linear(x.float() * x_scale[:, None], planes, scales, bias, bipolar=False, group=16)
    torch.testing.assert_close(found, floats, rtol=1e-5, atol=1e-5)
    w = unpack(planes, 70, bipolar=False) * reference.spread(scales, 70, 16)
    folded = bias + 128 * x_scale[0] * w.sum(1)
    unsigned = lowbit_linear(x, planes, scales, folded, bipolar=False, group=16, x_scale=x_scale[0])
    whole = (x.float() + 128) * x_scale[0]
    torch.testing.assert_close(unsigned, whole @ w.T + bias, rtol=1e-5, atol=2e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_the_operator(dtype: torch.dtype) -> None:
    """The answer has the dtype of x_scale; views of every argument and more dimensions, bit for bit; who ran it."""
    form = Format(3, bipolar=True)
    x, planes, scales, bias, x_scale = draw_int8(5, form, (6, 10, 40, 8), dtype)
    choice = choose(OP, x, x_scale)
    assert choice.provider == ("cpp" if BUILT and dtype != torch.float64 else "torch")
    if BUILT:
        assert (_build.level() if dtype != torch.float64 else "takes no torch.float64") in choice.why
    kind = {"bipolar": True, "group": 8}
    with poisoned():
        plain = lowbit_linear(x, planes, scales, bias, **kind, x_scale=x_scale)  # type: ignore[arg-type]
        views = [strided(t) for t in (x, planes, scales, bias)]
        assert torch.equal(lowbit_linear(*views, **kind, x_scale=strided(x_scale)), plain)  # type: ignore[arg-type]
        many = lowbit_linear(x.view(2, 3, 40), planes, scales, bias, **kind, x_scale=x_scale.view(2, 3))  # type: ignore[arg-type]
        single = lowbit_linear(x[0], planes, scales, bias, **kind, x_scale=x_scale[0])  # type: ignore[arg-type]
    assert torch.equal(many.view(6, 10), plain)
    assert torch.equal(single, plain[0])
    assert plain.dtype == dtype
    exact = reference.linear_of_integers(x, x_scale, planes, scales, bias, **kind, relu=False)  # type: ignore[arg-type]
    close(plain, exact, 3, terms([x, planes, scales, bias, x_scale], form, 8))


def test_what_is_not_finite_is_seen() -> None:
    """NaN and infinity in a scale, a bias or an x_scale: as in float64, and NaN stays through the ReLU."""
    form = Format(2, bipolar=False)
    for place, value in ((2, "nan"), (2, "inf"), (3, "-inf"), (4, "nan"), (4, "inf")):
        x, planes, scales, bias, x_scale = args = draw_int8(7, form, (3, 4, 9, 0))
        x[2] = 0
        args[place][-1] = float(value)
        found = lowbit_linear(x, planes, scales, bias, bipolar=False, relu=True, x_scale=x_scale)
        exact = reference.linear_of_integers(x, x_scale, planes, scales, bias, bipolar=False, group=0, relu=True)
        odd = ~exact.isfinite()
        assert torch.equal(~found.isfinite(), odd)
        torch.testing.assert_close(found[odd], exact[odd].float(), rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("levels", [(0, 255, 128), (-127, 127, 0), (0, 3, 0)])
def test_floats_are_rounded_to_levels(way: str, levels: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Half to even by a division, cut off at both ends, infinities too, less zero: as the codes given by themselves. A
    NaN answers NaN in its row and nowhere else."""
    form = Format(3, bipolar=False)
    _, planes, scales, bias, x_scale = draw_int8(9, form, (4, 6, 301, 0))
    x = torch.randn(4, 301, generator=torch.Generator().manual_seed(1)) * 90 * x_scale[:, None]
    x[0] = (torch.arange(301) - 150.5) * x_scale[0]  # ties
    x[1, :2], x[2, 7] = torch.tensor([float("inf"), float("-inf")]), float("nan")
    low, high, zero = levels
    codes = torch.round(x / x_scale[:, None]).clamp(low, high).sub(zero).nan_to_num(0).to(torch.int8)
    if way in LEVELS:
        run = cpp.linear_of_integers
        kind: dict[str, Any] = {"bipolar": False, "group": 0, "relu": True, "at": way}
        found = run(x, x_scale, planes, scales, bias, levels=levels, **kind)
        plain = run(codes, x_scale, planes, scales, bias, **kind)
    else:
        monkeypatch.setenv(_choose.SWITCH, way)
        kind = {"bipolar": False, "relu": True, "x_scale": x_scale}
        found = lowbit_linear(x, planes, scales, bias, x_levels=levels, **kind)
        plain = lowbit_linear(codes, planes, scales, bias, **kind)
    assert bool(found[2].isnan().all())
    assert torch.equal(found[[0, 1, 3]], plain[[0, 1, 3]])


@pytest.mark.parametrize("seed", [8, 9])
def test_opcheck(seed: int) -> None:
    """Schema, fake tensors and dynamic shapes hold, with a scale of all and one a row."""
    x, planes, scales, bias, x_scale = draw_int8(seed, Format(3, bipolar=False), (4, 6, 20, 8))
    for end in (bias, None):
        torch.library.opcheck(
            torch.ops.searchd.lowbit_linear_int8.default, (x, x_scale, planes, scales, end, False, 8, seed == 8, [])
        )
    torch.library.opcheck(
        torch.ops.searchd.lowbit_linear_int8.default,
        (x.float(), x_scale, planes, scales, bias, False, 8, False, [0, 255, 128]),
    )


def test_a_compiler_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch runs it, and the chooser says what is missing; an error where C++ is asked for by name."""
    args = draw_int8(6, Format(2, bipolar=True), (2, 3, 20, 0))
    with_it = lowbit_linear(*args[:4], bipolar=True, x_scale=args[4])
    monkeypatch.setenv("CXX", "no-such-compiler")
    _choose._decide.cache_clear()
    assert "CXX=no-such-compiler is not there" in choose(OP, args[0], args[4]).why
    torch.testing.assert_close(lowbit_linear(*args[:4], bipolar=True, x_scale=args[4]), with_it, rtol=1e-6, atol=1e-6)
    monkeypatch.setenv(_choose.SWITCH, "cpp")
    with pytest.raises(RuntimeError, match=r"asks for the C\+\+ of lowbit_linear_int8, but .* is not there: unset"):
        lowbit_linear(*args[:4], bipolar=True, x_scale=args[4])


@pytest.mark.parametrize(("changed", "text"), [
    ({"x_levels": (0, 255, 128)}, r"torch.int8, but with an x_scale it has to be .* floats: leave x_levels out"),
    ({"x_levels": (0, 255, 0)}, r"x_levels = \(0, 255, 0\), but .* choose levels that fit int8"),
    ({"x_levels": (0, 9, 0), "x_scale": None}, r"need an x_scale"),
    ({"x": torch.zeros(2, 20)}, r"torch.float32, but with an x_scale it has to be .* torch.int8: quantize it"),
    ({"x": torch.zeros(2, 20, dtype=torch.uint8)}, r"torch.uint8, but with an x_scale"),
    ({"x": torch.zeros((), dtype=torch.int8)}, r"x is \[\] of torch.int8"),
    ({"x_scale": None}, "but has to be .* floats: give int8 an x_scale"),
    ({"x_scale": torch.ones(3)}, r"x_scale is \[3\] of torch.float32, but has to be \[\] or \[2\] of floats"),
    ({"x_scale": torch.ones(2, 1)}, r"x_scale is \[2, 1\]"),
    ({"x_scale": torch.ones(2, dtype=torch.int8)}, r"x_scale is \[2\] of torch.int8"),
    ({"x_scale": torch.ones(2, device="meta")}, "cpu, meta, but have to be on one"),
    ({"planes": torch.zeros(2, 3, 4).byte()}, r"planes of 20 columns are \[bits, rows, 3\]"),
    ({"scales": torch.ones(3, 1)}, r"groups of 8 have \[3, 3\]"),
    ({"bias": torch.zeros(4)}, r"needs \[3\]"),
])  # fmt: skip
def test_what_does_not_fit_is_told(changed: dict[str, Any], text: str) -> None:
    """Shapes, dtypes, scales and devices: the value, the rule and the remedy."""
    x, planes, scales, bias, x_scale = draw_int8(9, Format(2, bipolar=True), (2, 3, 20, 8))
    given = {"x": x, "planes": planes, "scales": scales, "bias": bias, "x_scale": x_scale, "group": 8, **changed}
    with pytest.raises(ValueError, match=text):
        lowbit_linear(**given, bipolar=True)
