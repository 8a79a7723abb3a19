"""At which numbers of rows the hyperparameters of a model are climbed, and how far.

A fit begins at the one before, so a restart that climbs at the same sizes gets the same: sizes follow from the number
of rows alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, inf

GROWTH, FULL_GROWTH = 1.15, 1.5
"""A fit for every so many times more rows, and once there are more than the model holds: a restart climbs through all
of them, and what is new then moves a full model little …"""
FIRST_STEPS, STEPS = 30, 5
"""… by so many steps, at first and later."""


def sizes(first: int, n: int, most: float = inf) -> Sequence[int]:
    """The numbers of rows up to `n` at which a fit of a model that holds `most` is due."""
    found = [min(first, n)]
    while True:
        last = found[-1]
        larger = max(last + 1, ceil((GROWTH if last < most else FULL_GROWTH) * last))
        if larger > n:
            return found
        found.append(larger)
