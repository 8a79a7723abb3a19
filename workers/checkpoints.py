"""Checkpoints of one trial: safetensors files, written whole or not at all, verified before they are used.

A file is `trials/<n>/ckpt-<step>-a<attempt>.safetensors` below the study's artifact root, its JSON part in the
header's metadata; beside it `….json` holds its `CheckpointRef`, so that an older one can be found and verified when
the newest is damaged. `searchd.storage` writes each whole or not at all. No pickle anywhere.
An older attempt that is still running writes other names, so it cannot overwrite what a newer one relies on.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from searchd.storage import LocalStorage, Storage, StorageGone
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
    """The checkpoints of one trial as one attempt of a job sees them.

    `storage`: the study's artifact root, or its folder; `scratch`: where copies of a remote one's files go. What the
    storage cannot do now raises StorageGone, and is no reason to train again what lies there.
    """

    def __init__(
        self, storage: Storage | Path, trial: int, attempt: int, began_from: CheckpointRef | None = None,
        kept: Kept | None = None, scratch: Path | None = None,
    ) -> None:  # fmt: skip
        self.storage = LocalStorage(storage) if isinstance(storage, Path) else storage
        self.folder = f"trials/{trial}"
        self.attempt = attempt
        self.began_from = began_from
        self._scratch = scratch or Path(self.storage.root)
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
        name = f"{self.folder}/ckpt-{step}-a{self.attempt}.{suffix}"
        reference = CheckpointRef(step=step, path=name, sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))
        self.storage.write(name, data, fresh=True)
        # The second file is for when the newest checkpoint is damaged; nothing refers to it, so it need not be durable.
        self.storage.write(f"{name}.json", reference.model_dump_json().encode(), durable=False)
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
        with contextlib.suppress(StorageGone):  # one too many does no harm
            self.storage.remove(reference.path)
            self.storage.remove(f"{reference.path}.json")

    def locate(self, reference: CheckpointRef) -> Path:
        """The verified file of a reference. Raises Corrupt when it is missing, outside the root, or damaged."""
        with _reading(reference):
            path = self.storage.local(reference.path, self._scratch)
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
        _verify(reference, digest.hexdigest())
        return path

    def read(self, reference: CheckpointRef) -> dict[str, Any]:
        """The verified tree of a reference, read once. Raises Corrupt."""
        with _reading(reference):
            data = self.storage.read(reference.path)
        _verify(reference, hashlib.sha256(data).hexdigest())
        return from_bytes(data)

    def earlier(self, step: int) -> list[CheckpointRef]:
        """References found in the storage of steps before `step`, newest first (of any attempt)."""
        found: list[CheckpointRef] = []
        for name in self.storage.sizes(self.folder):
            if not (name.startswith("ckpt-") and name.endswith(".json")):
                continue
            try:
                reference = CheckpointRef.model_validate_json(self.storage.read(f"{self.folder}/{name}"))
            except (ValueError, FileNotFoundError):
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


@contextlib.contextmanager
def _reading(reference: CheckpointRef) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise Corrupt(f"{reference.path} cannot be read: {error.strerror or error}") from error


def _verify(reference: CheckpointRef, found: str) -> None:
    if found != reference.sha256:
        begins, wanted = found[:12], reference.sha256[:12]
        raise Corrupt(f"{reference.path} is damaged: its SHA-256 begins {begins}, not {wanted}")
