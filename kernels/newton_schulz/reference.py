"""The quintic Newton–Schulz iteration, written out: singular values of a matrix towards 1, without a decomposition.

X ← X / |X|;  X ← a X + (b A + c A²) X with A = X Xᵀ. Source: Jordan and others (2024), Muon: its coefficients are the
steepest at 0, and leave singular values about 1 ± .3.
"""

from __future__ import annotations

import torch
from torch import Tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
EPS = 1e-7


def newton_schulz(
    x: Tensor, steps: int = 5, coefficients: tuple[float, float, float] = COEFFICIENTS, eps: float = EPS
) -> Tensor:
    """X [..., R, C] after `steps` steps, in float64."""
    a, b, c = coefficients
    y = x.double()
    tall = y.shape[-2] > y.shape[-1]
    y = y.mT if tall else y
    norm: Tensor = torch.linalg.vector_norm(y, dim=(-2, -1), keepdim=True)
    y = y / norm.clamp(min=eps)
    for _ in range(steps):
        gram = y @ y.mT
        y = a * y + (b * gram + c * gram @ gram) @ y
    return y.mT if tall else y
