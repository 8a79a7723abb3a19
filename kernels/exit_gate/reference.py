"""The exit gate in plain torch: how sure an exit is, who leaves there, and the batch that goes on.

Rules as in `spaces.exits` and `workers.tasks.exits` (Teerapittayanon et al., 2016, ICPR, BranchyNet: entropy; Huang et
al., 2018, ICLR, MSDNet: largest probability). Every score is in [0, 1], and larger is surer.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

RULES = ("probability", "entropy", "margin")
NONE = -1
"""No class, and no sample: after the last that goes on in `order`."""


def score(logits: Tensor, rule: str, temperature: float = 1.0) -> Tensor:
    """How sure each sample of logits [B, C] is, [B] in their dtype, of p = softmax(logits / temperature).

    probability: max p. entropy: 1 - (-Σ p ln p) / ln C. margin: the largest p minus the second largest. 1 with one
    class; and where p is not finite (a network that diverged is as sure as can be, and wrong).
    """
    p = torch.softmax(logits / temperature, dim=1)
    classes = logits.shape[1]
    if classes == 1:
        found = p[:, 0]
    elif rule == "probability":
        found = p.amax(dim=1)
    elif rule == "entropy":
        found = 1.0 - torch.special.entr(p).sum(dim=1) / math.log(classes)
    else:
        two = p.topk(2, dim=1).values
        found = two[:, 0] - two[:, 1]
    return torch.where(p.isnan().any(dim=1), torch.ones_like(found), found)


def predicted(logits: Tensor) -> Tensor:
    """The class of each sample, [B] (int64): the first of the largest logits; `NONE` where softmax is not finite."""
    finite = ~torch.softmax(logits, dim=1).isnan().any(dim=1)
    return torch.where(finite, logits.argmax(dim=1), NONE)


def order(found: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """Who goes on: their places [B] (int64), ascending, then `NONE`; and how many they are, [] (int64).

    A sample leaves where its score is at least the threshold.
    """
    leaves = found >= threshold
    count = leaves.numel() - leaves.sum()
    first = leaves.to(torch.uint8).argsort(stable=True)
    return torch.where(torch.arange(len(leaves), device=found.device) < count, first, NONE), count


def compact(x: Tensor, places: Tensor) -> Tensor:
    """Rows [n, ...] of x [B, ...] at `places` [n]; 0 where they are `NONE`."""
    if not x.shape[0]:
        return x.new_zeros(places.shape[0], *x.shape[1:])
    rows = x.index_select(0, places.clamp_min(0))
    return rows.masked_fill_((places < 0).reshape(-1, *([1] * (x.dim() - 1))), 0)


def scatter(into: Tensor, places: Tensor, rest: Tensor) -> Tensor:
    """`into` [B, ...] with the rows `rest` [n, ...] at `places` [n]; those of `NONE` are dropped."""
    last = into.shape[0]
    room = torch.cat([into, into.new_zeros(1, *into.shape[1:])])  # one row more, where what is dropped goes
    return room.index_copy_(0, torch.where(places < 0, last, places), rest)[:last]
