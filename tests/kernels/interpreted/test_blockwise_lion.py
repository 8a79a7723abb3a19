"""The kernel of `blockwise_lion`, run by Triton's interpreter: the contract of `tests/support/steps.py`."""

from __future__ import annotations

import pytest
import torch

from kernels.blockwise_lion import lion
from kernels.blockwise_state import dequantize, zeros
from tests.support.kernels import runs_in_triton
from tests.support.steps import FEW, SCHEMES, check_lion

EACH = pytest.mark.parametrize("name", ["8", "4"])


@EACH
@pytest.mark.parametrize("shift", [32, 33])
def test_a_step_is_the_reference(name: str, shift: int) -> None:
    """All sizes and shapes in one launch; at addresses of whole 16 bytes, and at others."""
    runs_in_triton("blockwise_lion", torch.zeros(3))
    check_lion(name, int(torch.randint(2**31, ())), shift=shift)


@EACH
def test_half_precision_and_strides(name: str) -> None:
    """Weights and gradients of 16 bits; what is not contiguous."""
    check_lion(name, 1, FEW, dtype=torch.bfloat16)
    check_lion(name, 1, FEW, dtype=torch.float16)
    check_lion(name, 2, FEW, crooked=True)


@EACH
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # NumPy's, of the NaN that is the point here
def test_nan_is_seen(name: str) -> None:
    """A gradient of NaN: the weight and its block's moments are NaN, and other blocks are not."""
    p, g = torch.ones(4, 512), torch.ones(4, 512)
    g[1, 5] = float("nan")
    m = zeros(p, SCHEMES[name][0])
    lion([p], [g], [m], lr=0.1)
    assert int(p.isnan().sum()) == 1
    assert int(dequantize(m).isnan().sum()) == m.scheme.block
