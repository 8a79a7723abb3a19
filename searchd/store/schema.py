"""The tables. `events` is the truth, append-only; everything else is a view of it, written in the same transaction.

Times are Unix seconds. JSON columns hold text (`codec`). Foreign keys are checked at the commit, so the order
of writes inside a transaction is free. `HEAD` is the newest migration: a change here needs one there, and a test
compares the two.

states of a study                                states of a trial
  queued ──► running ◄──► paused                   waiting ──► running ◄──► paused     (ended at its `until`)
               │  ▲          │                        │           │            │
               ▼  │ extend   │                        │           ├──► done    │       (at the largest step)
          verifying ◄────────┘ stop                   │           ├──► stopped ◄┘       (scheduler or user)
               │                                      │           └──► failed          (its own fault)
               ├──► done, stopped                     └──► vetoed, failed, stopped     (before any training)
  any ──► faulted (a message broke the engine three times, or no worker takes its jobs; the reason says which)

states of a job
  outbox ──► queued ──► running ──► finished | failed | stopped
    (committed, (published)  │ (claimed by a worker, renewing its lease)
     not yet sent)           └──► lost: the same row goes back to outbox with attempt + 1, or ends here at the cap
  outbox, queued ──► cancelled (the study or the trial was stopped before a worker claimed it)
"""

from __future__ import annotations

from typing import get_args

import sqlalchemy as sa

from searchd.store.base import JobStatus, Scope, StudyStatus, TrialStatus
from searchd.store.codec import Json, Real, Words

HEAD = "0004"
"""The schema that this code reads and writes: the id of the newest migration."""
READABLE = frozenset({"0001", "0002", "0003"})
"""Older schemas that are read as they are: they lack tables only (devices, lead, tokens, hooks), then empty."""

metadata = sa.MetaData(
    naming_convention={"pk": "pk_%(table_name)s", "ix": "ix_%(table_name)s_%(column_0_N_name)s",
                       "fk": "fk_%(table_name)s_%(column_0_N_name)s", "ck": "ck_%(table_name)s_%(constraint_name)s"}
)  # fmt: skip


def _states(column: str, values: object) -> sa.CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in get_args(values))
    return sa.CheckConstraint(f"{column} IN ({listed})", name=column)


def _of_study() -> sa.Column[str]:
    return sa.Column(
        "study", sa.Text, sa.ForeignKey("studies.id", deferrable=True, initially="DEFERRED"), primary_key=True
    )


def _of_trial() -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["study", "trial"], ["trials.study", "trials.trial"], deferrable=True, initially="DEFERRED"
    )


studies = sa.Table(
    "studies",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False, index=True),
    sa.Column("spec", Json, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("status_reason", Words, nullable=False),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("started_at", sa.Double),
    sa.Column("ended_at", sa.Double),
    sa.Column("artifacts", sa.Text, nullable=False),
    # reports that came again, or of an older attempt: ignored, and counted here
    sa.Column("duplicates", sa.BigInteger, nullable=False, server_default="0"),
    _states("status", StudyStatus),
)

events = sa.Table(
    "events",
    metadata,
    _of_study(),
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),  # 1, 2, 3, … a study, without gaps
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("payload", Json, nullable=False),
    sqlite_with_rowid=False,
)

