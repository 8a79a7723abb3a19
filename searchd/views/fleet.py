"""What each worker slot does, since when, at which step; and how jobs ended before their time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from searchd.store.base import JobRow, Reader, StudyRow, TrialRow
from searchd.waiting import unserved
from searchd.wire import WorkerInfo, cause_of

ACTIVE = frozenset({"queued", "running", "paused", "verifying"})


def working(reader: Reader, workers: Iterable[WorkerInfo]) -> list[dict[str, Any]]:
    """Each slot as it says itself, and of its job: `study` (its name), `trial`, `kind`, `step` (the last reported),
    `until`, and `doing`, the same in words."""
    answer = []
    for info in workers:
        row: dict[str, Any] = info.model_dump(mode="json") | {
            "study": None, "trial": None, "kind": None, "step": None, "until": None, "doing": "",
        }  # fmt: skip
        job = None if info.job is None else reader.job(info.job)
        if job is not None:
            row |= _doing(reader, job)
        elif info.job is not None:
            row["doing"] = f"job {info.job}"
        answer.append(row)
    return answer


def _doing(reader: Reader, job: JobRow) -> dict[str, Any]:
    study, trial = reader.study(job.study), reader.trial(job.study, job.trial)
    name = job.study if study is None else study.name
    said: dict[str, Any] = {"study": name, "trial": job.trial, "kind": job.kind}
    if job.kind != "train" or trial is None:
        return said | {"doing": f"{job.kind} trial {job.trial} of {name}"}
    step = max(trial.step, job.since)
    return said | {"step": step, "until": job.until,
                   "doing": f"trial {job.trial} of {name}, step {step} of {job.until}"}  # fmt: skip


def ends(reader: Reader, study: str, trials: Sequence[TrialRow]) -> dict[str, int]:
    """By cause (`wire.Cause`), how many trials failed and how many attempts of jobs were lost or handed back."""
    found = Counter(cause_of("failed", trial.reason) or "" for trial in trials if trial.status == "failed")
    for event in reader.events(study, kinds=("lost",)):
        if event.payload["retried"]:
            found[event.payload.get("cause") or cause_of("lost", event.payload["reason"]) or ""] += 1
    return dict(found.most_common())


def waits(reader: Reader, row: StudyRow, live: Mapping[str, str] | None = None,
          workers: Sequence[WorkerInfo] | None = None) -> str:  # fmt: skip
    """Why a study waits, in words; empty: nothing keeps it. `live`: what the daemon sees now, by study; without
    one, what it noted last."""
    if row.status not in ACTIVE:
        return ""
    if live is not None and row.id in live:
        return live[row.id]
    if workers is not None:
        return unserved(str(row.spec.get("device", "cpu")), row.spec.get("needs") or {}, workers)
    said = reader.events(row.id, kinds=("waits",))
    return str(said[-1].payload["text"]) if said else ""
