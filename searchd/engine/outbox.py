"""After the commit: what waits in the outbox is sent. A job may be sent twice, never not at all: claims sort it out."""

from __future__ import annotations

from typing import Any

from searchd.dispatch import Dispatcher
from searchd.store.base import JobRow, Reader, Store
from searchd.wire import CheckpointRef, Dispatch, JobSpec


def publish(store: Store, dispatcher: Dispatcher) -> int:
    """Send every job in the outbox and mark it `queued`; the number sent.

    A crash before the mark sends it again after the restart. Unreachable when the broker is away: the rest waits.
    """
    with store.reading() as reader:
        waiting = [(row, *_parcel(reader, row)) for row in reader.jobs(statuses=("outbox",))]
    for row, dispatch, device_class in waiting:
        dispatcher.publish(dispatch, device_class)
        with store.transaction() as tx:
            now = tx.job(row.id)
            if now is not None and now.status == "outbox" and now.attempt == row.attempt:
                tx.set_job(row.id, status="queued")
    return len(waiting)


def republish(store: Store, dispatcher: Dispatcher, job: str) -> None:
    """Send a queued job again: its message may be lost with the broker."""
    with store.reading() as reader:
        row = reader.job(job)
        if row is None or row.status != "queued":
            return
        dispatch, device_class = _parcel(reader, row)
    dispatcher.publish(dispatch, device_class)


def _parcel(reader: Reader, row: JobRow) -> tuple[Dispatch, str]:
    """The message of a job's attempt, with the newest durable checkpoint of its trial.

    `since`: the last step whose report is known, or that the checkpoint has behind it, whichever is later.
    """
    study = reader.study(row.study)
    if study is None:
        raise LookupError(f"job {row.id!r} belongs to no study: a bug")
    spec: dict[str, Any] = {**row.spec, "attempt": row.attempt}
    kept = reader.checkpoint(row.study, row.trial)
    if kept is not None:
        spec["checkpoint"] = CheckpointRef(step=kept.step, path=kept.path, sha256=kept.sha256, bytes=kept.bytes)
        if row.kind == "train":
            spec["since"] = max(row.since, kept.step)
    return Dispatch(id=f"{row.id}@{row.attempt}", jobs=(JobSpec(**spec),)), str(study.spec["device"])
