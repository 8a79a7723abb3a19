"""Checkpoints of one trial: safetensors files, written whole or not at all, verified before they are used.

A file is `trials/<n>/ckpt-<step>-a<attempt>.safetensors` below the study's artifact root, its JSON part in the
header's metadata; beside it `….json` holds its `CheckpointRef`, so that an older one can be found and verified when
the newest is damaged. Write: temporary file, fsync, rename, fsync of the folder. No pickle anywhere.
An older attempt that is still running writes other names, so it cannot overwrite what a newer one relies on.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from searchd.wire import CheckpointRef
from workers.kept import Kept
from workers.state import pack, unpack

log = logging.getLogger("searchd.worker")

KEEP = 2
"""How many of a job's own checkpoints stay besides the one it began from. One goes only once the daemon can know two
newer ones (of the last report it may say that it came too late), so there is one more, or several while the broker is
away."""
BLOB = "blob"

T = TypeVar("T")


class Corrupt(Exception):
    """A checkpoint that is not what was written: missing, cut short, or with another SHA-256."""


def write_atomically(path: Path, data: bytes) -> None:
    """`data` at `path`, durable when this returns; a crash leaves the old file or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def flatten(tree: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """(JSON, arrays by name) of a tree: tensors as copies on the CPU, arrays of a tree without any as they are."""
    arrays: dict[str, Any] = {}
    text = json.dumps(pack(tree, arrays), separators=(",", ":"))
    if _any_tensor(arrays):
        import torch

        whole = torch.contiguous_format
        arrays = {n: torch.as_tensor(a).detach().cpu().clone(memory_format=whole) for n, a in arrays.items()}
    return text, arrays


def serialise(text: str, arrays: Mapping[str, Any]) -> bytes:
    """What `flatten` answered as one safetensors file."""
    if _any_tensor(arrays):
        import safetensors.torch

        return safetensors.torch.save(dict(arrays), {"searchd": text})
    import safetensors.numpy

    return safetensors.numpy.save(dict(arrays), {"searchd": text})


def to_bytes(tree: Mapping[str, Any]) -> bytes:
    """A tree of plain values, arrays and tensors as one safetensors file."""
    return serialise(*flatten(tree))


def as_read(text: str, arrays: Mapping[str, Any]) -> dict[str, Any]:
    """The arrays of `flatten` as `from_bytes` would find them: tensors and arrays by kind, nobody else's memory."""
    if not _any_tensor(arrays):
        return {n: a.copy(order="C") for n, a in arrays.items()}
    kinds = dict(_named(json.loads(text)))
    return {n: t.numpy() if kinds.get(n) == "array" else t for n, t in arrays.items()}


def _any_tensor(arrays: Mapping[str, Any]) -> bool:
    return any(type(a).__module__.partition(".")[0] == "torch" for a in arrays.values())


def from_bytes(data: bytes) -> dict[str, Any]:
    """The tree in a safetensors file of `to_bytes`. Raises Corrupt when it is none."""
    try:
        length = int.from_bytes(data[:8], "little")
        tree = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["searchd"])
        found = unpack(tree, _arrays(data, tree))
    except (ValueError, KeyError, TypeError) as error:
        raise Corrupt(f"not a checkpoint of searchd: {error}") from error
    if not isinstance(found, dict):
        raise Corrupt("not a checkpoint of searchd: it holds no mapping")
    return found


def _arrays(data: bytes, tree: Any) -> dict[str, Any]:
    """Tensors and arrays by name; torch is imported only when a tensor was saved."""
    kinds = dict(_named(tree))
    if "tensor" not in kinds.values():
        import safetensors.numpy

        return safetensors.numpy.load(data) if kinds else {}
    import safetensors.torch

    tensors = safetensors.torch.load(data)
    return {name: t.numpy() if kinds.get(name) == "array" else t for name, t in tensors.items()}


def _named(tree: Any) -> list[tuple[str, str]]:
    """(name, kind) of every tensor and array that a packed tree mentions."""
    if isinstance(tree, list):
        return [found for value in tree for found in _named(value)]
    if not isinstance(tree, dict):
        return []
    if tree.get("$") in ("tensor", "array"):
        return [(tree["of"], tree["$"])]
    return [found for value in tree.values() for found in _named(value)]


