"""The store over SQLAlchemy Core: SQLite (WAL) by default, PostgreSQL by URL. One writer, any number of readers.

Writing is serialised: SQLite begins IMMEDIATE, PostgreSQL takes an advisory lock for the transaction. Reading sees
one snapshot (SQLite's WAL; PostgreSQL's repeatable read) and never waits for the writer.

Durability on SQLite: `synchronous=NORMAL` with WAL. A killed process loses nothing that was committed; a power
failure may lose the last commits, never the order of what is left nor the file. For more, use PostgreSQL.
Where the file system has no WAL (some network mounts), SQLite's rollback journal with `synchronous=FULL` is used.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa

from searchd.errors import Missing, NotFound, Refused, Unreachable
from searchd.store import lead
from searchd.store.base import JobRow
from searchd.store.migrate import migrate, version_of
from searchd.store.reader import SqlReader
from searchd.store.schema import HEAD, READABLE
from searchd.store.writer import SqlTransaction
from searchd.urls import shown

BUSY_S = 30.0
"""How long a transaction waits for another process that is writing."""
CONNECT_S = 5
SYNCHRONOUS = "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
WRITER_LOCK = 0x5EA4C4D
"""The key of PostgreSQL's advisory lock that makes transactions come one after another."""


class SqlStore:
    """`store.base.Store`; safe to use from several threads. Make one by `open`."""

    def __init__(self, url: sa.URL, engine: sa.Engine, *, readonly: bool) -> None:
        self.url = url
        self.readonly = readonly
        self.moved = 0
        self._turns = threading.RLock()
        self._flying: dict[str, dict[str, JobRow]] = {}
        """The jobs in flight as the last transaction left them: true for the one process that leads."""
        self._engine = engine
        self._token: int | None = None
        self._reading: sa.Engine = engine
        self._writing: sa.Engine = engine
        if engine.dialect.name == "sqlite":
            self._writing = engine.execution_options(searchd_begin="BEGIN IMMEDIATE")
        else:
            self._reading = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)

    @classmethod
    def open(cls, url: str, *, create: bool = True, readonly: bool = False) -> SqlStore:
        """See `searchd.store.open_store`."""
        parsed = _parse(url)
        with _explained(parsed):
            engine = _sqlite(parsed, create, readonly) if parsed.drivername == "sqlite" else _postgresql(parsed)
            store = cls(parsed, engine, readonly=readonly)
            try:
                store._check(create=create)
            except BaseException:
                engine.dispose()
                raise
        return store

    def _check(self, *, create: bool) -> None:
        """The tables are there and of our version, or are made so."""
        with self._reading.begin() as connection:
            version = version_of(connection)
        if version == HEAD or (self.readonly and version in READABLE):
            return
        where = _shown(self.url)
        if version is None and (self.readonly or not create):
            raise NotFound(f"{where} holds no tables of searchd: nothing has been submitted to it yet")
        if self.readonly:
            raise Refused(
                f"{where} has schema {version} and this searchd reads {HEAD}: upgrade searchd if that is newer, else "
                "let the daemon open the database once, which migrates it"
            )
        with self._writing.begin() as connection:
            self._alone(connection)
            migrate(connection, where)

    def _alone(self, connection: sa.Connection) -> None:
        if connection.dialect.name == "postgresql":
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": WRITER_LOCK})

    @contextmanager
    def transaction(self) -> Iterator[SqlTransaction]:
        """Commits at the end of the block, rolls back on an exception. Refused when the store is read-only."""
        if self.readonly:
            raise Refused(f"{_shown(self.url)} was opened read-only: only the daemon writes; send it the command")
        moved = False
        with self._turns:
            known, self._flying = self._flying, {}
            try:
                with _explained(self.url), self._writing.begin() as connection:
                    self._alone(connection)
                    if self._token is not None:
                        lead.check(connection, self._token)
                    transaction = SqlTransaction(connection, known)
                    yield transaction
                    transaction.flush()
                    moved = transaction.moved
                if self._token is not None:
                    self._flying = known
            finally:  # a commit whose answer was lost may have been one
                if moved:
                    self.moved += 1

    def lead(self, holder: str) -> int:
        """See `store.base.Store.lead`. Refused when the store is read-only."""
        self._token = None
        with self.transaction() as transaction:
            token = transaction.lead(holder)
        self._token = token
        return token

    def check_lead(self) -> None:
        """See `store.base.Store.check_lead`."""
        if self._token is not None:
            with _explained(self.url), self._reading.begin() as connection:
                lead.check(connection, self._token)

    @contextmanager
    def reading(self) -> Iterator[SqlReader]:
        """One consistent state for every question of the block."""
        with _explained(self.url), self._reading.begin() as connection:
            yield SqlReader(connection)

    def close(self) -> None:
        self._engine.dispose()


