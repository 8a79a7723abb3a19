"""The first schema; see `searchd.store.schema` for what each column means."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TABLES = ("studies", "events", "trials", "jobs", "reports", "metrics", "points", "checkpoints", "measurements")


def _text(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.Text(), nullable=nullable)


def _int(name: str, **options: Any) -> sa.Column[Any]:
    return sa.Column(name, sa.BigInteger(), autoincrement=False, nullable=False, **options)


def _real(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.Double(), nullable=nullable)


def _key(table: str, *columns: str) -> sa.PrimaryKeyConstraint:
    return sa.PrimaryKeyConstraint(*columns, name=op.f(f"pk_{table}"))


def _of_study(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["study"], ["studies.id"], name=op.f(f"fk_{table}_study"), initially="DEFERRED", deferrable=True
    )


def _of_trial(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["study", "trial"],
        ["trials.study", "trials.trial"],
        name=op.f(f"fk_{table}_study_trial"),
        initially="DEFERRED",
        deferrable=True,
    )


def _states(table: str, *states: str) -> sa.CheckConstraint:
    listed = ", ".join(f"'{state}'" for state in states)
    return sa.CheckConstraint(f"status IN ({listed})", name=op.f(f"ck_{table}_status"))


def upgrade() -> None:
    op.create_table(
        "studies",
        _text("id"),
        _text("name"),
        _text("spec"),
        _text("status"),
        _text("status_reason"),
        _real("created_at"),
        _real("started_at", nullable=True),
        _real("ended_at", nullable=True),
        _text("artifacts"),
        _int("duplicates", server_default="0"),
        _key("studies", "id"),
        _states("studies", "queued", "running", "paused", "verifying", "done", "stopped", "faulted"),
    )
    op.create_index(op.f("ix_studies_name"), "studies", ["name"])
    op.create_table(
        "events",
        _text("study"),
        _int("seq"),
        _real("at"),
        _text("kind"),
        _text("payload"),
        _key("events", "study", "seq"),
        _of_study("events"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "trials",
        _text("study"),
        _int("trial"),
        _text("config"),
        _text("status"),
        _int("step"),
        _int("bracket"),
        _text("reason"),
        _text("error"),
        _text("signature", nullable=True),
        _real("created_at"),
        _real("ended_at", nullable=True),
        _key("trials", "study", "trial"),
        _of_study("trials"),
        _states("trials", "waiting", "running", "paused", "done", "stopped", "failed", "vetoed"),
    )
    op.create_table(
        "jobs",
        _text("id"),
        _text("study"),
        _int("trial"),
        _text("kind"),
        _int("since"),
        _int("until"),
        _int("attempt"),
        _text("status"),
        _text("worker"),
        _text("device"),
        _text("reason"),
        _text("stop_reason", nullable=True),
        _text("spec"),
        _real("created_at"),
        _real("begun_at", nullable=True),
        _real("ended_at", nullable=True),
        _key("jobs", "id"),
        _of_trial("jobs"),
        _states("jobs", "outbox", "queued", "running", "finished", "lost", "failed", "stopped", "cancelled"),
    )
    op.create_index(op.f("ix_jobs_study_trial"), "jobs", ["study", "trial"])
    op.create_index(op.f("ix_jobs_status"), "jobs", ["status"])
    op.create_table(
        "reports",
        _text("study"),
        _int("trial"),
        _int("step"),
        _text("job"),
        _int("attempt"),
        _real("at"),
        _real("seconds"),
        _text("points"),
        _key("reports", "study", "trial", "step"),
        _of_trial("reports"),
    )
    op.create_table(
        "metrics",
        _text("study"),
        _int("trial"),
        _int("step"),
        _text("metric"),
        _real("value", nullable=True),
        _key("metrics", "study", "trial", "step", "metric"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "points",
        _text("study"),
        _int("trial"),
        _int("point"),
        _int("step"),
        _text("metrics"),
        _real("violation", nullable=True),
        sa.Column("verified", sa.Boolean(), nullable=False),
        _key("points", "study", "trial", "point"),
        _of_trial("points"),
    )
    op.create_table(
        "checkpoints",
        _text("study"),
        _int("trial"),
        _int("step"),
        _text("path"),
        _text("sha256"),
        _int("bytes"),
        _real("at"),
        _key("checkpoints", "study", "trial", "step"),
        _of_trial("checkpoints"),
    )
    op.create_table(
        "measurements",
        _text("device"),
        _text("signature"),
        _text("result"),
        _real("at"),
        _key("measurements", "device", "signature"),
    )


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_table(table)
