"""Opening a store: what is made, what is migrated, and what is said when it cannot be."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from searchd.errors import Missing, NotFound, Refused, SearchdError, Unreachable
from searchd.store import open_store
from tests.support.stores import report_row, study_row, trial_row

NOBODY = 65534


def filled(path: Path) -> None:
    store = open_store(path)
    with store.transaction() as t:
        t.add_study(study_row())
        t.put_trial(trial_row())
    store.close()


def test_a_path_and_a_url_are_the_same_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plain path, a relative and an absolute URL name one file; missing folders are made."""
    monkeypatch.chdir(tmp_path)
    filled(Path("a/b/study.db"))
    for url in ("a/b/study.db", "sqlite:///a/b/study.db", f"sqlite:///{tmp_path}/a/b/study.db"):
        store = open_store(url, create=False)
        with store.reading() as r:
            assert len(r.studies()) == 1
        store.close()


@pytest.mark.parametrize("options", [{"readonly": True}, {"create": False}])
def test_what_is_not_there_is_not_made(tmp_path: Path, options: dict[str, bool]) -> None:
    """Reading, or opening without `create`, a missing or empty database is NotFound and makes no file, no tables."""
    path = tmp_path / "x" / "study.db"
    with pytest.raises(NotFound, match="no database"):
        open_store(path, **options)
    assert not path.parent.exists()
    path.parent.mkdir()
    path.touch()
    with pytest.raises(NotFound, match="no tables"):
        open_store(path, **options)
    with sqlite3.connect(path) as raw:
        assert raw.execute("SELECT name FROM sqlite_master").fetchall() == []
    raw.close()


def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    """A text file, a folder, and another program's tables are refused by name and left alone."""
    text = tmp_path / "notes.txt"
    text.write_text("study: digits\n" * 100)
    other = tmp_path / "optuna.db"
    with sqlite3.connect(other) as raw:
        raw.execute("CREATE TABLE studies (study_id INTEGER)")
    raw.close()
    before = text.read_bytes()
    for path, said in ((text, "no database"), (tmp_path, "is a folder"), (other, "another program")):
        with pytest.raises(Refused, match=said):
            open_store(path)
    assert text.read_bytes() == before
    with sqlite3.connect(other) as raw:
        assert raw.execute("SELECT name FROM sqlite_master").fetchall() == [("studies",)]
    raw.close()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mysql://u:secret@host/db", "SQLite or PostgreSQL"),
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("://", "no database URL"),
        ("nonsense://x y", "."),
    ],
)
def test_a_url_that_is_none_is_told(url: str, said: str) -> None:
    """A URL that names no store says which ones there are, and never repeats a password."""
    with pytest.raises(SearchdError, match=said) as e:
        open_store(url)
    assert "secret" not in str(e.value)


def test_a_server_that_is_not_there_is_unreachable(tmp_path: Path) -> None:
    """PostgreSQL that does not answer is Unreachable, within seconds and without the password in the message."""
    pytest.importorskip("psycopg")
    with pytest.raises(Unreachable, match="does not answer") as e:
        open_store(f"postgresql://me:secret@/db?host={tmp_path}")
    assert "secret" not in str(e.value)


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    """A database of a newer release is neither read nor changed, and the message says to upgrade."""
    path = tmp_path / "study.db"
    filled(path)
    with sqlite3.connect(path) as raw:
        raw.execute("UPDATE searchd_schema SET version_num = '9999'")
    raw.close()
    for options in ({}, {"readonly": True}, {"create": False}):
        with pytest.raises(Refused, match=r"(?s)9999.*upgrade searchd"):
            open_store(path, **options)


def as_nobody(act: Callable[[], Any]) -> str:
    """What `act` raises as a user without rights (in a fork when this is root); empty when nothing."""

    def run() -> str:
        try:
            act()
        except SearchdError as e:
            return f"{type(e).__name__}: {e}"
        return ""

    if os.geteuid() != 0:
        return run()
    reads, writes = multiprocessing.Pipe(duplex=False)

    def child() -> None:
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        writes.send(run())

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join(30)
    assert reads.poll(), "the child gave no answer"
    answer: str = reads.recv()
    return answer


