"""A storage at any URL that fsspec opens. A call returns within `DEADLINE_S` plus what its bytes need at `SLOWEST`,
whatever the library below does."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from searchd.errors import Missing
from searchd.storage.base import CHUNK, StorageGone

DEADLINE_S = 30.0
"""`SEARCHD_STORAGE_TIMEOUT_S` sets another."""
SLOWEST = 1 << 20
"""Bytes a second: slower counts as gone."""
WHOLE = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oss", "oci", "memory"})
"""Protocols whose one write is there as a whole or not at all."""
OPTIONS = {"s3": {"config_kwargs": {"connect_timeout": 5, "read_timeout": 20, "retries": {"max_attempts": 2}}}}
"""So that the libraries below give up before the deadline. Addresses and keys come from their own configuration."""

T = TypeVar("T")


class RemoteStorage:
    """A URL that fsspec opens. Opened at the first call, so that a process that needs none imports none."""

    def __init__(self, root: str, deadline_s: float | None = None) -> None:
        self.root = root
        self.deadline_s = deadline_s or float(os.environ.get("SEARCHD_STORAGE_TIMEOUT_S") or DEADLINE_S)
        self._opened: tuple[Any, str] | None = None

    def write(self, name: str, data: bytes, *, durable: bool = True, fresh: bool = False) -> None:  # noqa: ARG002
        """What is up there is durable, and whole: the rest is for folders."""

        def put(fs: Any, path: str) -> None:
            if fs_protocol(self.root) in WHOLE:
                fs.pipe_file(path, data)
                return
            fs.makedirs(path.rpartition("/")[0], exist_ok=True)
            draft = f"{path.rpartition('/')[0]}/.{path.rpartition('/')[2]}.{os.getpid()}.tmp"
            fs.pipe_file(draft, data)
            fs.mv(draft, path)

        self._do(f"write {name}", name, put, len(data))

    def read(self, name: str) -> bytes:
        size = self._do(f"read {name}", name, lambda fs, path: int(fs.info(path)["size"] or 0))
        found: bytes = self._do(f"read {name}", name, lambda fs, path: fs.cat_file(path), size)
        return found

    def chunks(self, name: str) -> Iterator[bytes]:
        file = self._do(f"read {name}", name, lambda fs, path: fs.open(path, "rb"))

        def pieces() -> Iterator[bytes]:
            with contextlib.closing(file):
                while piece := self._do(f"read {name}", name, lambda *_: file.read(CHUNK), CHUNK):
                    yield piece

        return pieces()

    def local(self, name: str, scratch: Path) -> Path:
        copy = scratch / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        with copy.open("wb") as out:
            for piece in self.chunks(name):
                out.write(piece)
        return copy

    def remove(self, name: str) -> None:
        def gone(fs: Any, path: str) -> None:
            with contextlib.suppress(FileNotFoundError):
                fs.rm_file(path)

        self._do(f"remove {name}", name, gone)

    def sizes(self, folder: str) -> dict[str, int]:
        def look(fs: Any, path: str) -> dict[str, int]:
            fs.invalidate_cache()
            try:
                found = fs.find(path, detail=True)
            except FileNotFoundError:
                return {}
            names = {str(k).removeprefix(path).strip("/"): int(v.get("size") or 0) for k, v in found.items()}
            return {n: s for n, s in sorted(names.items()) if n and not any(p.startswith(".") for p in n.split("/"))}

        return self._do(f"list {folder}", folder, look)

    def probe(self) -> None:
        name = f".probe.{os.getpid()}"
        self.write(name, b"searchd")
        self.remove(name)

    def _do(self, what: str, name: str, call: Callable[[Any, str], T], size: int = 0) -> T:
        """`call(file system, path)` within the deadline; its FileNotFoundError as it is, all else as StorageGone."""
        if ".." in name.split("/") or name.startswith("/"):
            raise FileNotFoundError(f"{name} is outside {self.root}")
        try:
            return within(self.deadline_s + size / SLOWEST, lambda: self._call(name, call))
        except (FileNotFoundError, Missing):
            raise
        except TimeoutError as e:
            late = self.deadline_s + size / SLOWEST
            raise StorageGone(f"the storage {self.root} did not answer within {late:.0f} s ({what})") from e
        except Exception as e:  # whatever a protocol's library raises
            said = " ".join(str(e).split())[:300] or type(e).__name__
            raise StorageGone(f"the storage {self.root} does not answer ({what}: {said})") from e

    def _call(self, name: str, call: Callable[[Any, str], T]) -> T:
        if self._opened is None:
            self._opened = _file_system(self.root)
        fs, top = self._opened
        return call(fs, f"{top}/{name}".rstrip("/"))


def fs_protocol(root: str) -> str:
    """`s3` of `s3://bucket/prefix`."""
    return root.partition("://")[0]


def _file_system(root: str) -> tuple[Any, str]:
    protocol = fs_protocol(root)
    try:
        import fsspec

        fs, path = fsspec.core.url_to_fs(root, **OPTIONS.get(protocol, {}), skip_instance_cache=False)
    except ImportError as e:
        raise Missing(f"artifacts at {protocol}://… need a package ({e}): pip install 'searchd[remote]'") from e
    except ValueError as e:
        raise Missing(f"artifacts at {root}: {e}; a folder, s3://bucket/prefix, or another URL of fsspec") from e
    return fs, path.rstrip("/")


def within(seconds: float, call: Callable[[], T]) -> T:
    """What `call` answers; TimeoutError when it takes longer. It then goes on by itself in its thread, and nobody waits
    for it."""
    answered: list[T] = []
    raised: list[BaseException] = []

    def run() -> None:
        try:
            answered.append(call())
        except BaseException as e:  # handed over to who waits
            raised.append(e)

    thread = threading.Thread(target=run, name="storage", daemon=True)
    thread.start()
    thread.join(seconds)
    if raised:
        raise raised[0]
    if not answered:
        raise TimeoutError
    return answered[0]
