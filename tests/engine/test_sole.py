"""One daemon a database."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from searchd.errors import Refused
from searchd.sole import sole_daemon
from tests.support.stores import NO_POSTGRES, POSTGRES, own_database

HOLDER = "import sys, time; from searchd.sole import sole_daemon\nwith sole_daemon(sys.argv[1]): print('held', flush=True); time.sleep(60)"  # noqa: E501


def until_free(url: str) -> None:
    deadline = time.monotonic() + 5
    while True:
        try:
            with sole_daemon(url):
                return
        except Refused:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_the_second_is_refused_with_the_holders_pid(tmp_path: Path) -> None:
    """While one holds a database another is refused, and told who holds it; afterwards it is free."""
    url = f"sqlite:///{tmp_path / 'a.db'}"
    with (
        sole_daemon(url),
        pytest.raises(Refused, match=rf"daemon already \(pid {os.getpid()}\)"),
        sole_daemon(str(tmp_path / "a.db")),
    ):
        pass
    with sole_daemon(url), sole_daemon(f"sqlite:///{tmp_path / 'b.db'}"):
        pass


def test_a_killed_holder_leaves_the_database_free(tmp_path: Path) -> None:
    """The lock goes with the process, `kill -9` included."""
    url = f"sqlite:///{tmp_path / 'a.db'}"
    with subprocess.Popen([sys.executable, "-c", HOLDER, url], stdout=subprocess.PIPE, cwd=os.getcwd()) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(Refused, match=str(holder.pid)), sole_daemon(url):
            pass
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    until_free(url)


@pytest.mark.postgres
@pytest.mark.skipif(not POSTGRES, reason=NO_POSTGRES)
def test_on_postgresql_too() -> None:
    """The second is told the holder's machine and pid; the lock goes with a killed process, and another database is
    free."""
    with own_database() as url, own_database() as other:
        with subprocess.Popen([sys.executable, "-c", HOLDER, url], stdout=subprocess.PIPE, cwd=os.getcwd()) as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"held\n"
            with pytest.raises(Refused, match=rf"daemon already \(.* pid {holder.pid}\)"), sole_daemon(url):
                pass
            with sole_daemon(other) as held:
                held.check()
            holder.send_signal(signal.SIGKILL)
            holder.wait()
        until_free(url)


@pytest.mark.postgres
@pytest.mark.skipif(not POSTGRES, reason=NO_POSTGRES)
def test_a_lock_that_the_server_dropped_is_taken_again() -> None:
    """After a restart of the server the daemon holds its lock again; not while another one has it, but then too, once
    that one is gone."""
    import psycopg

    with own_database() as url, psycopg.connect(url, autocommit=True) as person:

        def drop() -> None:
            person.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND application_name LIKE 'searchd %'"
            )

        with sole_daemon(url) as held:
            drop()
            assert held.check()
            with pytest.raises(Refused, match=rf"pid {os.getpid()}"), sole_daemon(url):
                pass
            drop()
            with sole_daemon(url):
                assert not held.check()
            assert held.check()


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "mysql://h/d", "://", "sqlite:////proc/no/a.db"])
def test_what_cannot_be_held_is_refused(url: str) -> None:
    """A URL that names no database of ours, or a folder that may not be written, is refused in words."""
    with pytest.raises(Refused), sole_daemon(url):
        pass