@pytest.mark.skipif(not hasattr(os, "setuid"), reason="POSIX permissions")
def test_what_may_not_be_written_is_refused(tmp_path: Path) -> None:
    """A file or a folder without the right to write says so by name, where SQLite says `unable to open`."""
    tmp_path.chmod(0o755)
    if os.geteuid() == 0:
        for parent in tmp_path.parents:
            if parent.stat().st_uid == 0 and parent.name.startswith(("pytest-", "popen-", "test_")):
                parent.chmod(0o755)
    path = tmp_path / "study.db"
    filled(path)
    tmp_path.chmod(0o555)
    path.chmod(0o444)
    try:
        assert "study.db may not be written" in as_nobody(lambda: open_store(path))
        assert "may not be written" in as_nobody(lambda: open_store(tmp_path / "new.db"))
        assert "cannot make the folder" in as_nobody(lambda: open_store(tmp_path / "sub" / "new.db"))
        assert as_nobody(lambda: _count(path)) == ""
    finally:
        tmp_path.chmod(0o755)
        path.chmod(0o644)


def _count(path: Path) -> None:
    store = open_store(path, readonly=True)
    with store.reading() as r:
        assert len(r.studies()) == 1
    store.close()


def test_a_reader_follows_a_replaced_file(tmp_path: Path) -> None:
    """A read-only store opens the file anew for each reading: one that was deleted or replaced is seen as it is."""
    path = tmp_path / "study.db"
    filled(path)
    reader = open_store(path, readonly=True)
    for file in tmp_path.glob("study.db*"):
        file.unlink()
    with pytest.raises(NotFound, match="no database"), reader.reading():
        pass
    open_store(path).close()
    with reader.reading() as r:
        assert r.studies() == []
    reader.close()


WRITER = """
import sys, time
sys.path.insert(0, {root!r})
from searchd.store import open_store
from tests.support.stores import report_row, study_row, trial_row
store = open_store({path!r})
with store.transaction() as t:
    t.add_study(study_row())
    t.put_trial(trial_row())
with store.transaction() as t:
    t.add_report(report_row(1))
with store.transaction() as t:
    t.add_report(report_row(2))
    t.append("digits-1", "told", {{}}, 1.0)
    t.flush()
    print("half way", flush=True)
    time.sleep(60)
"""


def test_a_kill_inside_a_transaction_loses_that_one_only(tmp_path: Path) -> None:
    """SIGKILL between a write and its commit: no reader ever sees it; the next writer goes on from the last commit."""
    path = tmp_path / "study.db"
    code = WRITER.format(root=str(Path(__file__).parents[2]), path=str(path))
    process = subprocess.Popen([sys.executable, "-P", "-c", code], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"half way\n"
        reader = open_store(path, readonly=True)
        with reader.reading() as r:
            assert [x.step for x in r.reports("digits-1")] == [1]
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    with reader.reading() as r:
        assert [x.step for x in r.reports("digits-1")] == [1]
        assert r.events("digits-1") == []
    store = open_store(path)
    with store.transaction() as t:
        assert t.add_report(report_row(2))
        assert t.append("digits-1", "told", {}, 1.0) == 1
    store.close()
    with reader.reading() as r:
        assert [x.step for x in r.reports("digits-1")] == [1, 2]
    reader.close()


def test_a_locked_database_is_unreachable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer that waits too long for another one says so instead of `database is locked`."""
    monkeypatch.setattr("searchd.store.sql.BUSY_S", 0.05)
    path = tmp_path / "study.db"
    filled(path)
    one, two = open_store(path), open_store(path)
    with one.transaction(), pytest.raises(Unreachable, match="another process has been writing"), two.transaction():
        pass
    one.close()
    two.close()


def test_importing_the_package_is_light() -> None:
    """`searchd.store` imports SQLAlchemy only once a store is opened, and Alembic only when there is to migrate."""
    code = "import sys, searchd.store, searchd.transport, searchd.settings, searchd.urls\n"
    code += "print([m for m in ('sqlalchemy', 'alembic', 'redis', 'celery') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_missing_part_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without SQLAlchemy the message says what to install."""
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    for name in [n for n in sys.modules if n.startswith("searchd.store.") and n != "searchd.store.base"]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(Missing, match=r"pip install 'searchd\[server\]'"):
        open_store(tmp_path / "x.db")
