"""Two paths at a time: how the choice learns in ProxylessNAS.

Of each layer two candidates are drawn by their probabilities, and one of them runs, by the probabilities of the two
alone. Both are computed, so that the loss says what the other one would have changed: no more than two candidates of
a layer are in memory, however many there are. The error moves the logits of the two, the latency those of all, as in
the authors' code; moving the two alone (the paper's words) hardly chose anything in 16 epochs (docs/log.md).

Source: Cai, Zhu, Han (2019, ICLR), ProxylessNAS, section 3.2: dL / dα_i = Σ_j dL / dg_j p_j (δ_ij - p_i) over the two.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

LEAST = 1e-12
"""A candidate's probability counts at least this when two are drawn."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two candidates of a layer by their `places`, and in this order the `gate` [2]: 1 for the one that runs, 0 for the
    other, with the gradient of the softmax over the two logits. A layer of one candidate has one, whose gate is 1."""

    places: tuple[int, ...]
    gate: Tensor


def drawn(logits: Iterable[Tensor], rng: np.random.Generator) -> list[Pair]:
    """A pair for each layer's `logits` [candidates]."""
    return [_pair(each, rng) for each in logits]


def _pair(logits: Tensor, rng: np.random.Generator) -> Pair:
    share = np.maximum(torch.softmax(logits.detach().double(), 0).numpy(), LEAST)
    places = tuple(rng.choice(len(share), size=min(2, len(share)), replace=False, p=share / share.sum()).tolist())
    soft = torch.softmax(logits[list(places)], 0)
    runs = int(rng.random() >= float(soft[0].detach()))
    hard = functional.one_hot(torch.tensor(min(runs, len(places) - 1)), len(places)).to(soft.dtype)
    return Pair(places, hard + soft - soft.detach())
