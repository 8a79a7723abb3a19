"""The token that a daemon keeps in a file for the page: made once, kept while it holds, made anew when it does not."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from searchd.errors import Refused
from searchd.store import open_store
from searchd.store.base import Store
from searchd.tokens import Caller, Keys

PAGE = Caller("own-page", "read")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = open_store(f"sqlite:///{tmp_path / 'study.db'}")
    yield made
    made.close()


def keys(store: Store, own: str | None = "own-token-0123456789abcdef") -> Keys:
    """As a daemon makes them when it starts."""
    return Keys(store, own, lambda: 100.0)


def kept(store: Store, file: Path, now: float = 0.0) -> str:
    """What is in the file once a daemon has started."""
    keys(store).keep(file, "own-page", "read", now)
    return file.read_text()


def test_it_is_made_once_and_only_this_user_reads_it(store: Store, tmp_path: Path) -> None:
    """Of its scope, 0600, nothing left beside it, and the same after the next start."""
    (tmp_path / "page").mkdir()
    file = tmp_path / "page" / "token"
    secret = kept(store, file)
    assert keys(store).caller(secret, 1.0) == PAGE
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert kept(store, file) == secret
    assert [path.name for path in file.parent.iterdir()] == ["token"]
    assert [row.name for row in keys(store).listed()] == ["own-page"]


@pytest.mark.parametrize("spoiled", ["removed", "another", "empty", "gone", "older database"])
def test_one_that_does_not_hold_is_made_anew(store: Store, tmp_path: Path, spoiled: str) -> None:
    """Also where the file has a token of a wider scope: the page gets no more than it needs. The old one holds no more,
    others stay."""
    file = tmp_path / "token"
    secret = kept(store, file)
    _, wide = keys(store).add("wide", "admin", None, 0.0)
    if spoiled in ("removed", "older database"):
        keys(store).remove("own-page")
    if spoiled in ("another", "empty"):
        file.write_text(wide if spoiled == "another" else "")
    if spoiled == "gone":
        file.unlink()
    again = kept(store, file)
    assert again not in (secret, wide, "")
    holders = [keys(store).caller(it, 1.0) for it in (again, secret, wide)]
    assert holders == [PAGE, None, Caller("wide", "admin")]


def test_a_daemon_without_a_token_keeps_none(store: Store, tmp_path: Path) -> None:
    """Everybody on this machine may do everything there: a token would guard nothing."""
    keys(store, None).keep(tmp_path / "token", "own-page", "read", 0.0)
    assert not (tmp_path / "token").exists()
    assert keys(store).listed() == []


def test_a_file_that_cannot_be_written_is_told(store: Store, tmp_path: Path) -> None:
    """The file, what is wrong, and what to do; no secret in it."""
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    for file, why in ((tmp_path / "none" / "token", "No such file"), (tmp_path / "bytes", "holds no text")):
        with pytest.raises(Refused, match=why) as told:
            keys(store).keep(file, "own-page", "read", 0.0)
        assert str(file) in str(told.value)
        assert "may write" in str(told.value)
