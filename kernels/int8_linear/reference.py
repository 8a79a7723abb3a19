"""LLM.int8() written out: a product in 8-bit integers, but for the few features that are too large for them.

    x Wᵀ = x_O W_Oᵀ (floats, O: features with some |x| >= threshold) + s_x s_w (q_x q_wᵀ) over the others

`q_x`: rows of x (outliers left out) over their largest value times 127, half to even; `q_w` the same for rows of the
weight [N, K], one an output. Source: Dettmers and others (2022, NeurIPS), "LLM.int8()", section 3.
"""

from __future__ import annotations

import torch
from torch import Tensor

TOP = 127
THRESHOLD = 6.0
"""The paper's: from here on a feature is an outlier."""


def quantize(rows: Tensor) -> tuple[Tensor, Tensor]:
    """(codes [R, K] int8, scales [R]) of rows: scale = max |row| / 127; 1 for a row of zeros."""
    if rows.shape[1] == 0:
        return rows.to(torch.int8), rows.new_ones(rows.shape[0])
    top = rows.abs().amax(1)
    # Times 127 first, as the paper has it: .5 · 127 is a tie and goes to the even 64, whatever 1 / 127 rounds to.
    safe = torch.where(top == 0, torch.ones_like(top), top)  # NaN stays, and so every sum of the row is NaN
    codes = torch.round(rows * TOP / safe[:, None]).clamp(-TOP, TOP)
    return codes.nan_to_num(0.0).to(torch.int8), safe / TOP


def outliers(x: Tensor, threshold: float) -> Tensor:
    """[K] booleans: the features of x [B, K] that reach `threshold` somewhere; none where it is 0."""
    if threshold == 0:
        return torch.zeros(x.shape[1], dtype=torch.bool, device=x.device)
    return (x.abs() >= threshold).any(0)


def integers(x: Tensor, codes: Tensor, threshold: float) -> tuple[Tensor, Tensor, Tensor]:
    """(sums [B, N] int32, codes of x [B, K], scales of x [B]): the integer part, outliers of x counted as 0."""
    kept = x.masked_fill(outliers(x, threshold), 0.0)
    mine, scale = quantize(kept)
    # Integers up to 127² K are exact in float64 for every K below 5e11.
    return (mine.double() @ codes.double().T).to(torch.int32), mine, scale


def linear(
    x: Tensor, codes: Tensor, scales: Tensor, kept: Tensor | None, bias: Tensor | None, threshold: float
) -> Tensor:
    """`x Wᵀ + bias` [B, N] in float64 for x [B, K]; `kept`: the float weight for the outliers, else dequantized."""
    x = x.double()
    sums, _, scale = integers(x, codes, threshold)
    y = sums.double() * scale[:, None] * scales.double()[None, :]
    large = outliers(x, threshold)
    w = codes.double() * scales.double()[:, None] if kept is None else kept.double()
    y = y + x[:, large] @ w[:, large].T
    return y if bias is None else y + bias.double()
