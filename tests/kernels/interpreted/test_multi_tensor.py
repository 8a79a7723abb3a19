"""The kernels of `multi_tensor`, run by Triton's interpreter: the contract of `tests/support/steps.py`."""

from __future__ import annotations

import pytest
import torch

from tests.support.kernels import runs_in_triton
from tests.support.steps import check_multi_tensor

BOTH = pytest.mark.parametrize("of_lion", [False, True], ids=["adamw", "lion"])


@BOTH
@pytest.mark.parametrize("shift", [32, 33])
def test_a_step_is_the_reference(of_lion: bool, shift: int) -> None:
    """All sizes and shapes in one launch; at addresses of whole 16 bytes, and at others."""
    runs_in_triton("multi_tensor", torch.zeros(3))
    check_multi_tensor(int(torch.randint(2**31, ())), shift=shift, lion=of_lion)


@BOTH
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_and_strides(of_lion: bool, dtype: torch.dtype) -> None:
    """Weights and gradients of 16 bits; what is not contiguous, with moments that are not."""
    check_multi_tensor(1, dtype=dtype, lion=of_lion)
    check_multi_tensor(2, crooked=True, lion=of_lion)
