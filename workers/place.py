"""Where the files of one job are: its study's storage, and the folder of this machine that its task sees.

A folder is both. Of a remote storage the trial's files (not its checkpoints) are copied into a temporary folder before
the job, and those that changed are written back before its end is said. A storage that does not answer is waited for,
aloud; when it stays away the job is lost, which is no fault of the trial's: it runs again, perhaps elsewhere.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from searchd.errors import Refused
from searchd.storage import Storage, StorageGone, open_storage, remote
from workers.trial import Ending, Link

log = logging.getLogger("searchd.worker")

PATIENCE_S = 120.0
"""How long a job waits for its storage; `SEARCHD_STORAGE_PATIENCE_S` sets another."""
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 10.0
LOOK_S = 0.1
SCRATCH = "searchd-job-"
CHECKPOINT = "ckpt-"

T = TypeVar("T")


@dataclass(slots=True)
class Place:
    """`root`: the study's artifact root as the task sees it; `storage` keeps what lies there."""

    root: Path
    storage: Storage
    folder: str = ""
    _known: dict[str, tuple[int, int]] = field(default_factory=dict)

    def fetch(self) -> None:
        """The trial's files of earlier jobs, into its folder here."""
        for name in self.storage.sizes(self.folder):
            if not name.startswith(CHECKPOINT):
                with contextlib.suppress(FileNotFoundError):
                    self.storage.local(f"{self.folder}/{name}", self.root)
        self._known = dict(self._here())

    def keep(self) -> None:
        """Write back what changed since."""
        for name, state in self._here():
            if self._known.get(name) != state:
                self.storage.write(f"{self.folder}/{name}", (self.root / self.folder / name).read_bytes())

    def _here(self) -> Iterator[tuple[str, tuple[int, int]]]:
        top = self.root / self.folder
        for path in sorted(top.rglob("*")):
            name = path.relative_to(top).as_posix()
            hidden = any(part.startswith(".") for part in name.split("/"))
            if path.is_file() and not hidden and not name.startswith(CHECKPOINT):
                yield name, (path.stat().st_size, path.stat().st_mtime_ns)


@contextlib.contextmanager
def place(wanted: str, allowed: str | None, trial: int, link: Link) -> Iterator[Place]:
    """The place of a job of `trial`, for as long as it runs. Refused when it is outside of what is `allowed`; an Ending
    (`lost`) when its storage stays away."""
    root = artifact_root(wanted, allowed)
    storage = Patient(open_storage(root), link)
    if not remote(root):
        yield Place(Path(root), storage)
        return
    with tempfile.TemporaryDirectory(prefix=f"{SCRATCH}{os.getpid()}-", ignore_cleanup_errors=True) as scratch:
        here = Place(Path(scratch), storage, f"trials/{trial}")
        here.fetch()
        try:
            yield here
        except Ending as ending:
            if ending.outcome != "lost":
                with contextlib.suppress(Ending):
                    here.keep()
            raise
        here.keep()


def artifact_root(wanted: str, allowed: str | None) -> str:
    """Where a job's files go, an absolute folder or a URL. With `allowed` a relative root lies in it, and one outside
    is Refused."""
    if allowed is None:
        return wanted if remote(wanted) else str(Path(wanted).absolute())
    if remote(allowed) or remote(wanted):
        top = allowed.rstrip("/")
        root = wanted if remote(wanted) or wanted.startswith("/") else f"{top}/{wanted}"
        inside = root == top or (root.startswith(f"{top}/") and ".." not in root.split("/"))
    else:
        root = str((Path(allowed).absolute() / wanted).resolve())
        inside = Path(root).is_relative_to(Path(allowed).resolve())
    if not inside:
        raise Refused(
            f"the study's artifacts are at {wanted}, outside of {allowed}, where this worker may write; "
            "start daemon and workers with the same --artifacts"
        )
    return root


def sweep() -> None:
    """Remove the temporary folders of children that were killed."""
    for path in Path(tempfile.gettempdir()).glob(f"{SCRATCH}*"):
        pid = path.name.removeprefix(SCRATCH).partition("-")[0]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists() and Path("/proc/self").exists():
            shutil.rmtree(path, ignore_errors=True)


class Patient:
    """A storage that is waited for: what it cannot do now is tried again, for PATIENCE_S or until the job is asked to
    end. Then an Ending, `lost`."""

    def __init__(self, storage: Storage, link: Link, patience_s: float | None = None) -> None:
        self.root = storage.root
        self._storage = storage
        self._link = link
        self._patience_s = patience_s or float(os.environ.get("SEARCHD_STORAGE_PATIENCE_S") or PATIENCE_S)

    def write(self, name: str, data: bytes, *, durable: bool = True, fresh: bool = False) -> None:
        self._ask(lambda: self._storage.write(name, data, durable=durable, fresh=fresh))

    def read(self, name: str) -> bytes:
        return self._ask(lambda: self._storage.read(name))

    def chunks(self, name: str) -> Iterator[bytes]:
        return self._ask(lambda: self._storage.chunks(name))

    def local(self, name: str, scratch: Path) -> Path:
        return self._ask(lambda: self._storage.local(name, scratch))

    def remove(self, name: str) -> None:
        self._storage.remove(name)

    def sizes(self, folder: str) -> dict[str, int]:
        return self._ask(lambda: self._storage.sizes(folder))

    def probe(self) -> None:
        self._ask(self._storage.probe)

    def _ask(self, call: Callable[[], T]) -> T:
        give_up, pause, told = time.monotonic() + self._patience_s, FIRST_PAUSE_S, False
        while True:
            try:
                answer = call()
            except StorageGone as error:
                if not told:
                    log.warning("%s; waiting for it", error)
                    self._link.note(f"waits: {error}")
                    told = True
                if time.monotonic() > give_up or not self._pause(pause):
                    raise Ending("lost", str(error)) from error
                pause = min(2 * pause, LONGEST_PAUSE_S)
            else:
                if told:
                    log.info("the storage %s answers again", self.root)
                    self._link.note("")
                return answer

    def _pause(self, seconds: float) -> bool:
        """Wait; False when the job was asked to end meanwhile."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if self._link.request() is not None:
                return False
            time.sleep(LOOK_S)
        return True
