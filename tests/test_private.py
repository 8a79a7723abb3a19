"""Files with a secret: only their owner reads them, and they are whole."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from searchd.private import write_private


def test_only_its_owner_reads_it_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    """Also where there was one that everybody read."""
    path = tmp_path / "token"
    path.write_text("old")
    path.chmod(0o644)
    write_private(path, "é new")
    assert path.read_text(encoding="utf-8") == "é new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    """Half a surrogate pair is no text of a file: what was there stays."""
    path = tmp_path / "token"
    write_private(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_private(path, "new \ud800")
    assert path.read_text() == "old"
