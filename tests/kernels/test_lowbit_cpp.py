"""lowbit_linear in C++: every way and instruction set of this machine against float64; the fall-back."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from kernels import _build, _choose
from kernels._choose import choose
from kernels.lowbit_linear import (
    Format,
    cpp,
    decode,
    lowbit_linear,
    pack,
    plane_product,
    reference,
)
from tests.support.kernels import close, poisoned, strided
from tests.support.lowbit import FORMATS, draw, lopsided

WHY = _build.against()
pytestmark = [pytest.mark.skipif(WHY is not None, reason=str(WHY)), pytest.mark.usefixtures("unasked")]
EVERY = list(_build.LEVELS)
LEVELS = EVERY[: EVERY.index(_build.level()) + 1]
SHAPES = [
    (1, 1, 1, 0), (3, 5, 7, 0), (2, 9, 33, 5), (1, 66, 1000, 0), (12, 6, 600, 24), (1, 40, 520, 128), (4, 3, 300, 64),
    (1, 33, 130, 12), (50, 70, 90, 0), (0, 3, 5, 0), (2, 0, 5, 0), (2, 3, 0, 0), (1, 3, 4300, 0), (1, 3, 1024, 512),
]  # fmt: skip
"""Samples, outputs, inputs, group: odd, of size 1, empty, rows and columns at both sides of what is done at once."""
WAYS: tuple[cpp.Way, ...] = ("codes", "tables", "matrix", "likely")


def check(found: torch.Tensor, args: list[Any], form: Format, group: int, relu: bool = False) -> None:
    """Each product is rounded, or x to half of max|x| / 2^22 by tables: one or two of |w| max|x|; sums are chains
    of 8, of quarters of blocks (4 in 128 columns), of lanes: 40 + K / 32 of Σ |w| max|x|. Torch's are shorter."""
    x, planes, scales, bias = args
    k = x.shape[-1]
    exact = reference.linear(x, planes, scales, bias, bipolar=form.bipolar, group=group, relu=relu)
    w = reference.dequantize(planes, scales.double(), k, bipolar=form.bipolar, group=group).abs().sum(1)
    most = x.double().abs().amax(-1, keepdim=True) if x.numel() else x.new_zeros(*x.shape[:-1], 1).double()
    close(found, exact, 40 + k / 32, most * w + (0 if bias is None else bias.double().abs()))


@pytest.mark.parametrize("at", LEVELS)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("form", FORMATS, ids=lambda f: f"{'bipolar' if f.bipolar else 'twos'}{f.bits}")
def test_every_way_equals_the_reference(at: str, way: cpp.Way, form: Format) -> None:
    """Every shape, with bias and ReLU or neither, on one thread and on three, over memory that holds NaN. Every second
    shape for every second width: each way and set of instructions has all pairs of a kind and a shape, four widths."""
    for shape in SHAPES[form.bits % 2 :: 2]:
        args = draw(sum(shape), form, shape)
        relu = (form.bits + shape[1]) % 2 == 0
        if not relu:
            args[3] = None
        with poisoned():
            found = cpp.linear(*args, bipolar=form.bipolar, group=shape[3], relu=relu, way=way, at=at, threads=1)
            several = cpp.linear(*args, bipolar=form.bipolar, group=shape[3], relu=relu, way=way, at=at, threads=3)
        check(found, args, form, shape[3], relu)
        assert torch.equal(found, several), shape


@pytest.mark.parametrize("bits", [1, 2, 5, 8])
@pytest.mark.parametrize("bipolar", [True, False])
@pytest.mark.parametrize("group", [0, 5, 8, 128])
def test_what_is_not_finite_is_the_references(bits: int, bipolar: bool, group: int) -> None:
    """NaN and both infinities in one sample of several, in a scale, in the bias: what float64 gives, in any
    way; infinity times a weight of 0 is NaN, and NaN stays through the ReLU."""
    form = Format(bits, bipolar)
    for place, value in ((0, "nan"), (0, "inf"), (0, "-inf"), (2, "nan"), (3, "inf"), (3, "nan")):
        args = draw(bits, form, (3, 7, 261, group))
        args[place][(1, 259) if place == 0 else (-1, -1) if place == 2 else -1] = float(value)
        for way in WAYS:
            found = cpp.linear(*args, bipolar=bipolar, group=group, relu=bits == 2, way=way)
            exact = reference.linear(*args, bipolar=bipolar, group=group, relu=bits == 2).float()
            odd = ~exact.isfinite()
            assert bool(odd.any())
            assert torch.equal(~found.isfinite(), odd)
            torch.testing.assert_close(found[odd], exact[odd], rtol=0, atol=0, equal_nan=True)


def test_inputs_of_any_size() -> None:
    """Zeros answer the bias; 1e-37 and 1e35 keep their digits, where a step of tables would be none."""
    form = Format(3, bipolar=False)
    for size in (0.0, 1e-37, 1e-20, 1e20, 1e35):
        args = draw(7, form, (2, 5, 300, 0))
        args[0] *= size
        args[2] /= 10
        if size == 0:
            for way in WAYS:
                assert torch.equal(cpp.linear(*args, bipolar=False, group=0, relu=False, way=way)[0], args[3])
            continue
        args[3] = None
        for way in WAYS:
            check(cpp.linear(*args, bipolar=False, group=0, relu=False, way=way), args, form, 0)


