"""What a warm child still has in memory of the checkpoints that it wrote: a trial that goes on here loads no file.

Only what was written at the end of a job is kept, as the very arrays that went into the file, under the file's
SHA-256; so a load from memory and a load from the file are equal bit by bit, and nobody need know which it was.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from workers.state import unpack

KEEP_MB = 512
"""MiB of checkpoints that a child keeps unless its worker is told otherwise."""
MOST = 32
"""So many checkpoints at the most: each end of a job names them all."""


@dataclass(frozen=True, slots=True)
class _Held:
    size: int
    text: str
    arrays: dict[str, Any]


class Kept:
    """The newest checkpoints of one process, `room` bytes of them at the most."""

    def __init__(self, room: int = 0) -> None:
        self._room = room
        self._held: OrderedDict[str, _Held] = OrderedDict()

    def fits(self, size: int) -> bool:
        """Whether a checkpoint of `size` bytes is kept at all."""
        return 0 < size <= self._room

    def put(self, sha256: str, size: int, text: str, arrays: dict[str, Any]) -> None:
        """Keep a packed tree (`workers.state.pack`): its JSON, and arrays that nobody else holds. The oldest go."""
        if not self.fits(size):
            return
        self._held.pop(sha256, None)
        self._held[sha256] = _Held(size, text, arrays)
        while len(self._held) > MOST or sum(held.size for held in self._held.values()) > self._room:
            self._held.popitem(last=False)

    def take(self, sha256: str) -> Any:
        """The tree of a checkpoint, or None. Once only: an optimizer that loads it goes on in these arrays."""
        held = self._held.pop(sha256, None)
        return None if held is None else unpack(json.loads(held.text), held.arrays)

    @property
    def names(self) -> tuple[str, ...]:
        """The SHA-256 of each, oldest first."""
        return tuple(self._held)
