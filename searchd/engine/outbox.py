"""After the commit: what waits in the outbox is sent. A job may be sent twice, never not at all: claims sort it out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from searchd.dispatch import Dispatcher
from searchd.errors import Unreachable
from searchd.store.base import IN_FLIGHT, CheckpointRow, JobRow, Reader, Store
from searchd.wire import CheckpointRef, Dispatch, JobSpec, ParentRef

Place = Callable[[JobSpec, str, Sequence[tuple[str, JobRow]]], str | None]
"""(job, its device class, the jobs that were sent and have not ended, each with its device class) → the one worker
that is to have it, or None: whoever comes."""


def publish(
    store: Store, dispatcher: Dispatcher, place: Place | None = None, directs: Callable[[str], bool] | None = None, *,
    flying: Sequence[JobRow] | None = None,
) -> int:  # fmt: skip
    """Send every job in the outbox and mark it `queued`; the number sent. `place` may choose a worker. Jobs of a device
    class that it `directs` wait here until it does. `flying`: the jobs in flight, by one who knows them already.

    Those for one worker go first: it looks into its own queue first, and must not have taken another job by then.
    A crash before the mark sends it again after the restart. Unreachable when the broker is away: the rest waits.
    """
    if flying is not None and not any(row.status == "outbox" for row in flying):
        return 0
    with store.reading() as reader:
        if flying is None:
            flying = reader.jobs(statuses=IN_FLIGHT)
        asks = {study: _device(reader, study) for study in {row.study for row in flying}}
        waiting = [(row, _parcel(reader, row), asks[row.study]) for row in flying if row.status == "outbox"]
    sent_before = [(asks[row.study], row) for row in flying if row.status != "outbox"]
    chosen = _chosen(waiting, sent_before, place, directs) if place is not None else {}
    if directs is not None:
        waiting = [parcel for parcel in waiting if parcel[0].id in chosen or not directs(parcel[2])]
    sent: list[JobRow] = []
    try:
        for row, dispatch, device_class in sorted(waiting, key=lambda parcel: parcel[0].id not in chosen):
            dispatcher.publish(dispatch, device_class, chosen.get(row.id, ""))
            sent.append(row)
    except Unreachable:
        _mark(store, sent, chosen)
        raise
    _mark(store, sent, chosen)
    return len(sent)


def _mark(store: Store, sent: Sequence[JobRow], chosen: Mapping[str, str]) -> None:
    """What was sent is `queued`, in one transaction; what was stopped or lost meanwhile stays as it is."""
    if not sent:
        return
    with store.transaction() as tx:
        for study in {row.study for row in sent}:
            tx.jobs(study, IN_FLIGHT)  # read at once what is asked for one by one
        for row in sent:
            now = tx.job(row.id)
            if now is not None and now.status == "outbox" and now.attempt == row.attempt:
                tx.set_job(row.id, status="queued", worker=chosen.get(row.id, ""))


def _chosen(
    waiting: Sequence[tuple[JobRow, Dispatch, str]], before: Sequence[tuple[str, JobRow]], place: Place,
    directs: Callable[[str], bool] | None = None,
) -> dict[str, str]:  # fmt: skip
    """Job → the worker that is to have it, for those that go on from a checkpoint, or are directed, and have one."""
    resumed = [(row, dispatch, asks) for row, dispatch, asks in waiting
               if dispatch.jobs[0].checkpoint is not None or (directs is not None and directs(asks))]  # fmt: skip
    sent = list(before)
    chosen: dict[str, str] = {}
    for row, dispatch, asks in resumed:
        worker = place(dispatch.jobs[0], asks, sent)
        if worker is not None:
            chosen[row.id] = worker
            sent.append((asks, dataclasses.replace(row, status="queued", worker=worker)))
    return chosen


def republish(store: Store, dispatcher: Dispatcher, job: str) -> None:
    """Send a queued job again, to whoever comes: its message, or the worker that was to have it, may be lost."""
    with store.reading() as reader:
        row = reader.job(job)
        if row is None or row.status != "queued":
            return
        dispatch, device_class = _parcel(reader, row), _device(reader, row.study)
    dispatcher.publish(dispatch, device_class)
    with store.transaction() as tx:
        now = tx.job(job)
        if now is not None and now.status == "queued" and now.worker:
            tx.set_job(job, worker="")


def withdraw(store: Store, job: str) -> None:
    """Take a queued job back into the outbox, under the same attempt: its worker does not come for it."""
    with store.transaction() as tx:
        row = tx.job(job)
        if row is not None and row.status == "queued":
            tx.set_job(job, status="outbox", worker="")


def _parcel(reader: Reader, row: JobRow) -> Dispatch:
    """The message of a job's attempt, with the newest durable checkpoint of its trial, or at first its parent's. A
    parent whose weights are morphed comes beside, with its checkpoint of then.

    `since`: the last step whose report is known, or that the checkpoint has behind it, whichever is later.
    """
    spec: dict[str, Any] = {**row.spec, "attempt": row.attempt}
    copied, morphed = spec.pop("parent", None), spec.pop("morphed", None)
    if spec.pop("predicts", False):
        spec["predictor"] = _predictor(reader, row.study)
    kept = reader.checkpoint(row.study, row.trial)
    if kept is None and copied:
        kept = reader.checkpoint(row.study, *copied)
    if morphed:
        theirs = reader.checkpoint(row.study, morphed["trial"], morphed["step"])
        spec["parent"] = ParentRef(**morphed, checkpoint=None if theirs is None else _reference(theirs))
    if kept is not None:
        spec["checkpoint"] = _reference(kept)
        if row.kind == "train":
            spec["since"] = max(row.since, kept.step)
    return Dispatch(id=f"{row.id}@{row.attempt}", jobs=(JobSpec(**spec),))


def _predictor(reader: Reader, study: str) -> dict[str, Any] | None:
    """What a study predicts by now: what it was last fitted again to, else what it came with."""
    refitted = reader.events(study, kinds=("refitted",))
    row = reader.study(study)
    said = None if row is None else row.spec.get("predictor")
    found: dict[str, Any] | None = said["predictor"] if said else None
    return dict(refitted[-1].payload["predictor"]) if refitted else found


def _reference(kept: CheckpointRow) -> CheckpointRef:
    return CheckpointRef(step=kept.step, path=kept.path, sha256=kept.sha256, bytes=kept.bytes)


def _device(reader: Reader, study: str) -> str:
    row = reader.study(study)
    if row is None:
        raise LookupError(f"study {study!r} has jobs and no row: a bug")
    return str(row.spec["device"])
