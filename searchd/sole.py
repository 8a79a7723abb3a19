"""One daemon a database: a lock that goes with the process, however it ends."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from searchd.errors import Refused, Unreachable
from searchd.urls import shown

_KEY = 0x5EA4CD00
"""The session-level advisory lock of PostgreSQL that a daemon holds while it lives."""
_KEEPALIVE = ("tcp_keepalives_idle = 15", "tcp_keepalives_interval = 5", "tcp_keepalives_count = 3")
"""The server notices within 30 s that the daemon's machine is gone, and gives the lock free; by default in hours."""
_HOLDER = """
SELECT a.application_name FROM pg_locks l JOIN pg_stat_activity a USING (pid) JOIN pg_database d ON d.oid = l.database
WHERE l.locktype = 'advisory' AND l.granted AND l.classid = 0 AND l.objsubid = 1
AND l.objid::bigint = :key AND d.datname = current_database()
"""


class Held:
    """The lock as it is held; `check` raises when the database took it away (a lost connection)."""

    def __init__(self, connection: sa.Connection | None) -> None:
        self._connection = connection

    def check(self) -> None:
        """Unreachable when the connection that carries the lock is gone: another daemon may have begun."""
        if self._connection is None:
            return
        try:
            self._connection.execute(sa.text("SELECT 1"))
            self._connection.commit()
        except sa.exc.SQLAlchemyError as e:
            raise Unreachable(
                "the database dropped the connection that holds the daemon's lock, so this daemon ends before another "
                "one begins; start it again, nothing is lost"
            ) from e


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
                yield Held(None)
        case "postgresql" | "postgres":
            with _advisory(parsed.set(drivername="postgresql+psycopg")) as connection:
                yield Held(connection)
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
            holder = os.read(handle, 32).decode(errors="replace").strip()
            raise Refused(_taken(name, f" (pid {holder})" if holder else "")) from None
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(handle)


@contextmanager
def _advisory(url: sa.URL) -> Iterator[sa.Connection]:
    name = url.render_as_string(hide_password=True)
    holder = f"{socket.gethostname()[:32]} pid {os.getpid()}"
    engine = sa.create_engine(url, poolclass=sa.pool.NullPool, connect_args={"application_name": f"searchd {holder}"})
    try:
        with engine.connect() as connection:
            for setting in _KEEPALIVE:
                connection.execute(sa.text(f"SET {setting}"))
            if not connection.execute(sa.text("SELECT pg_try_advisory_lock(:key)"), {"key": _KEY}).scalar_one():
                other = connection.execute(sa.text(_HOLDER), {"key": _KEY}).scalar()
                raise Refused(_taken(name, f" ({str(other).removeprefix('searchd ')})" if other else ""))
            connection.commit()
            yield connection
    except sa.exc.OperationalError as e:
        raise Unreachable(f"the database {name} does not answer: {' '.join(str(e.orig).split())}") from e
    finally:
        engine.dispose()


def _taken(name: str, holder: str) -> str:
    return f"the database {name} has a daemon already{holder}: one writes, so end that one or use another database"
