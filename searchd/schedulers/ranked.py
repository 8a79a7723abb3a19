"""A sorted list in blocks: an entry and a rank cost about the same at a hundred thousand as at a hundred.

One flat list is as good up to some thousand entries; at 50,000 an insertion moves 200 kB, four times the cost of here.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import Any

Key = tuple[int, float, Any, int]
"""Class, violation, what is compared (a loss, or losses), trial."""
MOST = 1000
"""Of a block; one that is longer is cut in half."""


class Ranked:
    """Distinct keys, the least first."""

    __slots__ = ("_blocks", "_last")

    def __init__(self) -> None:
        self._blocks: list[list[Key]] = [[]]
        self._last: list[Key] = []  # of each block but the last one: no key beyond belongs there

    def add(self, key: Key) -> None:
        """One more key."""
        at = bisect_left(self._last, key)
        block = self._blocks[at]
        insort(block, key)
        if len(block) > MOST:
            half = MOST // 2
            self._blocks.insert(at + 1, block[half:])
            del block[half:]
            self._last.insert(at, block[-1])

    def remove(self, key: Key) -> None:
        """Without a key that is in; ValueError for any other."""
        block = self._blocks[bisect_left(self._last, key)]
        place = bisect_left(block, key)
        if place == len(block) or block[place] != key:
            raise ValueError(f"this is a bug: {key} is not ranked")
        del block[place]

    def rank(self, key: Key) -> int:
        """How many keys are less."""
        at = bisect_left(self._last, key)
        return sum(map(len, self._blocks[:at])) + bisect_left(self._blocks[at], key)

    def __getitem__(self, rank: int) -> Key:
        """The key of a rank from 0; IndexError when there are not so many."""
        for block in self._blocks:
            if rank < len(block):
                return block[rank]
            rank -= len(block)
        raise IndexError("there are not so many keys")
