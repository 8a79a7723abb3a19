"""What was captured of a trial's jobs, attempt by attempt: how each ended, its traceback, and what it printed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from searchd.errors import NotFound
from searchd.store.base import JobRow, Reader
from searchd.views.plain import the
from searchd.wire import cause_of

FILE = re.compile(r"log-([a-z]+\d+)-a(\d+)\.txt")
MOST_BYTES = 1 << 20


def log_name(job: str, attempt: int) -> str:
    """The file of an attempt's output in its trial's folder."""
    return f"log-{job.rsplit('-', 1)[-1]}-a{attempt}.txt"


def captured(reader: Reader, study: str, n: int) -> list[dict[str, Any]]:
    """`[{"job", "kind", "attempt", "worker", "status", "cause", "reason", "error", "output", "file"}]`, oldest first.

    `output`: standard output and error, its beginning and its end where it was long; null where the file is not on this
    machine. NotFound: no such trial.
    """
    row = the(reader, study)
    trial = reader.trial(study, n)
    if trial is None:
        raise NotFound(f"study {study!r} has no trial {n}")
    jobs = sorted((job for job in reader.jobs(study) if job.trial == n), key=lambda job: job.created_at)
    lost = {(e.payload["job"], e.payload["attempt"]): e.payload for e in reader.events(study, kinds=("lost",))}
    folder = Path(row.artifacts) / "trials" / str(n)
    answer = []
    for job in jobs:
        for attempt in range(1, job.attempt + 1):
            name = log_name(job.id, attempt)
            found = _ended(job) if attempt == job.attempt else _lost(lost.get((job.id, attempt), {}))
            failed = attempt == job.attempt and job.status in ("failed", "lost")
            answer.append({
                "job": job.id, "kind": job.kind, "attempt": attempt,
                "worker": job.worker if attempt == job.attempt else "", **found,
                "error": trial.error if failed and trial.status == "failed" else "",
                "output": _read(folder / name), "file": name if (folder / name).is_file() else None,
            })  # fmt: skip
    return answer


def _ended(job: JobRow) -> dict[str, Any]:
    over = job.status in ("finished", "lost", "failed", "stopped")
    return {"status": job.status, "reason": job.reason, "cause": cause_of(job.status, job.reason) if over else None}


def _lost(payload: Any) -> dict[str, Any]:
    reason = str(payload.get("reason", ""))
    return {"status": "lost", "reason": reason, "cause": payload.get("cause") or cause_of("lost", reason)}


def _read(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return file.read(MOST_BYTES).decode(errors="replace")
    except OSError:
        return None