def _parse(text: str) -> sa.URL:
    if "://" not in text:
        return sa.URL.create("sqlite", database=text)
    try:
        url = sa.make_url(text)
    except (sa.exc.ArgumentError, ValueError) as e:
        raise Refused(f"{shown(text)!r} is no database URL: sqlite:///path/study.db or postgresql://host/name") from e
    match url.get_backend_name():
        case "sqlite":
            if not url.database or url.database == ":memory:":
                raise Refused(f"{shown(text)!r} names no file: daemon and readers share the database; sqlite:///out/study.db")
            return sa.URL.create("sqlite", database=url.database)
        case "postgresql" | "postgres":
            return url.set(drivername="postgresql+psycopg")
        case other:
            raise Refused(f"a store on {other!r} ({_shown(url)}): searchd keeps its log in SQLite or PostgreSQL")


def _shown(url: sa.URL) -> str:
    """The URL without its password, for messages; of SQLite the path."""
    return url.database or "" if url.drivername == "sqlite" else url.render_as_string(hide_password=True)


def _sqlite(url: sa.URL, create: bool, readonly: bool) -> sa.Engine:
    path = Path(url.database or "")
    if path.is_dir():
        raise Refused(f"{path} is a folder: the database is a file in it, such as {path / 'study.db'}")
    if not path.exists() and (readonly or not create):
        raise NotFound(f"there is no database at {path}")
    if not readonly:
        _writable(path)
    connect = _reader_of(path) if readonly else _writer_of(path)
    pool: dict[str, Any] = {"poolclass": sa.pool.NullPool} if readonly else {"max_overflow": 60}
    engine = sa.create_engine(f"sqlite:///{path}", creator=connect, **pool)

    @sa.event.listens_for(engine, "begin")
    def _(connection: sa.Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get("searchd_begin", "BEGIN"))

    return engine


def _writable(path: Path) -> None:
    """Refused with the reason, where SQLite would only say `unable to open database file`."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise Refused(f"cannot make the folder {path.parent} ({e.strerror}): choose a path that you may write") from e
    for target in (path, path.parent):
        if target.exists() and not os.access(target, os.W_OK):
            raise Refused(f"{target} may not be written by this user: change its permissions or choose another path")


def _writer_of(path: Path) -> Callable[[], sqlite3.Connection]:
    def connect() -> sqlite3.Connection:
        raw = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        raw.execute("PRAGMA foreign_keys=ON")
        mode = raw.execute("PRAGMA journal_mode=WAL").fetchone()[0]
        raw.execute(f"PRAGMA synchronous={'NORMAL' if mode == 'wal' else 'FULL'}")
        return raw

    return connect


def _reader_of(path: Path) -> Callable[[], sqlite3.Connection]:
    """Connections that cannot write; each is opened anew, so a database that was replaced is seen as it is now."""

    def connect() -> sqlite3.Connection:
        if not path.exists():
            raise NotFound(f"there is no database at {path}")
        uri = f"file:{quote(str(path.absolute()))}?mode=ro"
        raw = sqlite3.connect(uri, uri=True, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        try:
            raw.execute("SELECT 1 FROM sqlite_master")
        except sqlite3.OperationalError:
            # A database in WAL mode wants its -shm file, which cannot be made in a folder that may not be written.
            # With nothing left in the log and so no writer, the file alone is the whole database.
            raw.close()
            log = path.with_name(path.name + "-wal")
            if log.exists() and log.stat().st_size > 0:
                raise
            raw = sqlite3.connect(uri + "&immutable=1", uri=True, isolation_level=None, check_same_thread=False)
        return raw

    return connect


def _postgresql(url: sa.URL) -> sa.Engine:
    arguments = {"connect_timeout": CONNECT_S, "options": f"-c lock_timeout={int(BUSY_S * 1000)}"}
    arguments = {name: value for name, value in arguments.items() if name not in url.query}
    try:
        engine = sa.create_engine(url, pool_pre_ping=True, max_overflow=60, connect_args=arguments)
    except ModuleNotFoundError as e:
        raise Missing("a store on PostgreSQL needs psycopg: pip install 'searchd[server]'") from e

    @sa.event.listens_for(engine, "connect")
    def _(raw: Any, _: object) -> None:
        """A commit that a crash of the server takes back is none: the broker has forgotten by then what was in it."""
        with raw.cursor() as cursor:
            cursor.execute(SYNCHRONOUS)
        raw.commit()

    return engine


@contextmanager
def _explained(url: sa.URL) -> Iterator[None]:
    """What the driver says, as an error that a person can mend; broken invariants pass as they are."""
    try:
        yield
    except (sa.exc.DatabaseError, sa.exc.InterfaceError, sqlite3.DatabaseError) as e:
        said = " ".join(str(getattr(e, "orig", e)).split())
        where = _shown(url)
        if "not a database" in said or "malformed" in said:
            raise Refused(f"{where} is no database that can be read ({said}): restore it or give a new path") from e
        if not isinstance(e, sa.exc.OperationalError | sa.exc.InterfaceError | sqlite3.OperationalError):
            raise
        if "no such" in said:
            raise
        if "readonly" in said:
            raise Refused(f"{where} may not be written ({said}): change its permissions or choose another path") from e
        if "is locked" in said or "lock timeout" in said:
            said = f"another process has been writing to it for over {BUSY_S:g} s; end one of them"
        raise Unreachable(f"the database {where} does not answer: {said}") from e
