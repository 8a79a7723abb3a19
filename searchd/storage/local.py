"""A folder of this machine, or one that is mounted here."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from searchd.storage.base import CHUNK, StorageGone


def write_atomically(path: Path, data: bytes, *, durable: bool = True, fresh: bool = False) -> None:
    """`data` at `path`, durable when this returns; a crash leaves the old file or the new one, never a part.

    Not `durable`: nothing waits for the disk; a crash of this process is as harmless, a power failure is not. `fresh`:
    a new name that nothing refers to before this returns, and whose readers check a digest. It has its name before its
    content is on the disk, so that one flush does for both (docs/decisions/0038-one-flush-a-checkpoint.md)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            if fresh:
                temporary.replace(path)
            if durable:
                os.fsync(file.fileno())
        if fresh:
            return
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if not durable:
        return
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


class LocalStorage:
    """`storage.base.Storage` over a folder."""

    def __init__(self, folder: Path) -> None:
        self.root = str(folder)
        self.folder = folder

    def write(self, name: str, data: bytes, *, durable: bool = True, fresh: bool = False) -> None:
        path = self._path(name)
        try:
            write_atomically(path, data, durable=durable, fresh=fresh)
        except OSError as e:
            raise self._gone("written", name, e) from e

    def read(self, name: str) -> bytes:
        with self._asked("read", name):
            return self._path(name).read_bytes()

    def chunks(self, name: str) -> Iterator[bytes]:
        with self._asked("read", name):
            file = self._path(name).open("rb")

        def pieces() -> Iterator[bytes]:
            with file:
                yield from iter(lambda: file.read(CHUNK), b"")

        return pieces()

    def local(self, name: str, scratch: Path) -> Path:  # noqa: ARG002  (it is here)
        path = self._path(name)
        with self._asked("read", name):
            path.stat()
        return path

    def remove(self, name: str) -> None:
        with self._asked("removed", name):
            self._path(name).unlink(missing_ok=True)

    def sizes(self, folder: str) -> dict[str, int]:
        top = self._path(folder)
        return dict(sorted(self._walk(top, top)))

    def probe(self) -> None:
        name = f".probe.{os.getpid()}"
        self.write(name, b"searchd")
        self.remove(name)

    def _path(self, name: str) -> Path:
        try:
            path = (self.folder / name).resolve()
            inside = path.is_relative_to(self.folder.resolve())
        except (ValueError, RuntimeError):  # a NUL, a loop of links
            inside = False
        if not inside:
            raise FileNotFoundError(f"{name} is outside {self.root}")
        return path

    def _walk(self, folder: Path, top: Path) -> Iterator[tuple[str, int]]:
        try:
            entries = list(os.scandir(folder))
        except OSError:
            return
        for entry in entries:
            with contextlib.suppress(OSError):  # gone meanwhile
                if entry.name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    yield from self._walk(Path(entry.path), top)
                elif _is_ours(entry, top):
                    yield Path(entry.path).relative_to(top).as_posix(), entry.stat().st_size

    @contextlib.contextmanager
    def _asked(self, what: str, name: str) -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as e:
            raise FileNotFoundError(f"{name} is not in {self.root}") from e
        except OSError as e:
            raise self._gone(what, name, e) from e

    def _gone(self, what: str, name: str, error: OSError) -> StorageGone:
        why = error.strerror or type(error).__name__
        return StorageGone(f"the storage {self.root}: {name} cannot be {what} ({why})")


def _is_ours(entry: os.DirEntry[str], top: Path) -> bool:
    """A file below `top`, or a link to one; not what a link names elsewhere, nor a loop of links."""
    try:
        linked = entry.is_symlink() and not Path(entry.path).resolve().is_relative_to(top.resolve())
        return entry.is_file() and not linked
    except RuntimeError:
        return False
