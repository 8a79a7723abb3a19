"""Everything that is written, over one SQLAlchemy connection inside one transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from searchd.errors import NotFound, Refused
from searchd.store import lead
from searchd.store.base import (
    CheckpointRow,
    DeviceRow,
    EventRow,
    JobRow,
    PointRow,
    ReportRow,
    StudyRow,
    TokenRow,
    TrialRow,
)
from searchd.store.codec import Encoded, encode
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

_INSERT: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
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


@lru_cache(maxsize=64)
def _insert_new(table: sa.Table, dialect: str) -> Any:
    """INSERT that leaves an existing row as it is; its `rowcount` is 0 then."""
    return _INSERT[dialect](table).on_conflict_do_nothing().execution_options(preserve_rowcount=True)


@lru_cache(maxsize=64)
def _upsert(table: sa.Table, dialect: str) -> Any:
    """INSERT that replaces every column of an existing row."""
    statement = _INSERT[dialect](table)
    keys = list(table.primary_key.columns)
    rest = {c.name: statement.excluded[c.name] for c in table.columns if not c.primary_key}
    return statement.on_conflict_do_update(index_elements=keys, set_=rest)


@lru_cache(maxsize=256)
def _update(table: sa.Table, changed: tuple[str, ...]) -> Any:
    """UPDATE of the columns `changed` of one row; its key comes in as `key_<column>`."""
    unknown = [name for name in changed if name not in table.c or table.c[name].primary_key]
    if unknown or not changed:
        known = ", ".join(c.name for c in table.columns if not c.primary_key)
        raise ValueError(f"{table.name} has no column {', '.join(unknown) or '(none given)'} to change; it has {known}")
    statement = sa.update(table).values({name: sa.bindparam(f"new_{name}") for name in changed})
    for column in table.primary_key.columns:
        statement = statement.where(column == sa.bindparam(f"key_{column.name}"))
    return statement


def _values(row: Any) -> dict[str, Any]:
    return {f.name: getattr(row, f.name) for f in fields(row)}


class SqlTransaction(SqlReader):
    """`store.base.Transaction`. Reads see what the transaction wrote before.

    Events and metrics only ever grow, so their rows wait for one statement at the commit, or at the first
    question that needs them: a batch of 100 reports costs half as much that way.
    """

    def __init__(self, connection: sa.Connection) -> None:
        super().__init__(connection)
        self._dialect = connection.dialect.name
        self._last_seq: dict[str, int] = {}
        self._new_events: list[dict[str, Any]] = []
        self._new_metrics: list[dict[str, Any]] = []

    def flush(self) -> None:
        """Send the rows that wait; the store calls it before the commit."""
        if self._new_events:
            self._connection.execute(_ADD_EVENT, self._new_events)
            self._new_events = []
        if self._new_metrics:
            self._connection.execute(_ADD_METRICS, self._new_metrics)
            self._new_metrics = []

    def events(
        self, study: str, after: int = 0, limit: int | None = None, kinds: Iterable[str] | None = None
    ) -> list[EventRow]:
        self.flush()
        return super().events(study, after, limit, kinds)

    def reports(self, study: str, trial: int | None = None) -> list[ReportRow]:
        self.flush()
        return super().reports(study, trial)

    def counts(self, study: str) -> Mapping[str, int]:
        self.flush()
        return super().counts(study)

    def _put(self, table: sa.Table, row: Any) -> None:
        self._connection.execute(_upsert(table, self._dialect), _values(row))

    def _set(self, table: sa.Table, key: dict[str, Any], changes: Mapping[str, Any]) -> None:
        statement = _update(table, tuple(changes))
        parameters = {f"new_{name}": value for name, value in changes.items()}
        parameters.update({f"key_{name}": value for name, value in key.items()})
        if self._connection.execute(statement, parameters).rowcount != 1:
            raise NotFound(f"{table.name} has no row {', '.join(f'{k} {v}' for k, v in key.items())}")

    def add_study(self, row: StudyRow) -> None:
        statement = _insert_new(studies, self._dialect)
        if self._connection.execute(statement, {**_values(row), "duplicates": 0}).rowcount != 1:
            raise Refused(f"study {row.id} is in the store already: an id is given once; take another")

    def set_study(self, study: str, **changes: Any) -> None:
        self._set(studies, {"id": study}, changes)

    def append(self, study: str, kind: str, payload: Mapping[str, Any], at: float) -> int:
        """Add an event; returns its `seq` (1, 2, 3, … a study, without gaps: a transaction is alone in writing)."""
        last = self._last_seq.get(study)
        if last is None:
            last = int(self._connection.execute(_LAST_SEQ, {"study": study}).scalar_one())
        seq = self._last_seq[study] = last + 1
        text = Encoded(encode(payload))  # now: the caller may change its mapping before the commit
        self._new_events.append({"study": study, "seq": seq, "at": at, "kind": kind, "payload": text})
        return seq

    def put_trial(self, row: TrialRow) -> None:
        self._put(trials, row)

    def set_trial(self, study: str, trial: int, **changes: Any) -> None:
        self._set(trials, {"study": study, "trial": trial}, changes)

    def put_job(self, row: JobRow) -> None:
        self._put(jobs, row)

    def set_job(self, job: str, **changes: Any) -> None:
        self._set(jobs, {"id": job}, changes)

    def add_report(self, row: ReportRow) -> bool:
        """False, and nothing written, when (study, trial, step) is recorded already: the first commit wins."""
        values = _values(row)
        del values["metrics"]
        values["points"] = list(row.points)
        if self._connection.execute(_insert_new(reports, self._dialect), values).rowcount != 1:
            return False
        key = {"study": row.study, "trial": row.trial, "step": row.step}
        self._new_metrics.extend({**key, "metric": name, "value": value} for name, value in row.metrics.items())
        return True

    def put_checkpoint(self, row: CheckpointRow) -> None:
        self._put(checkpoints, row)

    def put_points(self, study: str, trial: int, points: Sequence[PointRow]) -> None:
        """Replace all points of the trial."""
        self._connection.execute(_DROP_POINTS, {"s": study, "t": trial})
        if points:
            self._connection.execute(_ADD_POINTS, [_values(p) for p in points])

    def put_measurement(self, device: str, signature: str, result: Mapping[str, Any], at: float) -> None:
        values = {"device": device, "signature": signature, "result": result, "at": at}
        self._connection.execute(_upsert(measurements, self._dialect), values)

    def put_device(self, row: DeviceRow) -> None:
        self._put(devices, row)

    def drop_device(self, name: str) -> None:
        self._connection.execute(sa.delete(devices).where(devices.c.name == name))

    def put_token(self, row: TokenRow) -> None:
        self._put(tokens, row)

    def drop_token(self, name: str) -> None:
        self._connection.execute(sa.delete(tokens).where(tokens.c.name == name))

    def put_hook(self, hook: str, since: float) -> None:
        self._connection.execute(_upsert(hooks, self._dialect), {"hook": hook, "since": since})

    def put_notice(self, hook: str, study: str, seq: int, state: str, at: float) -> None:
        values = {"hook": hook, "study": study, "seq": seq, "state": state, "at": at}
        self._connection.execute(_upsert(notices, self._dialect), values)

    def lead(self, holder: str) -> int:
        """Raise the fencing token; see `searchd.store.lead`."""
        return lead.take(self._connection, holder)

    def count_duplicate(self, study: str, n: int = 1) -> None:
        self._connection.execute(_DUPLICATES, {"key": study, "n": n})
