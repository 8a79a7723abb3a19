"""Checkpoints that can no longer be needed: which they are, and their removal.

Needed is what a job in flight may read; what a trial that can go on would go on from; the weights of the front; and
the weights that another trial begins with. So while a study is active only superseded checkpoints and those of failed
trials go: who was stopped may still be on the front, or a parent. Once it has ended, stopped trials off the front lose
theirs too. Those of paused trials stay until somebody says that the study is never deepened or extended (`final`);
should it be all the same, they train from step 1 again.

The files are listed first and the log is read after that: what a worker writes later is in no list, and what it wrote
before belongs to a job that the log knows as in flight. Needed things only become fewer, so nothing need be locked, and
a removal that ends midway is taken up by the next.
"""

from __future__ import annotations

import logging
import re
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

from searchd.errors import SearchdError
from searchd.storage import Storage, open_storage
from searchd.store.base import JobRow, Reader, StudyRow, TrialRow
from searchd.views.fronts import members
from searchd.views.plain import the

log = logging.getLogger("searchd.garbage")

FILE = re.compile(r"(?P<trial>\d+)/(?P<file>ckpt-(?P<step>\d+)-a\d+\.\w+?)(?P<card>\.json)?")
"""A checkpoint below `trials/`; its `.json` beside it says its SHA-256."""
ENDED = ("done", "stopped")
LIVE = ("waiting", "running", "paused")
IN_FLIGHT = ("outbox", "queued", "running")
EVERY_S = 60.0

Opening = Callable[[], AbstractContextManager[Reader]]


@dataclass(frozen=True, slots=True)
class Garbage:
    """`names`: the files that can go, relative to the study's artifacts, with their bytes. `why`: how many of them are
    superseded, and how many of trials that have `ended`. `kept_bytes`: of the checkpoints that stay."""

    study: str
    root: str
    names: Mapping[str, int]
    why: Mapping[str, int]
    kept_files: int
    kept_bytes: int

    @property
    def bytes(self) -> int:
        return sum(self.names.values())

    def told(self, *, removed: bool) -> dict[str, Any]:
        """As JSON."""
        return {
            "id": self.study, "removed": removed, "files": len(self.names), "bytes": self.bytes, "why": dict(self.why),
            "kept_files": self.kept_files, "kept_bytes": self.kept_bytes,
        }  # fmt: skip


def garbage(reading: Opening, study: str, *, final: bool = False, storage: Storage | None = None) -> Garbage:
    """What can go of a study's checkpoints. `final`: the study is never deepened or extended. Raises StorageGone."""
    with reading() as reader:
        row = the(reader, study)
    found: dict[int, dict[str, tuple[int, int]]] = defaultdict(dict)
    sizes = (storage or open_storage(row.artifacts)).sizes("trials")
    for name, size in sizes.items():
        if (at := FILE.fullmatch(name)) is not None:
            known = found[int(at["trial"])].get(at["file"], (int(at["step"]), 0))
            found[int(at["trial"])][at["file"]] = (known[0], known[1] + size)
    with reading() as reader:
        needs = _Needs(reader, study, final)
        going = {trial: needs.going(trial, files) for trial, files in found.items()}
    names, why, kept = {}, {"superseded": 0, "ended": 0}, [0, 0]
    for trial, files in found.items():
        for file in files:
            reason = going[trial].get(file)
            for name in (f"{trial}/{file}", f"{trial}/{file}.json"):
                if name not in sizes:
                    continue
                if reason is None:
                    kept = [kept[0] + 1, kept[1] + sizes[name]]
                else:
                    names[f"trials/{name}"] = sizes[name]
                    why[reason] += 1
    return Garbage(study, row.artifacts, names, why, *kept)


def collect(found: Garbage, storage: Storage | None = None) -> None:
    """Remove it. Raises StorageGone midway; the rest is found again."""
    at = storage or open_storage(found.root)
    for name in found.names:
        at.remove(name)


