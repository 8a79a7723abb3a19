"""Blocks that choose their width together, without those that are fixed: what a search over levels moves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from spaces.allocating import Ground
from spaces.allocation import Table

Choice = tuple[int, ...]
"""Index of the width, one a block."""


@dataclass(frozen=True, slots=True)
class Units:
    """`blocks`: those of each unit; `base`: the choice of the fixed blocks (0 elsewhere)."""

    blocks: tuple[tuple[int, ...], ...]
    base: Choice

    @classmethod
    def of(cls, ground: Ground) -> Units:
        """The units of a network."""
        n = len(ground.spec.blocks)
        owner = list(range(n))
        for tie in ground.ties:
            roots = {owner[i] for i in tie}
            owner = [min(roots) if o in roots else o for o in owner]
        held = {owner[i]: c for i, c in ground.fixed.items()}
        free = [tuple(i for i in range(n) if owner[i] == o) for o in sorted(set(owner)) if o not in held]
        return cls(tuple(free), tuple(held.get(owner[i], 0) for i in range(n)))

    def choice(self, levels: Sequence[int]) -> Choice:
        """The choice of all blocks, from a level a unit."""
        out = list(self.base)
        for blocks, level in zip(self.blocks, levels, strict=True):
            for i in blocks:
                out[i] = level
        return tuple(out)

    def table(self, cost: Table) -> list[list[float]]:
        """A cost a unit [units][choices]."""
        return [[sum(cost[i][c] for i in blocks) for c in range(len(cost[0]))] for blocks in self.blocks]

    def held(self, cost: Table) -> float:
        """What the fixed blocks cost."""
        moving = {i for blocks in self.blocks for i in blocks}
        return sum(cost[i][c] for i, c in enumerate(self.base) if i not in moving)
