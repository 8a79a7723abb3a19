"""One daemon a database: a lock that goes with the process, however it ends."""

from __future__ import annotations

import fcntl
import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import sqlalchemy as sa

from searchd.errors import Refused, Unreachable
from searchd.urls import shown

log = logging.getLogger("searchd.daemon")

CONNECT_S = 5
_KEY = 0x5EA4CD00
"""The session-level advisory lock of PostgreSQL that a daemon holds while it lives."""
_KEEPALIVE = ("tcp_keepalives_idle = 15", "tcp_keepalives_interval = 5", "tcp_keepalives_count = 3")
"""The server notices within 30 s that the daemon's machine is gone, and gives the lock free; by default in hours."""
_HOLDER = """
SELECT a.application_name FROM pg_locks l JOIN pg_stat_activity a USING (pid) JOIN pg_database d ON d.oid = l.database
WHERE l.locktype = 'advisory' AND l.granted AND l.classid = 0 AND l.objsubid = 1
AND l.objid::bigint = :key AND d.datname = current_database()
"""


WAIT_S = 2.0
"""So long a daemon that begins waits for the lock: the server may not have noticed yet that the one before is gone."""
LOOK_S = 0.1


def holder() -> str:
    """This daemon, for the messages of another one."""
    return f"{socket.gethostname()[:32]} pid {os.getpid()}"


class Held:
    """The lock as it is held. It keeps a second daemon out; what keeps two from writing is the fencing token
    (`searchd.store.lead`), so a lock that the database dropped is taken again whenever that can be."""

    def __init__(self, engine: sa.Engine | None = None, connection: sa.Connection | None = None) -> None:
        self._engine = engine
        self._connection = connection

    def check(self) -> bool:
        """Whether the lock is held; one whose connection was lost is taken again, if it is free."""
        if self._engine is None:
            return True
        try:
            if self._connection is not None:
                self._connection.execute(sa.text("SELECT 1"))
                self._connection.commit()
                return True
        except sa.exc.SQLAlchemyError:
            log.warning("the database dropped the connection that holds the daemon's lock; taking it again")
            self._drop()
        try:
            self._connection = _locked(self._engine)
        except sa.exc.SQLAlchemyError as e:
            log.debug("the lock cannot be taken: %s", e)
        if self._connection is not None:
            log.info("the daemon's lock is held again")
        return self._connection is not None

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sa.exc.SQLAlchemyError):
                connection.invalidate()
                connection.close()

    def close(self) -> None:
        self._drop()
        if self._engine is not None:
            self._engine.dispose()


@contextmanager
def sole_daemon(url: str) -> Iterator[Held]:
    """Hold the database for this daemon alone; Refused when another one has it.

    SQLite: a lock on the file `<database>.lock` (with the holder's pid in it); it does not reach other machines on
    network mounts, where SQLite itself is unsafe. PostgreSQL: a session-level advisory lock.
    """
    try:
        parsed = sa.make_url(url) if "://" in url else sa.URL.create("sqlite", database=url)
    except (sa.exc.ArgumentError, ValueError) as e:
        raise Refused(f"{shown(url)!r} is no database URL: sqlite:///path/study.db or postgresql://host/name") from e
    match parsed.get_backend_name():
        case "sqlite":
            if not parsed.database or parsed.database == ":memory:":
                raise Refused(f"{shown(url)!r} names no file: the log of a daemon is kept; use sqlite:///path/study.db")
            with _file(Path(f"{parsed.database}.lock"), parsed.database):
                yield Held()
        case "postgresql" | "postgres":
            with _advisory(parsed.set(drivername="postgresql+psycopg")) as held:
                yield held
        case other:
            raise Refused(f"a database on {other!r}: searchd keeps its log in SQLite or PostgreSQL")


@contextmanager
def _file(path: Path, name: str) -> Iterator[None]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as e:
        raise Refused(f"cannot write {path} ({e.strerror}): choose a folder for the database that you may write") from e
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            other = os.read(handle, 32).decode(errors="replace").strip()
            raise Refused(_taken(name, f" (pid {other})" if other else "")) from None
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(handle)


@contextmanager
def _advisory(url: sa.URL) -> Iterator[Held]:
    name = url.render_as_string(hide_password=True)
    arguments: dict[str, object] = {"application_name": f"searchd {holder()}"}
    if "connect_timeout" not in url.query:
        arguments["connect_timeout"] = CONNECT_S
    engine = sa.create_engine(url, poolclass=sa.pool.NullPool, connect_args=arguments)
    try:
        deadline = time.monotonic() + WAIT_S
        while (connection := _locked(engine)) is None:
            if time.monotonic() > deadline:
                raise Refused(_taken(name, _other(engine)))
            time.sleep(LOOK_S)
    except sa.exc.OperationalError as e:
        engine.dispose()
        raise Unreachable(f"the database {name} does not answer: {' '.join(str(e.orig).split())}") from e
    held = Held(engine, connection)
    try:
        yield held
    finally:
        held.close()


def _locked(engine: sa.Engine) -> sa.Connection | None:
    """A connection that holds the lock, None when another one does."""
    connection = engine.connect()
    try:
        for setting in _KEEPALIVE:
            connection.execute(sa.text(f"SET {setting}"))
        taken = connection.execute(sa.text("SELECT pg_try_advisory_lock(:key)"), {"key": _KEY}).scalar_one()
        connection.commit()
    except BaseException:
        connection.close()
        raise
    if taken:
        return connection
    connection.close()
    return None


def _other(engine: sa.Engine) -> str:
    with engine.connect() as connection:
        other = connection.execute(sa.text(_HOLDER), {"key": _KEY}).scalar()
    return f" ({str(other).removeprefix('searchd ')})" if other else ""


def _taken(name: str, holder: str) -> str:
    return f"the database {name} has a daemon already{holder}: one writes, so end that one or use another database"
