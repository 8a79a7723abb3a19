"""Everything that is written, over one SQLAlchemy connection inside one transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from searchd.errors import NotFound, Refused
from searchd.store import lead
from searchd.store.base import (
    IN_FLIGHT,
    CheckpointRow,
    DeviceRow,
    JobRow,
    JobStatus,
    PointRow,
    ReportRow,
    StudyRow,
    TokenRow,
    TrialRow,
)
from searchd.store.codec import Encoded, decode, encode
from searchd.store.pending import Key, Pending, insert_new, update, upsert, values
from searchd.store.reader import SqlReader
from searchd.store.schema import (
    checkpoints,
    devices,
    events,
    hooks,
    jobs,
    measurements,
    metrics,
    notices,
    reports,
    studies,
    tokens,
    trials,
)
from searchd.store.schema import points as points_table

_LAST_SEQ = sa.select(sa.func.coalesce(sa.func.max(events.c.seq), 0)).where(events.c.study == sa.bindparam("study"))
_DUPLICATES = (
    sa.update(studies)
    .where(studies.c.id == sa.bindparam("key"))
    .values(duplicates=studies.c.duplicates + sa.bindparam("n"))
)
_DROP_POINTS = sa.delete(points_table).where(
    points_table.c.study == sa.bindparam("s"), points_table.c.trial == sa.bindparam("t")
)
_ADD_EVENT, _ADD_METRICS, _ADD_POINTS = sa.insert(events), sa.insert(metrics), sa.insert(points_table)
_ADD_REPORT = sa.insert(reports)


class SqlTransaction(SqlReader):
    """`store.base.Transaction`. Reads see what the transaction wrote before.

    Rows wait for the commit, or for the first question that only the database can answer, and go there many to a
    statement; jobs and trials are remembered, and so is what was reported. Only `add_study`, `set_study`, devices and
    measurements, which are rare, are written at once.
    """

    def __init__(self, connection: sa.Connection, flying: dict[str, dict[str, JobRow]] | None = None) -> None:
        """`flying`: study → its jobs in flight by id, as the last transaction left them; kept up here."""
        super().__init__(connection)
        self.moved = False
        """Whether a job was put or changed."""
        self._dialect = connection.dialect.name
        self._last_seq: dict[str, int] = {}
        self._events: list[dict[str, Any]] = []
        self._reports: dict[Key, dict[str, Any]] = {}
        self._metrics: list[dict[str, Any]] = []
        self._points: dict[tuple[str, int], list[dict[str, Any]]] = {}
        self._checkpoints: dict[Key, dict[str, Any]] = {}
        self._duplicates: dict[str, int] = {}
        self._tops: dict[tuple[str, int], int] = {}
        self._jobs: Pending[JobRow] = Pending(jobs, lambda key: super(SqlTransaction, self).job(*key), _of_job)
        self._trials: Pending[TrialRow] = Pending(
            trials, lambda key: super(SqlTransaction, self).trial(*key), _of_trial
        )
        self._flying = {} if flying is None else flying
        for rows in self._flying.values():
            self._jobs.learn(rows.values())

    def flush(self) -> None:
        """Send the rows that wait; the store calls it before the commit."""
        execute = self._connection.execute
        self._trials.flush(self._connection)
        self._jobs.flush(self._connection)
        if self._events:
            execute(_ADD_EVENT, self._events)
            self._events = []
        if self._reports:
            execute(_ADD_REPORT, list(self._reports.values()))
            self._reports = {}
        if self._metrics:
            execute(_ADD_METRICS, self._metrics)
            self._metrics = []
        if self._points:
            execute(_DROP_POINTS, [{"s": study, "t": trial} for study, trial in self._points])
            if rows := [row for many in self._points.values() for row in many]:
                execute(_ADD_POINTS, rows)
            self._points = {}
        if self._checkpoints:
            execute(upsert(checkpoints, self._dialect), list(self._checkpoints.values()))
            self._checkpoints = {}
        if self._duplicates:
            execute(_DUPLICATES, [{"key": study, "n": n} for study, n in self._duplicates.items()])
            self._duplicates = {}

    # ------------------------------------------------------------ questions
    def _all(self, query: sa.Select[Any], **parameters: Any) -> list[Any]:
        self.flush()
        return super()._all(query, **parameters)

    def _rows(self, row: Any, query: sa.Select[Any], **parameters: Any) -> list[Any]:
        self.flush()
        return super()._rows(row, query, **parameters)

    def expect(self, study: str, jobs: Iterable[str]) -> None:
        """Read at once what messages of these jobs will ask for one by one: the jobs, their trials, what is reported.

        Only a matter of time: whatever is not there then is read when it is asked for."""
        self.jobs(study, IN_FLIGHT)
        wanted, flying = set(jobs), self._flying[study]
        found = [flying[job] for job in sorted(wanted & flying.keys())]
        if others := sorted(wanted - flying.keys()):
            ended = self._jobs_of(study, others)
            self._jobs.learn(ended)
            found += ended
        rows = self._trials_of(study, sorted({job.trial for job in found}))
        self._trials.learn(row for row, _ in rows)
        for row, top in rows:
            self._tops.setdefault((study, row.trial), top)

    def job(self, job: str) -> JobRow | None:
        return self._jobs.get(job)

    def trial(self, study: str, trial: int) -> TrialRow | None:
        return self._trials.get(study, trial)

    def jobs(self, study: str | None = None, statuses: Iterable[JobStatus] | None = None) -> list[JobRow]:
        """Those in flight are kept from the first question on: a free slot after the other asks for them."""
        wanted = None if statuses is None else frozenset(statuses)
        if study is None or wanted is None or not wanted <= IN_FLIGHT:
            return super().jobs(study, wanted)
        flying = self._flying.get(study)
        if flying is None:
            rows = super().jobs(study, IN_FLIGHT)
            self._jobs.learn(rows)
            flying = self._flying[study] = {row.id: row for row in rows}
        found = [row for row in flying.values() if row.status in wanted]
        return sorted(found, key=lambda row: (row.created_at, row.id))

    def has_report(self, study: str, trial: int, step: int) -> bool:
        if (study, trial, step) in self._reports:
            return True
        return step <= self._top(study, trial) and super().has_report(study, trial, step)

    def _top(self, study: str, trial: int) -> int:
        """The largest step that a trial reported, 0 before the first; what is beyond it cannot have come before."""
        key = (study, trial)
        if key not in self._tops:
            self._tops[key] = self._top_of(study, trial)
        return self._tops[key]

    # ------------------------------------------------------------ changes
    def _put(self, table: sa.Table, row: Any) -> None:
        self._connection.execute(upsert(table, self._dialect), values(row))

    def add_study(self, row: StudyRow) -> None:
        statement = insert_new(studies, self._dialect)
        if self._connection.execute(statement, {**values(row), "duplicates": 0}).rowcount != 1:
            raise Refused(f"study {row.id} is in the store already: an id is given once; take another")

    def set_study(self, study: str, **changes: Any) -> None:
        parameters = {f"new_{name}": value for name, value in changes.items()} | {"key_id": study}
        if self._connection.execute(update(studies, tuple(changes)), parameters).rowcount != 1:
            raise NotFound(f"studies has no row id {study}")

    def append(self, study: str, kind: str, payload: Mapping[str, Any], at: float) -> int:
        """Add an event; returns its `seq` (1, 2, 3, … a study, without gaps: a transaction is alone in writing)."""
        last = self._last_seq.get(study)
        if last is None:
            last = int(self._connection.execute(_LAST_SEQ, {"study": study}).scalar_one())
        seq = self._last_seq[study] = last + 1
        text = Encoded(encode(payload))  # now: the caller may change its mapping before the commit
        self._events.append({"study": study, "seq": seq, "at": at, "kind": kind, "payload": text})
        return seq

    def put_trial(self, row: TrialRow) -> None:
        self._trials.put(row)

    def set_trial(self, study: str, trial: int, **changes: Any) -> None:
        self._trials.set((study, trial), changes)

    def put_job(self, row: JobRow) -> None:
        row = replace(row, spec=decode(encode(row.spec)))  # as it will be read, and nobody else's
        self._jobs.put(row)
        self._track(row)

    def set_job(self, job: str, **changes: Any) -> None:
        self._track(self._jobs.set((job,), changes))

    def _track(self, row: JobRow) -> None:
        self.moved = True
        if (flying := self._flying.get(row.study)) is not None:
            if row.status in IN_FLIGHT:
                flying[row.id] = row
            else:
                flying.pop(row.id, None)

    def add_report(self, row: ReportRow) -> bool:
        """False, and nothing written, when (study, trial, step) is recorded already: the first commit wins."""
        key = {"study": row.study, "trial": row.trial, "step": row.step}
        report = {**key, "job": row.job, "attempt": row.attempt, "at": row.at, "seconds": row.seconds,
                  "points": Encoded(encode(row.points))}  # fmt: skip
        top = self._tops.get((row.study, row.trial))
        if top is None:  # nobody said that more of this trial comes: the insert itself tells
            if self._connection.execute(insert_new(reports, self._dialect), report).rowcount != 1:
                return False
        elif self.has_report(row.study, row.trial, row.step):
            return False
        else:
            self._tops[row.study, row.trial] = max(row.step, top)
            self._reports[row.study, row.trial, row.step] = report
        self._metrics.extend({**key, "metric": name, "value": value} for name, value in row.metrics.items())
        return True

    def put_checkpoint(self, row: CheckpointRow) -> None:
        self._checkpoints[row.study, row.trial, row.step] = values(row)

    def put_points(self, study: str, trial: int, points: Sequence[PointRow]) -> None:
        """Replace all points of the trial."""
        self._points[study, trial] = [{**values(p), "metrics": Encoded(encode(p.metrics))} for p in points]

    def put_measurement(self, device: str, signature: str, result: Mapping[str, Any], at: float) -> None:
        row = {"device": device, "signature": signature, "result": result, "at": at}
        self._connection.execute(upsert(measurements, self._dialect), row)

    def put_device(self, row: DeviceRow) -> None:
        self._put(devices, row)

    def drop_device(self, name: str) -> None:
        self._connection.execute(sa.delete(devices).where(devices.c.name == name))

    def put_token(self, row: TokenRow) -> None:
        self._put(tokens, row)

    def drop_token(self, name: str) -> None:
        self._connection.execute(sa.delete(tokens).where(tokens.c.name == name))

    def put_hook(self, hook: str, since: float) -> None:
        self._connection.execute(upsert(hooks, self._dialect), {"hook": hook, "since": since})

    def put_notice(self, hook: str, study: str, seq: int, state: str, at: float) -> None:
        row = {"hook": hook, "study": study, "seq": seq, "state": state, "at": at}
        self._connection.execute(upsert(notices, self._dialect), row)

    def lead(self, holder: str) -> int:
        """Raise the fencing token; see `searchd.store.lead`."""
        return lead.take(self._connection, holder)

    def count_duplicate(self, study: str, n: int = 1) -> None:
        self._duplicates[study] = self._duplicates.get(study, 0) + n


def _of_job(row: JobRow) -> dict[str, Any]:
    return {**values(row), "spec": Encoded(encode(row.spec))}


def _of_trial(row: TrialRow) -> dict[str, Any]:
    return {**values(row), "config": Encoded(encode(row.config))}