class _Needs:
    """What is needed of a study's checkpoints, in one consistent view of its log."""

    def __init__(self, reader: Reader, study: str, final: bool) -> None:
        self._reader = reader
        self._row: StudyRow = the(reader, study)
        self._trials: dict[int, TrialRow] = {t.trial: t for t in reader.trials(study)}
        jobs = reader.jobs(study)
        self._busy = {j.trial for j in jobs if j.status in IN_FLIGHT}
        self._ended = self._row.status in ENDED
        self._final = final and self._ended
        self._front = {p.trial for p in members(self._row, list(self._trials.values()), reader.points(study))}
        origins = [(j, at) for j in jobs if (at := _origin(j)) is not None]
        self._breeds = bool(origins) or _breeding(self._row)
        self._parents: dict[int, set[int]] = defaultdict(set)
        for job, (parent, step) in origins:
            child = self._trials.get(job.trial)
            if job.trial in self._busy or (child is not None and child.status in LIVE and not self._final):
                self._parents[parent].add(step)

    def going(self, trial: int, files: Mapping[str, tuple[int, int]]) -> dict[str, str]:
        """File → why it can go. `files`: step and bytes by name."""
        if trial in self._busy:
            return {}
        kept: set[str] = set()
        newest = self._reader.checkpoint(self._row.id, trial)
        if newest is not None and self._goes_on(trial):
            kept.add(_file(newest.path))
            if not self._ended:  # should the newest turn out damaged
                earlier = [(step, name) for name, (step, _) in files.items() if step < newest.step]
                kept |= {max(earlier)[1]} if earlier else set()
        for step in self._parents.get(trial, ()):
            at = self._reader.checkpoint(self._row.id, trial, step)
            kept |= {_file(at.path)} if at is not None else set()
        why = "superseded" if newest is not None and _file(newest.path) in kept else "ended"
        return {name: why for name in files if name not in kept}

    def _goes_on(self, trial: int) -> bool:
        """Whether the newest checkpoint of a trial that has no job now may be wanted."""
        known = self._trials.get(trial)
        if trial in self._front:
            return True
        if known is None or self._final:
            return False
        if self._breeds:
            return True
        if self._ended:
            return known.status in (*LIVE, "done")
        return known.status not in ("failed", "vetoed")


def _origin(job: JobRow) -> tuple[int, int] | None:
    """(trial, step) of the weights that a job begins with, where they are another trial's."""
    copied, morphed = job.spec.get("parent"), job.spec.get("morphed")
    if morphed:
        return int(morphed["trial"]), int(morphed["step"])
    return (int(copied[0]), int(copied[1])) if copied else None


def _breeding(row: StudyRow) -> bool:
    """Whether a new trial may begin with another's weights."""
    search = row.spec.get("search") or {}
    return search.get("scheduler") == "pbt" or bool((search.get("options") or {}).get("morph"))


def _file(path: str) -> str:
    return path.rpartition("/")[2]


@contextmanager
def collecting(reading: Opening, every_s: float = EVERY_S) -> Iterator[None]:
    """Collect in a thread of its own, every so often: of each active study, and once of each that ends meanwhile."""
    over = threading.Event()

    def run() -> None:
        active: set[str] = set()
        while not over.wait(every_s):
            active = sweep(reading, active)

    thread = threading.Thread(target=run, name="garbage", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(1.0)


def sweep(reading: Opening, before: set[str]) -> set[str]:
    """One round over the active studies and those of `before`; answers the active ones. What goes wrong is said and
    harms nobody."""
    try:
        with reading() as reader:
            active = {row.id for row in reader.studies() if row.status not in ENDED}
    except SearchdError as error:
        log.warning("no checkpoints are collected now: %s", error)
        return before
    for study in sorted(active | before):
        try:
            found = garbage(reading, study)
            collect(found)
        except SearchdError as error:
            log.warning("study %s: its checkpoints are not collected now: %s", study, error)
            continue
        if found.names:
            log.info("study %s: %d checkpoint files removed, %d bytes", study, len(found.names), found.bytes)
    return active
