"""Questions to the store over one SQLAlchemy connection inside one transaction: every answer sees the same state."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from functools import lru_cache
from itertools import starmap
from typing import Any

import sqlalchemy as sa

from searchd.store.base import (
    CheckpointRow,
    DeviceRow,
    EventRow,
    JobRow,
    JobStatus,
    PointRow,
    ReportRow,
    RunRow,
    StudyRow,
    TokenRow,
    TrialRow,
)
from searchd.store.schema import (
    checkpoints,
    devices,
    events,
    hooks,
    jobs,
    measurements,
    metrics,
    notices,
    points,
    reports,
    studies,
    tokens,
    trials,
)

type_of = {
    StudyRow: studies,
    EventRow: events,
    TrialRow: trials,
    JobRow: jobs,
    RunRow: jobs,
    CheckpointRow: checkpoints,
    PointRow: points,
    DeviceRow: devices,
    TokenRow: tokens,
}
_study: sa.BindParameter[Any] = sa.bindparam("study")
_trial: sa.BindParameter[Any] = sa.bindparam("trial")
_REPORT = [reports.c[f.name] for f in fields(ReportRow) if f.name != "metrics"]


@lru_cache(maxsize=64)
def _select(row: type, *where: str, order: tuple[str, ...] = ()) -> sa.Select[Any]:
    """The columns of `row` in the order of its fields, where each column of `where` equals its parameter."""
    table = type_of[row]
    query = sa.select(*(table.c[f.name] for f in fields(row)))
    for name in where:
        query = query.where(table.c[name] == sa.bindparam(name))
    return query.order_by(*(table.c[name] for name in order))


_EVENTS = _select(EventRow, "study", order=("seq",)).where(events.c.seq > sa.bindparam("after"))
_TOLD = _EVENTS.where(events.c.kind != "begun")
_SEQS: Any = sa.select(sa.func.count(), sa.func.min(events.c.seq), sa.func.max(events.c.seq)).where(
    events.c.study == _study
)
_RESUMED = _EVENTS.where(
    events.c.kind == "begun", sa.type_coerce(events.c.payload, sa.Text).not_like('%"since":0,%')
)
"""Most jobs begin at step 0: as `codec` writes them, so that nobody reads thousands of payloads for nothing."""
_CHECKPOINT = _select(CheckpointRow, "study", "trial").order_by(checkpoints.c.step.desc()).limit(1)
_CHECKPOINT_AT = _select(CheckpointRow, "study", "trial").where(checkpoints.c.step == sa.bindparam("step"))
_HAS_REPORT = sa.select(sa.literal(1)).where(
    reports.c.study == _study, reports.c.trial == _trial, reports.c.step == sa.bindparam("step")
)
_REPORTS = sa.select(*_REPORT).where(reports.c.study == _study).order_by(reports.c.trial, reports.c.step)
_METRICS = (
    sa.select(metrics.c.trial, metrics.c.step, metrics.c.metric, metrics.c.value)
    .where(metrics.c.study == _study)
    .order_by(metrics.c.trial, metrics.c.step, metrics.c.metric)
)
_REPORTS_OF = _REPORTS.where(reports.c.trial == _trial)
_METRICS_OF = _METRICS.where(metrics.c.trial == _trial)
_STEPS: sa.BindParameter[Any] = sa.bindparam("steps", expanding=True)
_TOPS = (
    sa.select(reports.c.trial, sa.func.max(reports.c.step).label("step"))
    .where(reports.c.study == _study)
    .group_by(reports.c.trial)
    .subquery()
)
_LAST = _REPORTS.join(_TOPS, (reports.c.trial == _TOPS.c.trial) & (reports.c.step == _TOPS.c.step))
_LAST_METRICS = _METRICS.join(_TOPS, (metrics.c.trial == _TOPS.c.trial) & (metrics.c.step == _TOPS.c.step))
_MEASUREMENT = sa.select(measurements.c.result).where(
    measurements.c.device == sa.bindparam("device"), measurements.c.signature == sa.bindparam("signature")
)


@lru_cache(maxsize=64)
def _jobs(of_study: bool, statuses: tuple[JobStatus, ...] | None) -> sa.Select[Any]:
    """Jobs in the order in which they were made: of one study, with one of these statuses."""
    query = _select(JobRow, *(("study",) if of_study else ()), order=("created_at", "id"))
    return query if statuses is None else query.where(jobs.c.status.in_(statuses))


_JOBS_OF = _select(JobRow, "study").where(jobs.c.id.in_(sa.bindparam("ids", expanding=True)))
_TOP = (
    sa.select(sa.func.coalesce(sa.func.max(reports.c.step), 0))
    .where(reports.c.study == _study, reports.c.trial == _trial)
)
_TRIALS_OF = sa.select(
    *_select(TrialRow).selected_columns,
    sa.select(sa.func.coalesce(sa.func.max(reports.c.step), 0))
    .where(reports.c.study == trials.c.study, reports.c.trial == trials.c.trial)
    .correlate(trials)
    .scalar_subquery(),
).where(trials.c.study == _study, trials.c.trial.in_(sa.bindparam("numbers", expanding=True)))
MANY = 500
"""So many keys a question: SQLite may take no more than 999 parameters."""
_TALLIED = ((studies, (studies.c.status,)), (jobs, (jobs.c.kind, jobs.c.status)), (trials, (trials.c.status,)))


def _count(table: sa.Table) -> sa.ScalarSelect[Any]:
    return sa.select(sa.func.count()).select_from(table).where(table.c.study == _study).scalar_subquery()


_COUNTS = sa.select(
    _count(reports).label("reports"),
    sa.select(sa.func.coalesce(sa.func.sum(trials.c.step), 0))
    .where(trials.c.study == _study)
    .scalar_subquery()
    .label("steps"),
    sa.select(studies.c.duplicates).where(studies.c.id == _study).scalar_subquery().label("duplicates"),
    _count(events).label("events"),
    _count(trials).label("trials"),
)


class SqlReader:
    """`store.base.Reader` over an open transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def _all(self, query: sa.Select[Any], **parameters: Any) -> list[Any]:
        return list(self._connection.execute(query, parameters).fetchall())

    def _rows(self, row: Any, query: sa.Select[Any], **parameters: Any) -> list[Any]:
        return list(starmap(row, self._connection.execute(query, parameters).fetchall()))

    def studies(self) -> list[StudyRow]:
        return self._rows(StudyRow, _select(StudyRow, order=("created_at", "id")))

    def study(self, study: str) -> StudyRow | None:
        found = self._rows(StudyRow, _select(StudyRow, "id"), id=study)
        return found[0] if found else None

    def events(
        self, study: str, after: int = 0, limit: int | None = None, kinds: Iterable[str] | None = None
    ) -> list[EventRow]:
        query = _EVENTS if limit is None else _EVENTS.limit(max(limit, 0))
        if kinds is not None:
            query = query.where(events.c.kind.in_(sorted(set(kinds))))
        return self._rows(EventRow, query, study=study, after=after)

    def told(self, study: str, after: int = 0, limit: int | None = None) -> list[EventRow]:
        return self._rows(EventRow, _TOLD if limit is None else _TOLD.limit(max(limit, 0)), study=study, after=after)

    def gapless(self, study: str) -> bool:
        n, first, last = self._all(_SEQS, study=study)[0]
        return bool(n == 0 or (first == 1 and last == n))

    def resumed(self, study: str) -> list[EventRow]:
        begun = self._rows(EventRow, _RESUMED, study=study, after=0)
        return [event for event in begun if event.payload.get("since", 0) > 0]

    def trials(self, study: str) -> list[TrialRow]:
        return self._rows(TrialRow, _select(TrialRow, "study", order=("trial",)), study=study)

    def trial(self, study: str, trial: int) -> TrialRow | None:
        found = self._rows(TrialRow, _select(TrialRow, "study", "trial"), study=study, trial=trial)
        return found[0] if found else None

    def jobs(self, study: str | None = None, statuses: Iterable[JobStatus] | None = None) -> list[JobRow]:
        given = {} if study is None else {"study": study}
        wanted = None if statuses is None else tuple(sorted(set(statuses)))
        return self._rows(JobRow, _jobs(study is not None, wanted), **given)

    def runs(self, study: str) -> list[RunRow]:
        return self._rows(RunRow, _select(RunRow, "study", order=("created_at", "id")), study=study)

    def _jobs_of(self, study: str, ids: Sequence[str]) -> list[JobRow]:
        """The jobs of a study with these ids."""
        parts = [ids[at : at + MANY] for at in range(0, len(ids), MANY)]
        return [row for part in parts for row in self._rows(JobRow, _JOBS_OF, study=study, ids=part)]

    def _trials_of(self, study: str, numbers: Sequence[int]) -> list[tuple[TrialRow, int]]:
        """These trials, each with the largest step that it reported (0: none)."""
        parts = [numbers[at : at + MANY] for at in range(0, len(numbers), MANY)]
        found = [row for part in parts for row in self._all(_TRIALS_OF, study=study, numbers=part)]
        return [(TrialRow(*row[:-1]), row[-1]) for row in found]

    def _top_of(self, study: str, trial: int) -> int:
        """The largest step that a trial reported, 0 before the first."""
        return int(self._all(_TOP, study=study, trial=trial)[0][0])

    def job(self, job: str) -> JobRow | None:
        found = self._rows(JobRow, _select(JobRow, "id"), id=job)
        return found[0] if found else None

    def reports(self, study: str, trial: int | None = None, steps: Iterable[int] | None = None) -> list[ReportRow]:
        given: dict[str, Any] = {"study": study} if trial is None else {"study": study, "trial": trial}
        queries = (_REPORTS, _METRICS) if trial is None else (_REPORTS_OF, _METRICS_OF)
        if steps is not None:
            queries = queries[0].where(reports.c.step.in_(_STEPS)), queries[1].where(metrics.c.step.in_(_STEPS))
            given["steps"] = sorted(set(steps))
        return self._reported(*queries, **given)

    def last_reports(self, study: str) -> list[ReportRow]:
        return self._reported(_LAST, _LAST_METRICS, study=study)

    def _reported(self, query: sa.Select[Any], with_metrics: sa.Select[Any], **given: Any) -> list[ReportRow]:
        values: dict[tuple[int, int], dict[str, float]] = {}
        for number, step, name, value in self._all(with_metrics, **given):
            values.setdefault((number, step), {})[name] = value
        found = self._all(query, **given)
        return [
            ReportRow(r.study, r.trial, r.step, r.job, r.attempt, r.at, r.seconds,
                      values.get((r.trial, r.step), {}), r.points)
            for r in found
        ]  # fmt: skip

    def has_report(self, study: str, trial: int, step: int) -> bool:
        return bool(self._all(_HAS_REPORT, study=study, trial=trial, step=step))

    def checkpoint(self, study: str, trial: int, step: int | None = None) -> CheckpointRow | None:
        """The newest durable checkpoint of a trial: the one at the largest step; or the one at `step`."""
        if step is not None:
            found = self._rows(CheckpointRow, _CHECKPOINT_AT, study=study, trial=trial, step=step)
        else:
            found = self._rows(CheckpointRow, _CHECKPOINT, study=study, trial=trial)
        return found[0] if found else None

    def points(self, study: str) -> list[PointRow]:
        return self._rows(PointRow, _select(PointRow, "study", order=("trial", "point")), study=study)

    def measurement(self, device: str, signature: str) -> Mapping[str, Any] | None:
        found = self._all(_MEASUREMENT, device=device, signature=signature)
        return found[0][0] if found else None

    def devices(self) -> list[DeviceRow]:
        return self._rows(DeviceRow, _select(DeviceRow, order=("name",))) if self._has(devices) else []

    def device(self, name: str) -> DeviceRow | None:
        return next((row for row in self.devices() if row.name == name), None)

    def tokens(self) -> list[TokenRow]:
        return self._rows(TokenRow, _select(TokenRow, order=("name",))) if self._has(tokens) else []

    def hook(self, hook: str) -> float | None:
        found = self._all(sa.select(hooks.c.since).where(hooks.c.hook == hook))
        return float(found[0][0]) if found else None

    def notices(self, hook: str) -> set[tuple[str, int]]:
        found = self._all(sa.select(notices.c.study, notices.c.seq).where(notices.c.hook == hook))
        return {(study, seq) for study, seq in found}

    def tally(self) -> Mapping[tuple[str, str, str], int]:
        """See `Reader.tally`."""
        found: dict[tuple[str, str, str], int] = {}
        for table, columns in _TALLIED:
            for *values, n in self._all(sa.select(*columns, sa.func.count()).select_from(table).group_by(*columns)):
                found[table.name, values[0], values[1] if len(values) > 1 else ""] = n
        found["reports", "", ""] = self._all(sa.select(sa.func.count()).select_from(reports))[0][0]
        found["duplicates", "", ""] = int(self._all(sa.select(sa.func.sum(studies.c.duplicates)))[0][0] or 0)
        return found

    def _has(self, table: sa.Table) -> bool:
        """False in an older schema that nobody has migrated."""
        return sa.inspect(self._connection).has_table(table.name)

    def counts(self, study: str) -> Mapping[str, int]:
        """`reports`, `steps` (sum over trials of the last step), `duplicates`, `events`, `trials`; zeros if unknown."""
        row = self._all(_COUNTS, study=study)[0]
        return {name: int(value or 0) for name, value in row._mapping.items()}
