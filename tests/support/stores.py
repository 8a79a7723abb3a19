"""Rows to fill a store with, and a place of its own for each test on SQLite or PostgreSQL."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from searchd.store.base import CheckpointRow, JobRow, PointRow, ReportRow, Store, StudyRow, TrialRow

S = "digits-1"
"""The study that rows belong to when nothing else is said."""

POSTGRES = os.environ.get("SEARCHD_TEST_POSTGRES", "")
NO_POSTGRES = "SEARCHD_TEST_POSTGRES gives no URL (.ci/postgres.sh starts one)"
BACKENDS = [
    "sqlite",
    pytest.param(
        "postgresql",
        marks=[
            pytest.mark.postgres,
            pytest.mark.skipif(not POSTGRES, reason=NO_POSTGRES),
        ],
    ),
]


@contextmanager
def store_url(backend: str, folder: Path) -> Iterator[str]:
    """The URL of an empty place: a file under `folder`, or a schema of its own in the PostgreSQL of the environment."""
    if backend == "sqlite":
        yield f"sqlite:///{folder / 'study.db'}"
        return
    import psycopg

    schema = f"t_{uuid4().hex[:12]}"
    with psycopg.connect(POSTGRES, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {schema}")
        try:
            yield f"{POSTGRES}{'&' if '?' in POSTGRES else '?'}options=-csearch_path%3D{schema}"
        finally:
            connection.execute(f"DROP SCHEMA {schema} CASCADE")


@contextmanager
def own_database() -> Iterator[str]:
    """The URL of an empty database in the PostgreSQL of the environment: a daemon's lock is one a database."""
    import psycopg
    import sqlalchemy as sa

    name = f"t_{uuid4().hex[:12]}"
    with psycopg.connect(POSTGRES, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        try:
            yield sa.make_url(POSTGRES).set(database=name).render_as_string(hide_password=False)
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def study_row(study: str = "digits-1", **changes: Any) -> StudyRow:
    values: dict[str, Any] = {
        "id": study, "name": "digits", "spec": {"study": "digits", "space": {"width": {"int": [8, 32]}}},
        "status": "running", "status_reason": "", "created_at": 1000.25, "started_at": 1001.5, "ended_at": None,
        "artifacts": "out/digits",
    }  # fmt: skip
    return StudyRow(**{**values, **changes})


def trial_row(trial: int = 0, study: str = "digits-1", **changes: Any) -> TrialRow:
    values: dict[str, Any] = {
        "study": study, "trial": trial, "config": {"width": 16, "exits": [0], "lr": 1e-3}, "status": "waiting",
        "step": 0, "bracket": 1, "reason": "new", "error": "", "signature": None, "created_at": 1002.0,
        "ended_at": None,
    }  # fmt: skip
    return TrialRow(**{**values, **changes})


def job_row(job: str = "digits-1-0-train1", trial: int = 0, study: str = "digits-1", **changes: Any) -> JobRow:
    values: dict[str, Any] = {
        "id": job, "study": study, "trial": trial, "kind": "train", "since": 0, "until": 3, "attempt": 1,
        "status": "outbox", "worker": "", "device": "", "reason": "", "stop_reason": None, "spec": {"seed": 7},
        "created_at": 1003.0, "begun_at": None, "ended_at": None,
    }  # fmt: skip
    return JobRow(**{**values, **changes})


def report_row(step: int = 1, trial: int = 0, study: str = "digits-1", **changes: Any) -> ReportRow:
    values: dict[str, Any] = {
        "study": study, "trial": trial, "step": step, "job": f"{study}-{trial}-train1", "attempt": 1, "at": 1004.0,
        "seconds": 0.5, "metrics": {"val_error": 12.5, "val_loss": 0.25},
        "points": [{"threshold": 0.5, "val_error": 12.5, "exit_rates": [0.25, 0.75]}],
    }  # fmt: skip
    return ReportRow(**{**values, **changes})


def point_row(point: int = 0, trial: int = 0, study: str = "digits-1", **changes: Any) -> PointRow:
    values: dict[str, Any] = {
        "study": study, "trial": trial, "point": point, "step": 3,
        "metrics": {"val_error": 10.0, "bytes": 900, "threshold": 0.5}, "violation": 0.0, "verified": False,
    }  # fmt: skip
    return PointRow(**{**values, **changes})


def checkpoint_row(step: int = 3, trial: int = 0, study: str = "digits-1", **changes: Any) -> CheckpointRow:
    values: dict[str, Any] = {
        "study": study, "trial": trial, "step": step, "path": f"trials/{trial}/ckpt-{step}-a1.safetensors",
        "sha256": "ab" * 32, "bytes": 4096, "at": 1005.0,
    }  # fmt: skip
    return CheckpointRow(**{**values, **changes})


def begin(store: Store, trials: int = 1) -> None:
    """A study with so many trials."""
    with store.transaction() as t:
        t.add_study(study_row())
        for n in range(trials):
            t.put_trial(trial_row(n))
