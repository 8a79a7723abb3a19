"""int8_linear's Triton kernels, interpreted: sums of integers, outliers and scales against the reference in float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from kernels._tiles import Tile
from kernels.int8_linear import int8_linear, quantize, reference, triton
from tests.support.kernels import close, poisoned, runs_in_triton, strided

SHAPES = [(1, 1, 1), (1, 2, 1), (3, 5, 7), (17, 40, 130), (35, 9, 65), (2, 3, 1100), (0, 3, 5), (2, 3, 0), (2, 0, 3)]
"""Samples, outputs, features: odd, of size 1, empty, at both sides of a tile and of what rows are read by."""
SMALL = {"BM": 16, "BN": 16, "BK": 32, "warps": 4, "stages": 2}


def draw(seed: int, b: int, n: int, k: int, dtype: torch.dtype = torch.float32) -> dict[str, Any]:
    """Features 1 and the last are outliers, where there are more than two."""
    g = torch.Generator().manual_seed(seed)
    x, w, bias = (torch.randn(*shape, generator=g) for shape in ((b, k), (n, k), (n,)))
    if k > 2:
        x[:, 1] *= 20
        x[:, -1] += 9
    codes, scales = quantize(w)
    return {"x": x.to(dtype), "codes": codes, "scales": scales.to(dtype), "kept": w.to(dtype), "bias": bias.to(dtype)}


def check(found: torch.Tensor, args: dict[str, Any], threshold: float) -> None:
    """Codes of x are those of float32, bit for bit, and their sums exact. Then a rounding each for the sum as float,
    two scales, every outlier and its product, the bias and the end; of the sum of all absolute terms."""
    x, codes, scales, kept, bias = (args[k] for k in ("x", "codes", "scales", "kept", "bias"))
    wide = x.float()
    large = reference.outliers(wide, threshold)
    mine, sx = reference.quantize(wide.masked_fill(large, 0.0))
    whole = (mine.double() @ codes.double().T) * sx.double()[:, None] * scales.double()
    w = codes.double() * scales.double()[:, None] if kept is None else kept.double()
    apart = x.double()[:, large] @ w[:, large].T
    size = whole.abs() + x.double()[:, large].abs() @ w[:, large].abs().T
    exact = whole + apart
    if bias is not None:
        exact, size = exact + bias.double(), size + bias.double().abs()
    half = found.dtype != torch.float32
    close(found, exact, 3 if half else 7 + 2 * int(large.sum()), size)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("tile", [None, SMALL], ids=["default", "small"])
def test_kernels_equal_the_reference(shape: tuple[int, int, int], tile: Tile | None) -> None:
    """With outliers and without, the float weight and without, bias and none, over memory that holds NaN."""
    for threshold, left_out in ((6.0, ()), (6.0, ("kept", "bias")), (0.0, ("kept",)), (1e9, ("bias",))):
        args = draw(sum(shape), *shape)
        args.update(dict.fromkeys(left_out))
        runs_in_triton("int8_linear", args["x"])
        with poisoned():
            found = triton.linear(*args.values(), threshold=threshold, tile=tile)
        check(found, args, threshold)


def test_codes_are_the_references() -> None:
    """Half to even, rows of zeros, features of every size: code for code, scale for scale those of torch in float32."""
    x = torch.randn(4, 70, generator=torch.Generator().manual_seed(2)) * 10.0 ** torch.arange(-20, 20, 10)[:, None]
    x[1] = 0
    x[2] = torch.arange(70) / 2 - 3
    x[2, 0] = 127
    weight = torch.eye(70, dtype=torch.int8)
    mine, scales = reference.quantize(x)
    found = triton.linear(x, weight, torch.ones(70), None, None, 0.0)
    assert torch.equal(found, mine.float() * scales[:, None])


def test_the_largest_sums() -> None:
    """Codes at their ends over more columns than float32 adds up exactly."""
    x = torch.full((2, 3001), 127.0)
    x[1] = -127
    codes = torch.full((3, 3001), 127, dtype=torch.int8)
    found = triton.linear(x, codes, torch.ones(3), None, None, 0.0)
    assert torch.equal(found, (x.double() @ codes.double().T).float())


def test_strided_inputs_and_more_dimensions() -> None:
    """Views of every argument, and x [1, B, K]: bit for bit their plain copies."""
    args = draw(3, 5, 6, 40)
    plain = int8_linear(**args)
    assert torch.equal(int8_linear(**{k: strided(v) for k, v in args.items()}), plain)
    assert torch.equal(int8_linear(**{**args, "x": args["x"][None]})[0], plain)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype: torch.dtype) -> None:
    """Half precisions in and out, the rest in float32; the interpreter cuts bfloat16 where a GPU rounds."""
    args = draw(4, 3, 5, 130, dtype)
    with poisoned():
        found = int8_linear(**args)
    assert found.dtype == dtype
    check(found, args, 6.0)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # NumPy says so of ∞ / ∞
@pytest.mark.parametrize("threshold", [6.0, 0.0])
def test_what_is_not_finite_is_seen(threshold: float) -> None:
    """What torch's way makes of NaN and infinity in a sample, the kernels make: where, and which."""
    for value in ("nan", "inf", "-inf"):
        args = draw(5, 3, 4, 9)
        args["x"][1, 4] = float(value)
        found = int8_linear(**args, threshold=threshold)
        exact = reference.linear(*args.values(), threshold=threshold)
        odd = torch.zeros(3, 4, dtype=torch.bool)
        odd[1] = True
        assert torch.equal(~found.isfinite(), odd)
        torch.testing.assert_close(found[1], exact[1].float(), equal_nan=True)


def test_gradients_and_opcheck() -> None:
    """Backward is the dequantized weight's, of the forward that the kernels gave; the registration holds."""
    args = draw(7, 4, 5, 9)
    x, bias = args["x"].requires_grad_(), args["bias"].requires_grad_()
    y = int8_linear(**args)
    grad = torch.randn(y.shape, generator=torch.Generator().manual_seed(8))
    y.backward(grad)
    assert x.grad is not None
    assert bias.grad is not None
    torch.testing.assert_close(x.grad, grad @ (args["codes"].float() * args["scales"][:, None]))
    torch.testing.assert_close(bias.grad, grad.sum(0))
    torch.library.opcheck(torch.ops.searchd.int8_linear.default, (*args.values(), 6.0))
