"""Where the files of studies lie: a folder, or any URL that fsspec knows (`s3://bucket/prefix`, `gs://…`, `memory://…`).

Names are relative to the root and have `/` between their parts. A write is whole or not there, and durable when it
returns: in a folder by a temporary file, fsync and rename; in an object store by the one request that it is; on other
file systems by a temporary name that is moved. Whoever reads verifies what it reads by its SHA-256.

What does not answer in time, or refuses, raises StorageGone: the fault of no trial.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from searchd.errors import BadSetting
from searchd.storage.base import Storage, StorageGone
from searchd.storage.local import LocalStorage, write_atomically
from searchd.storage.remote import RemoteStorage

__all__ = [
    "LocalStorage", "RemoteStorage", "Storage", "StorageGone", "copy_to", "open_storage", "remote", "write_atomically",
]  # fmt: skip


def remote(root: str) -> bool:
    """Whether it is a URL, and no folder of this machine."""
    return "://" in root


def open_storage(root: str) -> Storage:
    """The storage at a folder or URL. BadSetting for a URL with a password: it would be recorded with every study;
    Missing when the package for its protocol is not installed."""
    if not remote(root):
        return LocalStorage(Path(root))
    parts = urlsplit(root)
    if parts.password is not None:
        raise BadSetting(
            f"artifacts {parts.scheme}://***@…: every study records this URL, so it must hold no key; give keys as the "
            "storage's own library takes them (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a credentials file)"
        )
    return RemoteStorage(root.rstrip("/"))


def copy_to(storage: Storage, name: str, to: Path) -> None:
    """One file to a place on this machine's disk. FileNotFoundError when it is not there: nothing is written then."""
    pieces = storage.chunks(name)
    with to.open("wb") as out:
        out.writelines(pieces)
