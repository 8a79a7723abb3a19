"""The folder of a run on this machine: one run at a time, one study, and what `--fresh` forgets."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from searchd.alive import STATE, STUDY_DB
from searchd.errors import Refused, SearchdError
from searchd.folder import BESIDE, Folder
from searchd.schedulers.rungs import deeper
from spaces.study import Study

OURS = (STUDY_DB, f"{STUDY_DB}-wal", f"{STUDY_DB}-shm", STATE, "token", "broker", "trials", "logs", "report.html",
        BESIDE, "front.csv", "front.png")  # fmt: skip
"""What `--fresh` removes: what a run makes, never what else lies in the folder."""
FREE = ("budget", "earlier", "predictor", "priority", "runtime")
"""What a file may say otherwise than the study in its folder: nothing that the search decides depends on it."""


def made(folder: Path) -> Path:
    """The folder, made if it was not there; Refused when it cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "run.lock").touch()
    except OSError as error:
        raise Refused(f"cannot write in {folder}/ ({error.strerror}); give another with --out or --root") from error
    return folder


@contextlib.contextmanager
def lock(folder: Path) -> Iterator[None]:
    """One run a folder at a time."""
    import fcntl

    with (folder / "run.lock").open("a+") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            held.seek(0)
            raise Refused(
                f"{folder}/ is in use: searchd runs there already (process {held.read().strip() or 'unknown'}); "
                f"`searchd watch {folder.name}` shows a run, `searchd stop {folder.name}` ends its search"
            ) from None
        held.truncate(0)
        held.write(str(os.getpid()))
        held.flush()
        yield


def remove(folder: Path) -> None:
    """What a run made there, and nothing else."""
    for name in OURS:
        path = folder / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def is_over(reader: Folder, study: Study, folder: Path) -> bool:
    """True when the folder holds this very study, ended; Refused when it holds a different one."""
    if not (folder / STUDY_DB).is_file():
        return False
    try:
        known = reader.studies()
        spec = reader.read(str(folder), "spec") if known else None
    except SearchdError:
        return False
    if spec is None:
        return False
    wanted = study.dump()
    changed = [k for k in differences(spec, wanted) if k.split(".")[0] not in FREE]
    if changed == ["search.R"] and _deepened(spec["search"], study):
        changed = []  # the file says how it began
    if changed == ["search.R"] and study.search.R in deeper(spec["search"]["R"], study.search.R, study.search.eta):
        raise Refused(f"{folder}/ has R = {spec['search']['R']}, the file R = {study.search.R}: "
                      f"`searchd deepen {folder.name} --max-resource {study.search.R}` goes on with what is trained")
    if changed:
        raise Refused(
            f"{folder}/ holds another study of this name; what differs from the file: {', '.join(changed)}. "
            "Only the budget of a study may change: give the study another name, or start anew with --fresh"
        )
    return bool(known[0]["status"] == "done" and spec.get("budget") == wanted.get("budget"))


def _deepened(search: Mapping[str, Any], study: Study) -> bool:
    """Whether the R of a study in its folder is that of its file, raised."""
    R, eta = search["R"], study.search.eta
    return bool(R in deeper(study.search.R, R, eta))


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """The dotted keys where two studies differ."""
    found: list[str] = []
    for key in sorted({*old, *new}, key=str):
        a, b, path = old.get(key), new.get(key), f"{prefix}{key}"
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            found += differences(a, b, f"{path}.")
        elif a != b:
            found.append(path)
    return found