def test_the_largest_sums_fit() -> None:
    """All bits set and every x the largest: digits are 63 at every look-up, over more columns than 16 bits hold."""
    planes = torch.full((2, 3, 1125), 255, dtype=torch.uint8)
    found = cpp.linear(
        torch.ones(1, 9000), planes, torch.ones(3, 1), None, bipolar=True, group=0, relu=False, way="tables"
    )
    torch.testing.assert_close(found, torch.full((1, 3), 27000.0), rtol=1e-6, atol=0)


def test_a_small_group_beside_a_large_one_keeps_its_digits() -> None:
    """The step of tables is a group's own: inputs of 1e-6 in one are seen to 23 bits beside 1e6 in another."""
    form = Format(4, bipolar=True)
    args, second = lopsided(form)
    check(cpp.linear(*args, bipolar=True, group=256, relu=False, way="tables"), second, form, 0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_the_operator_takes_it(dtype: torch.dtype) -> None:
    """Through the operator: chosen and said so; views of every argument, more dimensions, half precisions."""
    form = Format(3, bipolar=True)
    args = draw(5, form, (6, 10, 40, 8), dtype)
    choice = choose("lowbit_linear", args[0])
    assert choice.provider == "cpp"
    assert _build.level() in choice.why
    with poisoned():
        plain = lowbit_linear(*args, bipolar=True, group=8)
        assert torch.equal(lowbit_linear(*map(strided, args), bipolar=True, group=8), plain)
        assert torch.equal(lowbit_linear(args[0].view(2, 3, 40), *args[1:], bipolar=True, group=8).view(6, 10), plain)
    assert plain.dtype == dtype
    exact = reference.linear(*args, bipolar=True, group=8, relu=False)
    room = 2e-6 * math.sqrt(40) * 40 if dtype == torch.float32 else 1e-3
    torch.testing.assert_close(plain.double(), exact, rtol=2 * torch.finfo(dtype).eps, atol=room)
    assert choose("lowbit_linear", args[0].double()).provider == "torch"


@pytest.mark.parametrize("at", LEVELS)
def test_products_of_planes_are_exact(at: str) -> None:
    """Every pair of formats, columns at both sides of bytes and words, on one thread and on three: the integers'."""
    g = torch.Generator().manual_seed(9)
    for n, (left, right) in enumerate(itertools.product(FORMATS, FORMATS)):
        columns = (0, 1, 7, 8, 63, 64, 65, 130, 257)[n % 9]
        a, b = (
            decode(torch.randint(2**f.bits, (rows, columns), generator=g).to(torch.uint8), f)
            for f, rows in ((left, 3), (right, 37))
        )
        both = {"a_bipolar": left.bipolar, "b_bipolar": right.bipolar}
        for threads in (1, 3):
            with poisoned():
                found = cpp.product(pack(a, left), pack(b, right), columns, **both, at=at, threads=threads)
            assert torch.equal(found.long(), a.long() @ b.long().T), (left, right, columns)


def test_planes_are_multiplied_by_it() -> None:
    """The operator chooses C++, takes views, and has the ends of int32."""
    planes = torch.full((8, 2, 4128), 255, dtype=torch.uint8)
    assert choose("plane_product", planes).provider == "cpp"
    found = plane_product(planes, planes.transpose(1, 2).contiguous().transpose(1, 2), 33024, a_bipolar=True,
                          b_bipolar=True)  # fmt: skip
    assert found.tolist() == [[33024 * 255**2] * 2] * 2
    # Every bit of every byte counts: all integers are −1.
    minus_ones = plane_product(planes, planes, 33024, a_bipolar=False, b_bipolar=False)
    assert minus_ones.tolist() == [[33024] * 2] * 2
    assert plane_product(planes[:, :0], planes, 33024, a_bipolar=True, b_bipolar=False).shape == (0, 2)


def test_no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a compiler torch runs it, and the chooser says what is missing."""
    args = draw(6, Format(2, bipolar=True), (2, 3, 20, 0))
    monkeypatch.setenv("CXX", "no-such-compiler")
    choice = choose("lowbit_linear", args[0])
    assert (choice.provider, choice.why) == ("torch", "a C++ compiler is needed, but CXX=no-such-compiler is not there")
    monkeypatch.delenv("CXX")
    monkeypatch.setenv("PATH", "")
    _choose._decide.cache_clear()
    assert "none of c++, g++, clang++ is on the PATH" in choose("lowbit_linear", args[0]).why
    check(lowbit_linear(*args, bipolar=True), args, Format(2, bipolar=True), 0)


def test_a_compiler_that_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What cannot be built is refused from then on, with the compiler's word: torch answers; an error where C++ is
    asked for by name."""
    script = tmp_path / "cxx"
    script.write_text("#!/bin/sh\necho 'error: no room in here' >&2\nexit 3\n")
    script.chmod(0o700)
    monkeypatch.setenv("CXX", str(script))
    monkeypatch.setenv(_build.FOLDER, str(tmp_path / "built"))
    monkeypatch.setattr(cpp, "_built", cpp._built.__wrapped__)
    monkeypatch.setattr(cpp, "library", _build.library.__wrapped__)
    args = draw(8, Format(3, bipolar=False), (2, 3, 20, 0))
    assert choose("lowbit_linear", args[0]).provider == "cpp"
    check(lowbit_linear(*args, bipolar=False), args, Format(3, bipolar=False), 0)
    assert choose("lowbit_linear", args[0]).provider == "torch"
    assert "ended with 3: error: no room in here" in choose("lowbit_linear", args[0]).why
    monkeypatch.setenv(_choose.SWITCH, "cpp")
    with pytest.raises(RuntimeError, match=r"asks for the C\+\+ of lowbit_linear, but .* no room in here: unset"):
        lowbit_linear(*args, bipolar=False)