trials = sa.Table(
    "trials",
    metadata,
    _of_study(),
    sa.Column("trial", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("config", Json, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("step", sa.BigInteger, nullable=False),  # the last step reported
    sa.Column("bracket", sa.BigInteger, nullable=False),
    sa.Column("reason", Words, nullable=False),
    sa.Column("error", Words, nullable=False),
    sa.Column("signature", sa.Text),  # what was measured for it: measurements.signature
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("ended_at", sa.Double),
    _states("status", TrialStatus),
)

jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("study", sa.Text, nullable=False),
    sa.Column("trial", sa.BigInteger, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("since", sa.BigInteger, nullable=False),
    sa.Column("until", sa.BigInteger, nullable=False),
    sa.Column("attempt", sa.BigInteger, nullable=False),  # the fencing token: a message of a lower one is ignored
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("worker", sa.Text, nullable=False),
    sa.Column("device", sa.Text, nullable=False),
    sa.Column("reason", Words, nullable=False),
    sa.Column("stop_reason", Words),  # set: the worker was asked to end it at its next report
    sa.Column("spec", Json, nullable=False),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("begun_at", sa.Double),
    sa.Column("ended_at", sa.Double),
    _of_trial(),
    _states("status", JobStatus),
    sa.Index(None, "study", "trial"),
    sa.Index(None, "status"),
)

reports = sa.Table(
    "reports",
    metadata,
    sa.Column("study", sa.Text, primary_key=True),
    sa.Column("trial", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("step", sa.BigInteger, primary_key=True, autoincrement=False),  # once each: the first commit wins
    sa.Column("job", sa.Text, nullable=False),
    sa.Column("attempt", sa.BigInteger, nullable=False),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("seconds", sa.Double, nullable=False),  # of training since the last report
    sa.Column("points", Json, nullable=False),
    _of_trial(),
)

metrics = sa.Table(
    "metrics",
    metadata,
    sa.Column("study", sa.Text, primary_key=True),
    sa.Column("trial", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("step", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("metric", sa.Text, primary_key=True),
    sa.Column("value", Real),  # NULL: NaN, the trial had diverged
    sqlite_with_rowid=False,
)

points = sa.Table(
    "points",
    metadata,
    sa.Column("study", sa.Text, primary_key=True),
    sa.Column("trial", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("point", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("step", sa.BigInteger, nullable=False),
    sa.Column("metrics", Json, nullable=False),
    sa.Column("violation", Real),  # 0 when feasible; NULL: NaN
    sa.Column("verified", sa.Boolean, nullable=False),  # taken again at the end, alone, from the exported file
    _of_trial(),
)

checkpoints = sa.Table(
    "checkpoints",
    metadata,
    sa.Column("study", sa.Text, primary_key=True),
    sa.Column("trial", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("step", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("path", sa.Text, nullable=False),  # relative to studies.artifacts
    sa.Column("sha256", sa.Text, nullable=False),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sa.Column("at", sa.Double, nullable=False),
    _of_trial(),
)

measurements = sa.Table(  # across studies: once per device and signature
    "measurements",
    metadata,
    sa.Column("device", sa.Text, primary_key=True),
    sa.Column("signature", sa.Text, primary_key=True),
    sa.Column("result", Json, nullable=False),
    sa.Column("at", sa.Double, nullable=False),
)

devices = sa.Table(  # registered by a person; across studies
    "devices",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("identity", sa.Text, nullable=False),
    sa.Column("runtime", sa.Text, nullable=False),
    sa.Column("facts", Json, nullable=False),  # what its figures hold for: a profile with others is stale
    sa.Column("profile", Json),  # a table of operators, measured architectures, the predictor that was fitted to them
    sa.Column("profiling", Json),  # how the last profile goes, or went
    sa.Column("added_at", sa.Double, nullable=False),
)

tokens = sa.Table(  # bearer tokens with a scope; the daemon's own token is in no table
    "tokens",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("scope", sa.Text, nullable=False),
    sa.Column("sha256", sa.Text, nullable=False),  # of the secret, which is kept nowhere
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("expires_at", sa.Double),  # NULL: never
    _states("scope", Scope),
)

hooks = sa.Table(  # receivers of webhooks: what ended before `since` is not told
    "hooks",
    metadata,
    sa.Column("hook", sa.Text, primary_key=True),  # SHA-256 of the URL
    sa.Column("since", sa.Double, nullable=False),
)

notices = sa.Table(  # the ends of studies that a receiver has heard of, or never will
    "notices",
    metadata,
    sa.Column("hook", sa.Text, primary_key=True),
    sa.Column("study", sa.Text, primary_key=True),
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),  # of the event that ended the study
    sa.Column("state", sa.Text, nullable=False),  # delivered, or given up
    sa.Column("at", sa.Double, nullable=False),
    sqlite_with_rowid=False,
)

lead = sa.Table(  # one row: the fencing token of the daemon that writes
    "lead",
    metadata,
    sa.Column("one", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("token", sa.BigInteger, nullable=False),  # the store that took it writes; each new daemon raises it
    sa.Column("holder", sa.Text, nullable=False),  # for messages: machine and process
)