class Checkpoints:
    """The checkpoints of one trial as one attempt of a job sees them. `root`: the study's artifact root."""

    def __init__(
        self, root: Path, trial: int, attempt: int, began_from: CheckpointRef | None = None, kept: Kept | None = None
    ) -> None:
        self.root = root
        self.folder = root / "trials" / str(trial)
        self.attempt = attempt
        self.began_from = began_from
        self._own: list[CheckpointRef] = []
        self._known = 0
        self._kept = Kept() if kept is None else kept

    def write(self, step: int, tree: Mapping[str, Any], *, keep: bool = False) -> CheckpointRef:
        """Make the state after `step` durable and answer its reference. `keep`: in memory too, for the next job."""
        text, arrays = flatten(tree)
        reference = self._put(step, serialise(text, arrays), "safetensors")
        if keep and self._kept.fits(reference.bytes):
            self._kept.put(reference.sha256, reference.bytes, text, as_read(text, arrays))
        return reference

    def adopt(self, step: int, file: Path) -> CheckpointRef:
        """Take a file that a command wrote as its checkpoint after `step`; the file itself stays the command's."""
        return self._put(step, file.read_bytes(), BLOB)

    def _put(self, step: int, data: bytes, suffix: str) -> CheckpointRef:
        path = self.folder / f"ckpt-{step}-a{self.attempt}.{suffix}"
        reference = CheckpointRef(
            step=step,
            path=path.relative_to(self.root).as_posix(),
            sha256=hashlib.sha256(data).hexdigest(),
            bytes=len(data),
        )
        write_atomically(path, data)
        write_atomically(path.with_name(path.name + ".json"), reference.model_dump_json().encode())
        self._own = [r for r in self._own if r.step != step] + [reference]
        while len(self._own) > KEEP and self._own[2].step <= self._known:
            self._remove(self._own.pop(0))
        return reference

    def known(self, step: int) -> None:
        """The report that names the checkpoint of `step` went up: older ones may be removed from now on."""
        self._known = max(self._known, step)

    @property
    def ahead(self) -> int:
        """How many of this attempt's checkpoints nobody else knows of yet."""
        return sum(reference.step > self._known for reference in self._own)

    def _remove(self, reference: CheckpointRef) -> None:
        if self.began_from is not None and reference.path == self.began_from.path:
            return
        path = self.root / reference.path
        path.unlink(missing_ok=True)
        path.with_name(path.name + ".json").unlink(missing_ok=True)

    def locate(self, reference: CheckpointRef) -> Path:
        """The verified file of a reference. Raises Corrupt when it is missing, outside the root, or damaged."""
        path = self._inside(reference)
        digest = hashlib.sha256()
        with _reading(reference), path.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
        _verify(reference, digest.hexdigest())
        return path

    def read(self, reference: CheckpointRef) -> dict[str, Any]:
        """The verified tree of a reference, read once. Raises Corrupt."""
        path = self._inside(reference)
        with _reading(reference):
            data = path.read_bytes()
        _verify(reference, hashlib.sha256(data).hexdigest())
        return from_bytes(data)

    def _inside(self, reference: CheckpointRef) -> Path:
        path = (self.root / reference.path).resolve()
        if not path.is_relative_to(self.root.resolve()):
            raise Corrupt(f"{reference.path} is outside the study's artifacts")
        return path

    def earlier(self, step: int) -> list[CheckpointRef]:
        """References found on disk of steps before `step`, newest first (of any attempt)."""
        found: list[CheckpointRef] = []
        for path in self.folder.glob("ckpt-*.json"):
            try:
                reference = CheckpointRef.model_validate_json(path.read_bytes())
            except (ValueError, OSError):
                continue
            if reference.step < step:
                found.append(reference)
        return sorted(found, key=lambda r: (r.step, r.path), reverse=True)

    def usable(self, reference: CheckpointRef | None) -> tuple[CheckpointRef, dict[str, Any]] | None:
        """(`reference`, its tree): from memory where this process wrote it, else from its file.

        If that does not verify: the newest earlier one that does, else None; each skip is logged.
        """
        if reference is not None and (tree := self._kept.take(reference.sha256)) is not None:
            return reference, tree
        return self._first(reference, self.read)

    def usable_file(self, reference: CheckpointRef | None) -> tuple[CheckpointRef, Path] | None:
        """The same for a checkpoint that a command wrote: its verified file."""
        return self._first(reference, self.locate)

    def _first(
        self, reference: CheckpointRef | None, look: Callable[[CheckpointRef], T]
    ) -> tuple[CheckpointRef, T] | None:
        if reference is None:
            return None
        for candidate in [reference, *self.earlier(reference.step)]:
            try:
                return candidate, look(candidate)
            except Corrupt as error:
                log.warning("checkpoint of step %d skipped: %s", candidate.step, error)
        log.warning("no checkpoint is usable; training starts again from step 1")
        return None


@contextmanager
def _reading(reference: CheckpointRef) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Corrupt(f"{reference.path} cannot be read: {error.strerror}") from error


def _verify(reference: CheckpointRef, found: str) -> None:
    if found != reference.sha256:
        begins, wanted = found[:12], reference.sha256[:12]
        raise Corrupt(f"{reference.path} is damaged: its SHA-256 begins {begins}, not {wanted}")
