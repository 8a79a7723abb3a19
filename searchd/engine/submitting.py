"""A study comes in: its row and the first event of its log."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Mapping
from typing import Any

from searchd.devices import with_predictor, with_runtime
from searchd.earlier import with_earlier
from searchd.errors import Refused
from searchd.search.search import Search
from searchd.store.base import Store, StudyRow
from spaces.study import Study

_FOLDER = re.compile(r"[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*")


def submit(store: Store, spec: Mapping[str, Any], root: str, artifacts: str | None, now: float) -> str:
    """Take a study and answer its id; StudyError says what is wrong with it, NotFound that it is to start from one that
    is not there.

    `root`: the daemon's artifact root. `artifacts`: the folder of the study's files below it (`.`: the root itself);
    None: a folder named after the id. Refused when it leads out of the root.
    """
    study = Study.parse(dict(spec))
    if study.warm_start:
        with store.reading() as reader:
            study = with_earlier(study, reader)
    with store.reading() as reader:
        study = with_runtime(with_predictor(study, [reader]), [reader])
    Search(study)  # an unknown scheduler, a missing part: said now, to whoever submits
    identity = _identity(study.name, now)
    folder = identity if artifacts is None else artifacts
    if not _FOLDER.fullmatch(folder) or ".." in folder.split("/"):
        raise Refused(f"artifacts {folder!r}: give a folder below the daemon's artifact root, without `..`")
    place = root if folder == "." else f"{root.rstrip('/')}/{folder}"
    dumped = study.dump()
    with store.transaction() as tx:
        tx.add_study(StudyRow(identity, study.name, dumped, "queued", "", now, None, None, place))
        tx.append(identity, "submitted", {"name": study.name, "spec": dumped, "artifacts": place}, now)
    return identity


def _identity(name: str, now: float) -> str:
    """A name, the day and six random characters: unique, so that a job id never meets an older study's keys."""
    return f"{name}-{time.strftime('%y%m%d', time.gmtime(now))}-{secrets.token_hex(3)}"
