"""Skip schedules of a language model: as JSON, as masks over layers and positions, and what they cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spaces.errors import SpaceError
from spaces.skipping import active, depths, unified
from spaces.transformers import Transformer

SCHEDULES = 8
"""Operating points at most."""


def drawn(spec: Transformer, always: int, rng: np.random.Generator) -> Tensor:
    """A schedule at random, as a mask [layers, T]: evenly kept layers, or depths that fall."""
    least = int(rng.integers(max(1, always), spec.depth + 1))
    if rng.random() < 0.5:
        return mask_of({"kind": "unified", "layers": list(unified(spec.depth, spec.depth / least))}, spec)
    return mask_of({"kind": "decode", "most": spec.depth, "least": least, "warm": min(always, least)}, spec)


def schedules(spec: Transformer, always: int) -> Iterator[dict[str, Any]]:
    """The operating points of a model, the whole first: evenly kept layers, and depths that fall to fewer."""
    yield {"kind": "all"}
    leasts = list(range(spec.depth - 1, max(1, always) - 1, -1))
    if len(leasts) > SCHEDULES // 2 - 1:
        leasts = [leasts[i] for i in np.linspace(0, len(leasts) - 1, SCHEDULES // 2 - 1).round().astype(int)]
    seen = {spec.depth}
    for least in leasts:
        kept = unified(spec.depth, spec.depth / least)
        if len(kept) not in seen:
            seen.add(len(kept))
            yield {"kind": "unified", "layers": list(kept)}
        yield {"kind": "decode", "most": spec.depth, "least": least, "warm": min(always, least)}


def mask_of(schedule: Mapping[str, Any], spec: Transformer) -> Tensor:
    """[layers, T] float32: 1 where a layer runs at a position."""
    mask = torch.zeros(spec.depth, spec.context)
    match schedule["kind"]:
        case "all":
            mask[:] = 1
        case "unified":
            mask[[int(layer) for layer in schedule["layers"]]] = 1
        case "decode":
            falling = depths(spec.context, int(schedule["most"]), int(schedule["least"]))
            for position, depth in enumerate(falling):
                mask[list(active(spec.depth, depth, int(schedule["warm"]))), position] = 1
        case kind:
            raise SpaceError(f"{kind!r} is no skip schedule: all, unified or decode")
    return mask


def rates(mask: Tensor) -> list[float]:
    """The share of positions at which 1, 2, … layers run; their latency is that of so many."""
    layers, length = mask.shape
    counts = torch.bincount(mask.sum(0).long(), minlength=layers + 1)[1:]
    return [float(n) / length for n in counts]
