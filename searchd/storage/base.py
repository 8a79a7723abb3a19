"""What a storage of studies' files promises."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from searchd.errors import Unreachable

CHUNK = 1 << 20


class StorageGone(Unreachable):
    """The storage does not answer, or refuses: no fault of who asked."""


class Storage(Protocol):
    """Files below one root. Every method raises StorageGone; reading what is not there raises FileNotFoundError."""

    root: str

    def write(self, name: str, data: bytes, *, durable: bool = True, fresh: bool = False) -> None:
        """`data` under `name`, whole and durable when this returns; a crash leaves the old file or the new one.

        Not `durable`: whoever reads it here sees it whole; after a power failure it may be missing, old or damaged.
        `fresh`: the name is new, nothing refers to it yet, and who reads it checks a digest; a power failure before
        this returns may leave a part."""
        ...

    def read(self, name: str) -> bytes: ...

    def chunks(self, name: str) -> Iterator[bytes]:
        """The file in pieces; what is not there is said before the first one."""
        ...

    def local(self, name: str, scratch: Path) -> Path:
        """The file on this machine's disk: itself, or a copy below `scratch`."""
        ...

    def remove(self, name: str) -> None:
        """Gone afterwards, whether it was there or not."""
        ...

    def sizes(self, folder: str) -> dict[str, int]:
        """Bytes of every file below `folder`, by its name relative to it; hidden ones (half written) left out. Empty
        when there is no such folder."""
        ...

    def probe(self) -> None:
        """Returns when a file can be written here and removed again."""
        ...
