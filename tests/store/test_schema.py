"""The schema: migrations and tables are one thing, and what an old release wrote is still read."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from searchd.store import open_store
from searchd.store.migrate import FOLDER, VERSION_TABLE
from searchd.store.schema import HEAD, metadata
from searchd.store.sql import SqlStore
from tests.support.stores import BACKENDS, report_row, store_url, study_row, trial_row

GOLDEN = sorted((Path(__file__).parent / "golden").glob("schema-*.sql"))


@pytest.fixture(params=BACKENDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with store_url(request.param, tmp_path) as found:
        yield found


def test_the_migrations_make_the_tables(url: str) -> None:
    """After all migrations Alembic finds no difference to `schema.metadata`, on either database."""
    store = SqlStore.open(url)
    with store._engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE, "compare_type": True})
        assert compare_metadata(context, metadata) == []
    store.close()


def test_checks_and_keys_are_the_same_too(tmp_path: Path) -> None:
    """What Alembic does not compare (checks, deferred keys, row ids) is equal as well, as SQLite wrote it down."""
    store = SqlStore.open(str(tmp_path / "migrated.db"))
    store.close()
    direct = sa.create_engine(f"sqlite:///{tmp_path}/direct.db")
    metadata.create_all(direct)
    direct.dispose()

    def written(name: str) -> dict[str, set[str]]:
        raw = sqlite3.connect(tmp_path / name)
        rows = raw.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
        raw.close()
        # the order of constraints within a table is free
        return {n: {" ".join(line.strip(", ").split()) for line in sql.split("\n")} for n, sql in rows}

    migrated = written("migrated.db")
    del migrated[VERSION_TABLE]
    assert migrated == written("direct.db")


def test_head_is_the_newest_migration() -> None:
    """`HEAD`, by which a current schema is known without Alembic, is the one head of the scripts."""
    assert ScriptDirectory(str(FOLDER)).get_heads() == [HEAD]


def test_every_released_schema_has_a_golden_file() -> None:
    """Each migration comes with what its release wrote: tests/store/golden/schema-<id>.sql."""
    known = {script.revision for script in ScriptDirectory(str(FOLDER)).walk_revisions()}
    assert {path.stem.removeprefix("schema-") for path in GOLDEN} == known


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda p: p.stem)
def test_what_an_old_release_wrote_is_read(golden: Path, tmp_path: Path) -> None:
    """A database of every released schema opens, is migrated, and answers as it did."""
    raw = sqlite3.connect(tmp_path / "old.db")
    raw.executescript(golden.read_text())
    raw.close()
    store = open_store(tmp_path / "old.db", create=False)
    with store.reading() as r:
        (study,) = r.studies()
        assert (study.name, study.status, study.spec["search"]["R"]) == ("digits", "running", 27)
        assert [e.kind for e in r.events(study.id)] == ["submitted", "told"]
        assert [(t.trial, t.step, t.status) for t in r.trials(study.id)] == [(0, 3, "paused"), (1, 0, "failed")]
        assert [(x.step, x.metrics["val_error"]) for x in r.reports(study.id, 0)] == [(1, 20.5), (3, 12.5)]
        assert str(r.reports(study.id, 0)[0].metrics["val_loss"]) == "nan"
        assert r.checkpoint(study.id, 0) is not None
        assert [p.verified for p in r.points(study.id)] == [True]
        assert r.measurement("cpu:golden", "abc") == {"cumulative_ms": [0.1, 0.2]}
        assert r.counts(study.id) == {"reports": 2, "steps": 3, "duplicates": 2, "events": 2, "trials": 2}
        assert [(j.status, j.attempt) for j in r.jobs(study.id)] == [("finished", 2)]
        devices = [(d.name, d.identity, (d.profile or {}).get("study")) for d in r.devices()]
        assert devices == ([] if golden.stem == "schema-0001" else [("cpu", "cpu:golden", "digits")])
    store.close()


def test_an_older_schema_is_read_as_it_is(tmp_path: Path) -> None:
    """Reading needs no daemon to migrate first: what the older schema lacks is empty, and the file stays as it was."""
    path = tmp_path / "old.db"
    raw = sqlite3.connect(path)
    raw.executescript((Path(__file__).parent / "golden" / "schema-0001.sql").read_text())
    raw.close()
    before = path.read_bytes()
    store = open_store(path, readonly=True)
    with store.reading() as r:
        assert [s.name for s in r.studies()] == ["digits"]
        assert r.devices() == []
        assert r.device("cpu") is None
    store.close()
    assert path.read_bytes() == before


def test_a_migration_is_all_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a migration fails half way, nothing of it stays, and the next open does it whole."""
    from alembic.operations import Operations

    made = Operations.create_table

    def breaks(self: Operations, name: str, *args: object, **more: object) -> object:
        if name == "points":
            raise OSError("no space left on device")
        return made(self, name, *args, **more)

    path = tmp_path / "study.db"
    with monkeypatch.context() as patch:
        patch.setattr(Operations, "create_table", breaks)
        with pytest.raises(OSError, match="no space"):
            open_store(path)
    raw = sqlite3.connect(path)
    assert raw.execute("SELECT name FROM sqlite_master").fetchall() == []
    raw.close()
    store = open_store(path)
    with store.reading() as r:
        assert r.studies() == []
    store.close()


def test_a_batch_of_reports_is_cheap(tmp_path: Path) -> None:
    """100 reports of 3 metrics and 9 points in one transaction stay far below the time between two batches."""
    store = open_store(tmp_path / "study.db")
    with store.transaction() as t:
        t.add_study(study_row())
        for n in range(100):
            t.put_trial(trial_row(n))
    point = {"threshold": 0.5, "val_error": 12.5, "exit_rates": [0.25, 0.75]}
    took = []
    for step in range(1, 8):
        begun = time.process_time()
        with store.transaction() as t:
            for n in range(100):
                t.add_report(report_row(step, n, metrics={"a": 1.0, "b": 2.0, "c": 3.0}, points=[point] * 9))
        took.append(time.process_time() - begun)
    store.close()
    assert sorted(took)[3] < 0.05  # CPU seconds, median; about 0.006 on the machine it was written on
