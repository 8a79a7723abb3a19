"""Choices that share their options, as in the edges of a cell: how often each option was taken, wherever it was.

What an architecture costs, and much of what it can do, depends on how many convolutions it has before it depends on
where they are. A model that sees both learns the first from a handful of trials.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from spaces.domains import Choice
from spaces.space import Space

Floats = NDArray[np.float64]

FEWEST = 3
"""So many choices with the same options are a vocabulary in use."""
UNIT = math.sqrt(12.0)
"""Of two configs that differ in one choice of six, the counts are about as far apart, in their usual distance, as the
choices are."""


class Vocabularies:
    """Of a space: `d` columns, one an option of each vocabulary; `groups` [d]: the number of the vocabulary."""

    def __init__(self, space: Space) -> None:
        found: dict[tuple[str, ...], list[int]] = {}
        for slot in space.slots:
            domain = slot.domain
            if isinstance(domain, Choice) and not domain.ordered and len(domain.options) > 1:
                found.setdefault(tuple(map(str, domain.options)), []).append(slot.start)
        self._shared = [(np.array(at), len(words)) for words, at in found.items() if len(at) >= FEWEST]
        sizes = [options for _, options in self._shared]
        self.groups: NDArray[np.intp] = np.repeat(np.arange(len(sizes)), sizes)
        self.d = int(sum(sizes))
        self.many = len(sizes)

    def __call__(self, units: Floats) -> Floats:
        """Counts of snapped points `units` [n, width], of the choices that are active: [n, d]."""
        out = np.empty((len(units), self.d))
        first = 0
        for at, options in self._shared:
            u = units[:, at]
            place = np.where(np.isnan(u), -1.0, np.minimum(np.floor(u * options), options - 1))
            for option in range(options):
                out[:, first + option] = (place == option).sum(axis=1)
            first += options
        out /= UNIT
        return out
